//! Provenances of images: what is written to registries, and what others make of it.

mod attaching;
mod keys;
mod signatures;

use jiff::Timestamp;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::json;
use transship::attestation::{Artifact, Provenance, SigningKey, Statement};
use transship::oci::Digest;

/// A statement about `image` by the build of this name.
fn statement(image: &Digest, invocation: &str) -> Statement {
    let provenance = Provenance {
        repository: "corp.test/app".to_owned(),
        image: image.clone(),
        external_parameters: json!({"dockerfile": "Dockerfile"}),
        internal_parameters: json!({}),
        dependencies: vec![Artifact::named("context", &Digest::sha256(b"context"))],
        builder_dependencies: Vec::new(),
        invocation: invocation.to_owned(),
        started: Some(Timestamp::UNIX_EPOCH),
        finished: Some(Timestamp::UNIX_EPOCH),
    };
    provenance.statement().unwrap()
}

/// A key that signs, and the PEM file of its public half.
fn key() -> (SigningKey, String) {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let public = pair.public_key_pem();
    (
        SigningKey::from_pem(pair.serialize_pem().as_bytes()).unwrap(),
        public,
    )
}
