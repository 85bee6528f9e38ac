//! What signed documents say: which image they are about. Whether the signature is genuine is another question.

use serde::Deserialize;
use sigstore_verify::types::bundle::MessageSignature;
use sigstore_verify::types::{DsseEnvelope, HashAlgorithm, Sha256Hash, Statement};

use super::Refusal;
use super::signature::SIGN_PREDICATE;
use crate::oci::Digest;

/// What cosign writes into the documents that it signs.
const CONTAINER_SIGNATURE: &str = "cosign container image signature";
/// How statements of in-toto call themselves, in the two versions that there are.
const STATEMENTS: [&str; 2] = [Statement::TYPE_V1, "https://in-toto.io/Statement/v0.1"];
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The document that cosign signs in its older form ("simple signing").
///
/// It names a repository as well, which is not looked at, nor does cosign: a copy of the image is the image.
#[derive(Deserialize)]
struct SimpleSigning {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    r#type: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Whether `document`, in cosign's older form, is about `image`.
pub(super) fn check_document(document: &[u8], image: &Digest) -> Result<(), Refusal> {
    let malformed = |_| Refusal::Malformed("the document that it signs");
    let SimpleSigning { critical } = serde_json::from_slice(document).map_err(malformed)?;
    if critical.r#type != CONTAINER_SIGNATURE {
        return Err(Refusal::Unsupported);
    }
    if critical.image.digest == image.as_str() {
        Ok(())
    } else {
        Err(Refusal::OtherImage)
    }
}

/// Whether the statement in `envelope` is a signature of `image`.
pub(super) fn check_statement(envelope: &DsseEnvelope, image: &Digest) -> Result<(), Refusal> {
    if envelope.payload_type != IN_TOTO {
        return Err(Refusal::Unsupported);
    }
    let statement: Statement = serde_json::from_slice(envelope.payload.as_bytes())
        .map_err(|_| Refusal::Malformed("the statement that it signs"))?;
    if !STATEMENTS.contains(&statement.type_.as_str()) {
        return Err(Refusal::Unsupported);
    }
    // Somebody who may attest what is wrong with an image does not say by that that it may be used.
    if statement.predicate_type != SIGN_PREDICATE {
        return Err(Refusal::Attestation);
    }
    if statement.matches_sha256(&sha256(image)?) {
        Ok(())
    } else {
        Err(Refusal::OtherImage)
    }
}

/// Whether what `message` says of its content, if anything, fits `image`. The signature itself covers the digest.
pub(super) fn check_message(message: &MessageSignature, image: &Digest) -> Result<(), Refusal> {
    let image = sha256(image)?;
    match &message.message_digest {
        Some(digest) if digest.algorithm != HashAlgorithm::Sha2256 => Err(Refusal::Unsupported),
        Some(digest) if digest.digest != image => Err(Refusal::OtherImage),
        _ => Ok(()),
    }
}

/// The digest as bundles have it, which know no other algorithm for images.
pub(super) fn sha256(image: &Digest) -> Result<Sha256Hash, Refusal> {
    image
        .as_str()
        .strip_prefix("sha256:")
        .and_then(|hexadecimal| Sha256Hash::from_hex(hexadecimal).ok())
        .ok_or(Refusal::Unsupported)
}
