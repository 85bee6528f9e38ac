//! The artifacts that carry statements: a Sigstore bundle as cosign attaches it when one is signed, else the bare
//! statement.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use sigstore_verify::types::{Bundle, DsseEnvelope, DsseSignature, KeyId, SignatureContent, pae};

use super::{KeyError, PREDICATE_TYPE, SigningKey, Statement};
use crate::oci::{Descriptor, Digest, Manifest, MediaType};
use crate::verify::SIGSTORE_BUNDLE;

/// The type of a statement: of the artifact and its layer when it is not signed, and of what a signature is over.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The annotation with the build that an attestation is about, so that it is found again.
pub const INVOCATION: &str = "dev.transship.invocation";

/// Annotations that cosign writes, and that others read.
const CONTENT: &str = "dev.sigstore.bundle.content";
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
/// The annotation for statements without a signature, which BuildKit writes as well.
pub(super) const IN_TOTO_PREDICATE: &str = "in-toto.io/predicate-type";
const CREATED: &str = "org.opencontainers.image.created";
/// The configuration of an artifact that has none.
pub(super) const EMPTY: &[u8] = b"{}";

/// A statement in the form that registries keep.
#[derive(Clone, Debug)]
pub struct Attestation {
    content: Bytes,
    manifest: Manifest,
}

impl Attestation {
    /// An artifact that refers to `subject`, signed if there is a key.
    ///
    /// Without a key the same statement makes the same bytes. Signatures differ each time.
    pub fn new(
        statement: &Statement,
        subject: &Descriptor,
        key: Option<&SigningKey>,
    ) -> Result<Self, KeyError> {
        let content = match key {
            Some(key) => bundle(statement, key)?,
            None => statement.document.clone(),
        };
        let media_type = media_type(key.is_some());
        let layer = of_predicate(described(media_type, &content), PREDICATE_TYPE);
        let annotations = annotations(statement, key.is_some());
        let manifest = referrer(media_type, &layer, subject, &annotations);
        Ok(Self { content, manifest })
    }

    /// The only layer.
    #[must_use]
    pub const fn content(&self) -> &Bytes {
        &self.content
    }

    /// The manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// A layer with a statement whose predicate is of this type.
pub(super) fn of_predicate(layer: Descriptor, predicate_type: &str) -> Descriptor {
    Descriptor {
        annotations: BTreeMap::from([(IN_TOTO_PREDICATE.to_owned(), predicate_type.to_owned())]),
        ..layer
    }
}

/// The manifest of an artifact that has one layer, and refers to `subject`.
pub(super) fn referrer(
    artifact_type: &str,
    layer: &Descriptor,
    subject: &Descriptor,
    annotations: &BTreeMap<&str, String>,
) -> Manifest {
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": described(MediaType::OCI_EMPTY, EMPTY),
        "layers": [layer],
        "subject": Descriptor::new(subject.media_type.clone(), subject.digest.clone(), subject.size),
        "annotations": annotations,
    });
    Manifest::new(
        Bytes::from(document.to_string()),
        MediaType::new(MediaType::OCI_MANIFEST),
    )
}

/// The type of the artifact and of its layer.
pub(super) const fn media_type(signed: bool) -> &'static str {
    if signed { SIGSTORE_BUNDLE } else { IN_TOTO }
}

fn annotations(statement: &Statement, signed: bool) -> BTreeMap<&'static str, String> {
    let mut annotations = BTreeMap::from([
        (INVOCATION, statement.invocation.clone()),
        (IN_TOTO_PREDICATE, PREDICATE_TYPE.to_owned()),
    ]);
    if signed {
        annotations.insert(CONTENT, "dsse-envelope".to_owned());
        annotations.insert(PREDICATE, PREDICATE_TYPE.to_owned());
    }
    // Not the clock: whoever does it again does the same.
    if let Some(finished) = statement.finished {
        annotations.insert(CREATED, finished.to_string());
    }
    annotations
}

pub(super) fn described(media_type: &str, content: &[u8]) -> Descriptor {
    Descriptor::new(
        MediaType::new(media_type),
        Digest::sha256(content),
        content.len() as u64,
    )
}

/// A Sigstore bundle of version 0.3. It is in no transparency log: what is built where is nobody else's business.
fn bundle(statement: &Statement, key: &SigningKey) -> Result<Bytes, KeyError> {
    let signature = key.sign(&pae(IN_TOTO, &statement.document))?;
    let payload = statement.document.to_vec().into();
    let signature = DsseSignature::new(signature, KeyId::default());
    let bundle = json!({
        "mediaType": SIGSTORE_BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key.hint()}},
        "dsseEnvelope": DsseEnvelope::new(IN_TOTO, payload, signature),
    });
    Ok(Bytes::from(bundle.to_string()))
}

/// Whether `content` is a bundle with this statement that this key signed.
pub(super) fn is_signed(content: &[u8], statement: &Statement, key: &SigningKey) -> bool {
    let bundle = std::str::from_utf8(content)
        .ok()
        .and_then(|text| Bundle::from_json(text).ok());
    let Some(SignatureContent::DsseEnvelope(envelope)) = bundle.map(|bundle| bundle.content) else {
        return false;
    };
    envelope.payload_type == IN_TOTO
        && envelope.payload.as_bytes() == statement.document
        && key.signed(&envelope.pae(), &envelope.signature.sig)
}
