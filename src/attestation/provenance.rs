//! A provenance and its statement: in-toto's envelope of a subject and a predicate, with SLSA's predicate about how it was built.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::Artifact;
use super::artifact::digests;
use crate::oci::Digest;

/// The version of in-toto that statements are of.
pub(super) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The kind of predicate.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// What the parameters mean; `docs/provenance.md` describes them.
const BUILD_TYPE: &str = "https://transship.dev/provenance/image-build/v1";
/// Who says so: an operator of Transship. Which one a key tells.
const BUILDER_ID: &str = "https://transship.dev/provenance/operator/v1";

/// How an image was built.
#[derive(Clone, Debug, PartialEq)]
pub struct Provenance {
    /// The repository that the image was pushed to, with its registry.
    pub repository: String,
    /// The digest that the registry has.
    pub image: Digest,
    /// What the owner of the build chose.
    pub external_parameters: Value,
    /// What was chosen for them.
    pub internal_parameters: Value,
    /// What went into the image.
    pub dependencies: Vec<Artifact>,
    /// What built.
    pub builder_dependencies: Vec<Artifact>,
    /// Which build it was; another build has another name.
    pub invocation: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// A provenance as the bytes that are signed. The same provenance makes the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub(super) document: Bytes,
    pub(super) invocation: String,
    pub(super) finished: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(rename = "_type")]
    statement_type: &'static str,
    subject: [Value; 1],
    predicate_type: &'static str,
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate<'a> {
    build_definition: BuildDefinition<'a>,
    run_details: RunDetails<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition<'a> {
    build_type: &'static str,
    external_parameters: &'a Value,
    internal_parameters: &'a Value,
    resolved_dependencies: &'a [Artifact],
}

#[derive(Serialize)]
struct RunDetails<'a> {
    builder: Builder<'a>,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Builder<'a> {
    id: &'static str,
    #[serde(skip_serializing_if = "<[Artifact]>::is_empty")]
    builder_dependencies: &'a [Artifact],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    invocation_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_on: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_on: Option<Timestamp>,
}

impl Provenance {
    /// The statement that says so.
    pub fn statement(&self) -> Result<Statement, serde_json::Error> {
        let document = Document {
            statement_type: STATEMENT_TYPE,
            subject: [subject(&self.repository, &self.image)],
            predicate_type: PREDICATE_TYPE,
            predicate: Predicate {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE,
                    external_parameters: &self.external_parameters,
                    internal_parameters: &self.internal_parameters,
                    resolved_dependencies: &self.dependencies,
                },
                run_details: RunDetails {
                    builder: Builder {
                        id: BUILDER_ID,
                        builder_dependencies: &self.builder_dependencies,
                    },
                    metadata: Metadata {
                        invocation_id: &self.invocation,
                        started_on: self.started,
                        finished_on: self.finished,
                    },
                },
            },
        };
        Ok(Statement {
            document: Bytes::from(serde_json::to_vec(&document)?),
            invocation: self.invocation.clone(),
            finished: self.finished,
        })
    }
}

/// The image of a statement.
pub(super) fn subject(repository: &str, image: &Digest) -> Value {
    json!({"name": repository, "digest": digests(image)})
}

impl Statement {
    /// The document.
    #[must_use]
    pub const fn document(&self) -> &Bytes {
        &self.document
    }
}
