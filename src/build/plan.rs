//! The plan of one build: where its context comes from, and where its image goes.
//!
//! The controller writes it, both of our stages read it. What may move, a branch or a tag of an
//! image, was resolved when the plan was made, so that both stages and a second attempt see the same.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ContextPath, MirroredImages};
use crate::convert::Conversion;
use crate::copy::AccessReference;
use crate::git::{CommitId, GitUrl, ReferenceName};
use crate::oci::{Digest, Reference, RegistryHost, Repository, Tag};

/// Everything that the stages of a build need to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildPlan {
    /// The version of this format; a stage refuses any other than [`BuildPlan::VERSION`].
    pub version: u32,
    /// Where the context comes from.
    pub source: PlannedSource,
    /// The Dockerfile, below the context. It is looked for when it is named, and what it builds upon is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<ContextPath>,
    /// Values of its `ARG` instructions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, String>,
    /// Where base images are to be taken from, and nowhere else; from where the Dockerfile says without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirrored: Option<MirroredImages>,
    /// Where the image goes.
    pub output: PlannedOutput,
}

impl BuildPlan {
    /// The version of the format that this code reads and writes.
    pub const VERSION: u32 = 1;
}

/// Where the context of a build comes from. Secrets go by their names; they are mounted below
/// [`CREDENTIALS_DIRECTORY`](crate::worker::CREDENTIALS_DIRECTORY).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum PlannedSource {
    /// One commit of a Git repository.
    Git {
        /// The repository.
        url: GitUrl,
        /// The commit.
        commit: CommitId,
        /// Where the commit was found: fetched when the server does not serve commits by their names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<ReferenceName>,
        /// The directory of the repository that is the context; all of it without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<ContextPath>,
        /// Whether submodules are fetched as well.
        #[serde(default)]
        submodules: bool,
        /// The Secret with credentials for the repository.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credentials: Option<String>,
        /// Whether plain HTTP is allowed.
        #[serde(default)]
        insecure: bool,
    },
    /// The files that are mounted at [`FILES_DIRECTORY`](super::FILES_DIRECTORY).
    Files,
    /// The files in the layers of an image or artifact.
    Image {
        /// The image, by its digest.
        reference: Reference,
        /// With whose rights it is read.
        access: AccessReference,
    },
    /// A tar file, which may be compressed with gzip or zstd.
    Http {
        /// Its address.
        url: url::Url,
        /// The digest of the file as it is served.
        checksum: Digest,
        /// Whether plain HTTP is allowed.
        #[serde(default)]
        insecure: bool,
    },
}

/// Where the image goes: one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedOutput {
    /// The registry.
    pub registry: RegistryHost,
    /// The repository.
    pub repository: Repository,
    /// The tags to move; without any, the image is found by its digest only.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
    /// With whose rights it is written.
    pub access: AccessReference,
    /// Whether the image changes its form on the way.
    #[serde(default)]
    pub conversion: Conversion,
    /// Annotations of the manifest, in addition to those that the builder made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What the builder leaves.
    pub image: ImageForm,
    /// Whether a scanner leaves a bill of materials, which is attached to the image.
    #[serde(default)]
    pub sbom: bool,
}

/// What a builder leaves in [`OUTPUT_DIRECTORY`](super::OUTPUT_DIRECTORY).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ImageForm {
    /// An OCI image layout, the directory [`OUTPUT_LAYOUT`](super::OUTPUT_LAYOUT).
    Layout,
    /// A tar file with an OCI image layout, or as `docker save` writes it:
    /// [`OUTPUT_ARCHIVE`](super::OUTPUT_ARCHIVE).
    Archive,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::packed;

    /// The form that a controller and the stages of another version would have to agree on.
    #[test]
    fn a_plan_is_read_as_it_is_written() {
        let digest = Digest::sha256(b"context");
        let commit = "a".repeat(40);
        let sources = [
            json!({"git": {
                "url": "https://git.example/team/app.git", "commit": commit,
                "reference": "refs/heads/main", "path": "services/app", "submodules": true,
                "credentials": "git", "insecure": false,
            }}),
            json!("files"),
            json!({"image": {
                "reference": format!("registry.example/team/context@{digest}"),
                "access": {"credentials": "pull", "insecure": false},
            }}),
            json!({"http": {
                "url": "https://files.example/context.tgz", "checksum": digest, "insecure": false,
            }}),
        ];
        for source in sources {
            let document = json!({
                "version": 1,
                "source": source,
                "output": {
                    "registry": "registry.example",
                    "repository": "team/app",
                    "tags": ["main", "v1"],
                    "access": {"credentials": "push", "insecure": false},
                    "conversion": {"format": "Oci", "compression": "zstd:3", "leaveOutUnsupported": false},
                    "annotations": {"team": "a"},
                    "image": "layout",
                },
            });
            let plan: BuildPlan = serde_json::from_value(document.clone()).unwrap();
            let packed = packed::pack(&plan).unwrap();
            let unpacked: BuildPlan =
                packed::unpack(&packed, super::super::MAX_PLAN_BYTES).unwrap();
            assert_eq!(unpacked, plan);
            let written = serde_json::to_value(&plan).unwrap();
            assert_eq!(written["source"], document["source"]);
            assert_eq!(written["output"]["tags"], document["output"]["tags"]);
        }
    }

    #[test]
    fn a_plan_says_nothing_that_is_not_known() {
        let source = json!({"http": {
            "url": "https://files.example/a", "checksum": Digest::sha256(b"a"), "header": "x",
        }});
        assert!(serde_json::from_value::<PlannedSource>(source).is_err());
    }
}
