//! Docker's first manifest format, image manifest version 2, schema 1: read, so that it can be made
//! into one that is still in use. Nothing writes it.
//!
//! <https://distribution.github.io/distribution/spec/deprecated-schema-v2-1/>

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::document::{self, DocumentError};
use super::manifest::MAX_MANIFEST_BYTES;
use super::{Digest, Manifest, ManifestError, MediaType};

/// A document of schema 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema1 {
    /// What the image runs on, in the words of Go's `GOARCH`.
    pub architecture: Option<String>,
    /// The steps of the build, from the last to the first.
    pub steps: Vec<Schema1Step>,
}

/// One step of the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema1Step {
    /// The layer. A step that changed only the configuration has an empty one.
    pub layer: Digest,
    /// `v1Compatibility`: the configuration of the image after this step, as JSON in a text.
    pub configuration: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    architecture: Option<String>,
    fs_layers: Vec<Layer>,
    history: Vec<Step>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    blobs: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    blob_sum: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    v1_compatibility: String,
}

#[derive(Deserialize)]
struct Signed {
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    protected: String,
}

/// How the signed text comes out of the document that it was put into.
#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Format {
    format_length: usize,
    format_tail: String,
}

impl Schema1 {
    /// Reads what was signed of `manifest`, which is what its digest is of. The signatures say
    /// nothing: their keys are made up by whoever pushes.
    pub fn parse(manifest: &Manifest) -> Result<Self, ManifestError> {
        let digest = || manifest.digest().clone();
        let ambiguous = |problem| ManifestError::Ambiguous {
            digest: digest(),
            problem,
        };
        let signed = manifest.media_type().as_str() == MediaType::DOCKER_SCHEMA_1_SIGNED;
        let payload = if signed {
            payload(manifest.bytes())
                .ok_or_else(|| ambiguous("schema 1 whose signatures do not say what they sign"))?
        } else {
            manifest.bytes().to_vec()
        };
        let document: Document =
            document::read(&payload, MAX_MANIFEST_BYTES).map_err(|problem: DocumentError| {
                ManifestError::Document {
                    digest: digest(),
                    problem,
                }
            })?;
        let has_others = document.manifests.is_some()
            || document.config.is_some()
            || document.layers.is_some()
            || document.blobs.is_some();
        if document.schema_version != 1 {
            return Err(ambiguous("a `schemaVersion` other than 1"));
        }
        if has_others {
            return Err(ambiguous("schema 1 with members of schema 2"));
        }
        if document.fs_layers.len() != document.history.len() {
            return Err(ambiguous("`fsLayers` and `history` of different lengths"));
        }
        let steps = document
            .fs_layers
            .into_iter()
            .zip(document.history)
            .map(|(layer, step)| Schema1Step {
                layer: layer.blob_sum,
                configuration: step.v1_compatibility,
            })
            .collect();
        Ok(Self {
            architecture: document.architecture,
            steps,
        })
    }
}

/// The text within a signed document that its digest is of (libtrust, `ParsePrettySignature`): the
/// start of the document and an end that the signature brings along. [`None`] if the signatures do
/// not say, or not the same.
pub(super) fn payload(bytes: &[u8]) -> Option<Vec<u8>> {
    let signed: Signed = document::read(bytes, MAX_MANIFEST_BYTES).ok()?;
    let formats: Vec<Format> = signed
        .signatures
        .iter()
        .map(|signature| {
            let protected = decode(&signature.protected)?;
            document::read(&protected, MAX_MANIFEST_BYTES).ok()
        })
        .collect::<Option<_>>()?;
    let (first, others) = formats.split_first()?;
    if others.iter().any(|other| other != first) {
        return None;
    }
    let mut payload = bytes.get(..first.format_length)?.to_vec();
    payload.extend(decode(&first.format_tail)?);
    Some(payload)
}

/// Base64 as JSON Web Signatures have it, with or without what fills it up.
fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rstest::rstest;

    use super::*;

    const LAYER: &str = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4";

    fn unsigned() -> String {
        format!(
            r#"{{"schemaVersion":1,"name":"app","tag":"1","architecture":"arm64",
            "fsLayers":[{{"blobSum":"{LAYER}"}}],"history":[{{"v1Compatibility":"{{}}"}}]}}"#
        )
    }

    /// Puts signatures into the document as libtrust does, each with its own length and tail.
    fn signed(document: &str, formats: &[(usize, &str)]) -> Manifest {
        let signatures: Vec<_> = formats
            .iter()
            .map(|(length, tail)| {
                let tail = URL_SAFE_NO_PAD.encode(tail);
                let protected = format!(r#"{{"formatLength":{length},"formatTail":"{tail}"}}"#);
                serde_json::json!({"signature": "x", "protected": URL_SAFE_NO_PAD.encode(protected)})
            })
            .collect();
        let start = document.strip_suffix('}').unwrap();
        let signatures = serde_json::Value::from(signatures);
        let bytes = Bytes::from(format!(r#"{start},"signatures":{signatures}}}"#));
        Manifest::new(bytes, MediaType::new(MediaType::DOCKER_SCHEMA_1_SIGNED))
    }

    fn plain(document: &str) -> Manifest {
        let media_type = MediaType::new(MediaType::DOCKER_SCHEMA_1);
        Manifest::new(Bytes::from(document.to_owned()), media_type)
    }

    #[test]
    fn a_signed_document_has_the_digest_of_what_was_signed() {
        let document = unsigned();
        let length = document.len() - 1;
        let manifest = signed(&document, &[(length, "}"), (length, "}")]);
        assert_eq!(*manifest.digest(), Digest::sha256(document.as_bytes()));
        let media_type = manifest.media_type().clone();
        let bytes = manifest.bytes().clone();
        assert!(Manifest::verified(bytes, media_type, manifest.digest()).is_ok());
        assert_eq!(
            Schema1::parse(&manifest).unwrap(),
            Schema1::parse(&plain(&document)).unwrap()
        );
    }

    #[test]
    fn what_stands_beside_the_signed_text_is_not_read() {
        let document = unsigned();
        let length = document.find(r#","history""#).unwrap();
        let other = r#","history":[{"v1Compatibility":"{\"signed\":1}"}]}"#;
        let manifest = signed(&document, &[(length, other)]);
        let read = Schema1::parse(&manifest).unwrap();
        assert_eq!(read.steps[0].configuration, r#"{"signed":1}"#);
        assert_eq!(read.architecture.as_deref(), Some("arm64"));
        assert_eq!(read.steps[0].layer.as_str(), LAYER);
    }

    #[rstest]
    #[case::no_signature(signed(&unsigned(), &[]))]
    #[case::two_contents(signed(&unsigned(), &[(10, "}"), (11, "}")]))]
    #[case::beyond_the_end(signed(&unsigned(), &[(1_000_000, "}")]))]
    #[case::another_version(plain(&unsigned().replace(":1,\"name", ":2,\"name")))]
    #[case::fewer_steps(plain(&unsigned().replace(r#"{"v1Compatibility":"{}"}"#, "")))]
    #[case::layers_too(plain(&unsigned().replace("\"tag\"", "\"layers\"")))]
    #[case::false_digest(plain(&unsigned().replace("a3ed", "zzzz")))]
    #[case::twice(plain(&unsigned().replace("\"tag\"", "\"schemaVersion\"")))]
    #[case::no_json(plain("schema 1"))]
    fn what_is_ambiguous_is_refused(#[case] manifest: Manifest) {
        let error = Schema1::parse(&manifest).unwrap_err();
        let reason = error.reason();
        assert!(
            matches!(
                reason,
                "Ambiguous" | "Value" | "DuplicateMember" | "Syntax" | "Digest"
            ),
            "{reason}: {error}"
        );
    }
}
