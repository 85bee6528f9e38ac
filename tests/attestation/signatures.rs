//! Signatures are those of the DSSE specification: OpenSSL verifies them over bytes that are put together here.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use transship::attestation::{Attestation, PREDICATE_TYPE};
use transship::oci::{Descriptor, Digest, MediaType};
use transship::verify::SIGSTORE_BUNDLE;

use super::{key, statement};

fn subject() -> Descriptor {
    let digest = Digest::sha256(b"an image");
    Descriptor::new(MediaType::new(MediaType::OCI_MANIFEST), digest, 8)
}

fn verified(public: &str, message: &[u8], signature: &[u8]) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let output = Command::new("openssl")
        .args(["dgst", "-sha256", "-verify"])
        .arg(file("key.pub", public.as_bytes()))
        .arg("-signature")
        .arg(file("signature", signature))
        .arg(file("message", message))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim() == "Verified OK"
}

/// The test vector of the specification (secure-systems-lab/dsse, protocol.md).
#[test]
fn what_is_signed_is_encoded_as_the_specification_shows() {
    let encoded = sigstore_verify::types::pae("http://example.com/HelloWorld", b"hello world");
    let expected = "DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    assert_eq!(String::from_utf8(encoded).unwrap(), expected);
}

#[test]
fn another_program_verifies_the_signature_and_only_of_the_whole() {
    let (key, public) = key();
    let subject = subject();
    let statement = statement(&subject.digest, "1/1/1");
    let attestation = Attestation::new(&statement, &subject, Some(&key)).unwrap();
    let bundle: Value = serde_json::from_slice(attestation.content()).unwrap();
    let envelope = &bundle["dsseEnvelope"];
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let (payload, signature) = (
        bytes(&envelope["payload"]),
        bytes(&envelope["signatures"][0]["sig"]),
    );
    assert_eq!(payload, statement.document().as_ref());
    let payload_type = envelope["payloadType"].as_str().unwrap();
    assert_eq!(payload_type, "application/vnd.in-toto+json");
    let mut message = format!("DSSEv1 28 {payload_type} {} ", payload.len()).into_bytes();
    message.extend_from_slice(&payload);
    assert!(verified(&public, &message, &signature));
    assert!(!verified(&public, &payload, &signature));
    assert!(!verified(&super::key().1, &message, &signature));
    assert_eq!(bundle["mediaType"], SIGSTORE_BUNDLE);
    // What cosign names keys by.
    let pem: Vec<&str> = public
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        &STANDARD.decode(pem.concat()).unwrap(),
    );
    assert_eq!(
        bundle["verificationMaterial"],
        json!({"publicKey": {"hint": STANDARD.encode(digest)}})
    );
}

#[test]
fn a_signed_attestation_is_laid_out_as_cosign_lays_it_out() {
    let (key, _) = key();
    let subject = subject();
    let statement = statement(&subject.digest, "1/1/1");
    let attestation = Attestation::new(&statement, &subject, Some(&key)).unwrap();
    let document: Value = serde_json::from_slice(attestation.manifest().bytes()).unwrap();
    let content = attestation.content();
    assert_eq!(
        document,
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": SIGSTORE_BUNDLE,
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::sha256(b"{}"), "size": 2,
            },
            "layers": [{
                "mediaType": SIGSTORE_BUNDLE, "digest": Digest::sha256(content), "size": content.len(),
                "annotations": {"in-toto.io/predicate-type": PREDICATE_TYPE},
            }],
            "subject": {
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject.digest, "size": 8,
            },
            "annotations": {
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": PREDICATE_TYPE,
                "dev.transship.invocation": "1/1/1",
                "in-toto.io/predicate-type": PREDICATE_TYPE,
                "org.opencontainers.image.created": "1970-01-01T00:00:00Z",
            },
        })
    );
}
