//! Manifests and indexes as raw bytes, and the descriptors that they point at.
//!
//! The bytes are what has the digest: they travel unchanged from source to destination. Parsing is
//! only for walking, and refuses documents that two readers could understand differently
//! (CVE-2021-41190): in `document/` whatever the document is, in `content.rs` what an index and
//! an image could be taken for.

use bytes::Bytes;

use super::content::Document;
use super::descriptor::DescriptorError;
use super::document::{self, DocumentError, Field};
use super::{Content, Descriptor, Digest, MediaType, schema1};

/// The largest manifest that is read, in bytes; the distribution specification asks registries to
/// accept at least 4 MiB.
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// A manifest or index: the bytes that were received, their media type and their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    bytes: Bytes,
    media_type: MediaType,
    digest: Digest,
}

/// Why a document is not a manifest that can be copied.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The bytes do not have the digest that was asked for.
    #[error("manifest content hashes to {actual}, expected {expected}")]
    DigestMismatch {
        /// What the reference or the parent says.
        expected: Digest,
        /// What the received bytes hash to.
        actual: Digest,
    },
    /// The bytes are not as many as their descriptor says.
    #[error("manifest {digest} has {actual} bytes, but its index says {expected}")]
    SizeMismatch {
        /// The digest of the document.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// How many there are.
        actual: usize,
    },
    /// Not JSON, or JSON that can be read in more than one way.
    #[error("malformed manifest {digest}: {problem}")]
    Document {
        /// The digest of the document.
        digest: Digest,
        /// What is wrong with it.
        problem: DocumentError,
    },
    /// A descriptor in the document describes nothing.
    #[error("malformed manifest {digest}: {field}: {problem}")]
    Descriptor {
        /// The digest of the document.
        digest: Digest,
        /// Where the descriptor stands.
        field: Field,
        /// What is wrong with it.
        problem: DescriptorError,
    },
    /// The `mediaType` in the document and the one it was served with differ.
    #[error("manifest {digest} says it is {inside}, but it was served as {outside}")]
    MediaTypeMismatch {
        /// The digest of the document.
        digest: Digest,
        /// The `mediaType` member.
        inside: MediaType,
        /// The `Content-Type` header or the parent's descriptor.
        outside: MediaType,
    },
    /// The document could be read both as an index and as a manifest, or as neither.
    #[error("manifest {digest} is ambiguous: {problem}")]
    Ambiguous {
        /// The digest of the document.
        digest: Digest,
        /// Which members contradict each other.
        problem: &'static str,
    },
    /// Docker's first manifest format, which registries and runtimes have given up.
    #[error(
        "manifest {digest} has Docker's obsolete schema 1, which cannot be copied as it is: convert it to the OCI format or to Docker's"
    )]
    Schema1 {
        /// The digest of the document.
        digest: Digest,
    },
    /// A media type that cannot be walked.
    #[error("manifest {digest} has the unsupported media type {media_type:?}")]
    Unsupported {
        /// The digest of the document.
        digest: Digest,
        /// The media type it was served with.
        media_type: MediaType,
    },
}

impl ManifestError {
    /// A fixed word for the kind of error.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::DigestMismatch { .. } => "DigestMismatch",
            Self::SizeMismatch { .. } => "SizeMismatch",
            Self::Document { problem, .. } => problem.reason(),
            Self::Descriptor { problem, .. } => match problem {
                DescriptorError::Digest(_) => "Digest",
                DescriptorError::FalseSize => "FalseSize",
                DescriptorError::ManifestSize => "TooLarge",
                DescriptorError::FalseData => "FalseData",
            },
            Self::MediaTypeMismatch { .. } => "MediaTypeMismatch",
            Self::Ambiguous { .. } => "Ambiguous",
            Self::Schema1 { .. } => "Schema1",
            Self::Unsupported { .. } => "Unsupported",
        }
    }
}

impl Manifest {
    /// Takes received bytes; the digest is computed from them.
    #[must_use]
    pub fn new(bytes: Bytes, media_type: MediaType) -> Self {
        let digest = match signed_text(&bytes, &media_type) {
            Some(signed) => Digest::sha256(&signed),
            None => Digest::sha256(&bytes),
        };
        Self {
            bytes,
            media_type,
            digest,
        }
    }

    /// Takes received bytes that must have the digest `expected`.
    pub fn verified(
        bytes: Bytes,
        media_type: MediaType,
        expected: &Digest,
    ) -> Result<Self, ManifestError> {
        let mut hasher = expected.hasher();
        match signed_text(&bytes, &media_type) {
            Some(signed) => hasher.update(&signed),
            None => hasher.update(&bytes),
        }
        let actual = hasher.finish();
        if actual == *expected {
            Ok(Self {
                bytes,
                media_type,
                digest: actual,
            })
        } else {
            Err(ManifestError::DigestMismatch {
                expected: expected.clone(),
                actual,
            })
        }
    }

    /// The document exactly as it was received.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The media type it was served with.
    #[must_use]
    pub const fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// The digest of [`Self::bytes`]; of a signed document of Docker's schema 1, the digest of what
    /// was signed.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Reads what the document points at.
    pub fn content(&self) -> Result<Content, ManifestError> {
        let media_type = &self.media_type;
        if media_type.is_schema_1() {
            return Err(ManifestError::Schema1 {
                digest: self.digest.clone(),
            });
        }
        if !media_type.is_manifest() {
            return Err(ManifestError::Unsupported {
                digest: self.digest.clone(),
                media_type: media_type.clone(),
            });
        }
        let document: Document =
            document::read(&self.bytes, MAX_MANIFEST_BYTES).map_err(|problem| {
                ManifestError::Document {
                    digest: self.digest.clone(),
                    problem,
                }
            })?;
        if let Some(inside) = document.media_type.as_ref()
            && inside != media_type
        {
            return Err(ManifestError::MediaTypeMismatch {
                digest: self.digest.clone(),
                inside: inside.clone(),
                outside: media_type.clone(),
            });
        }
        if let Some(problem) = document.problem(media_type) {
            return Err(ManifestError::Ambiguous {
                digest: self.digest.clone(),
                problem,
            });
        }
        let content =
            document
                .verify(media_type)
                .map_err(|(field, problem)| ManifestError::Descriptor {
                    digest: self.digest.clone(),
                    field,
                    problem,
                })?;
        if content.has_contradicting_sizes() {
            return Err(ManifestError::Ambiguous {
                digest: self.digest.clone(),
                problem: "two sizes for one digest",
            });
        }
        Ok(content)
    }

    /// Whether it is what `descriptor` describes: of its digest, size and media type.
    pub fn check_described_by(&self, descriptor: &Descriptor) -> Result<(), ManifestError> {
        if self.digest != descriptor.digest {
            return Err(ManifestError::DigestMismatch {
                expected: descriptor.digest.clone(),
                actual: self.digest.clone(),
            });
        }
        if u64::try_from(self.bytes.len()) != Ok(descriptor.size) {
            return Err(ManifestError::SizeMismatch {
                digest: self.digest.clone(),
                expected: descriptor.size,
                actual: self.bytes.len(),
            });
        }
        if self.media_type != descriptor.media_type {
            return Err(ManifestError::MediaTypeMismatch {
                digest: self.digest.clone(),
                inside: descriptor.media_type.clone(),
                outside: self.media_type.clone(),
            });
        }
        Ok(())
    }
}

/// What the digest is of, where that is not the whole document.
fn signed_text(bytes: &[u8], media_type: &MediaType) -> Option<Vec<u8>> {
    (media_type.as_str() == MediaType::DOCKER_SCHEMA_1_SIGNED)
        .then(|| schema1::payload(bytes))
        .flatten()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DESCRIPTOR: &str = r#"{"mediaType":"application/octet-stream","size":3,
        "digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}"#;

    fn manifest(media_type: &str, document: &str) -> Manifest {
        let document = document.replace("$D", DESCRIPTOR);
        Manifest::new(Bytes::from(document), MediaType::new(media_type))
    }

    #[test]
    fn an_index_lists_its_children() {
        let index = manifest(MediaType::OCI_INDEX, r#"{"manifests":[$D,$D],"unknown":1}"#);
        let Content::Index { manifests, .. } = index.content().unwrap() else {
            panic!("not an index")
        };
        assert_eq!(manifests.len(), 2);
        assert_eq!(manifests[0].size, 3);
    }

    #[test]
    fn an_image_lists_config_and_layers() {
        let image = manifest(
            MediaType::DOCKER_MANIFEST,
            r#"{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":$D,"layers":[$D]}"#,
        );
        assert!(
            matches!(image.content().unwrap(), Content::Image { layers, .. } if layers.len() == 1)
        );
    }

    #[test]
    fn case_52_an_old_artifact_manifest_lists_its_blobs() {
        let artifact = manifest(
            MediaType::ORAS_ARTIFACT_MANIFEST,
            r#"{"artifactType":"application/vnd.example","blobs":[$D],"subject":$D}"#,
        )
        .content()
        .unwrap();
        assert_eq!(artifact.subject().unwrap().size, 3);
        assert!(matches!(artifact, Content::Artifact { blobs, .. } if blobs.len() == 1));
    }

    #[rstest]
    #[case::index_with_layers(MediaType::OCI_INDEX, r#"{"manifests":[],"layers":[]}"#, "ambiguous")]
    #[case::image_with_manifests(
        MediaType::OCI_MANIFEST,
        r#"{"config":$D,"layers":[],"manifests":[]}"#,
        "ambiguous"
    )]
    #[case::neither(MediaType::OCI_MANIFEST, "{}", "ambiguous")]
    #[case::other_media_type(
        MediaType::OCI_MANIFEST,
        r#"{"mediaType":"application/vnd.oci.image.index.v1+json","config":$D,"layers":[]}"#,
        "was served as"
    )]
    #[case::layers_twice(
        MediaType::OCI_MANIFEST,
        r#"{"config":$D,"layers":[],"layers":[$D]}"#,
        "malformed"
    )]
    #[case::trailing_data(MediaType::OCI_INDEX, r#"{"manifests":[]}{}"#, "malformed")]
    #[case::negative_size(
        MediaType::OCI_INDEX,
        r#"{"manifests":[{"mediaType":"a/b","size":-1,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}"#,
        "malformed")]
    #[case::schema_1(
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "{}",
        "schema 1"
    )]
    #[case::no_manifest("application/vnd.example+json", "{}", "unsupported media type")]
    #[case::false_data(
        MediaType::OCI_INDEX,
        r#"{"manifests":[],"subject":{"mediaType":"a/b","size":3,"data":"e30=","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}}"#,
        "`subject`: its `data` is not"
    )]
    #[case::artifact_with_layers(
        MediaType::OCI_ARTIFACT_MANIFEST,
        r#"{"blobs":[],"layers":[]}"#,
        "ambiguous"
    )]
    fn documents_that_can_be_misread_are_refused(
        #[case] media_type: &str,
        #[case] document: &str,
        #[case] expected: &str,
    ) {
        let error = manifest(media_type, document)
            .content()
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn bytes_must_have_the_expected_digest() {
        let expected = Digest::sha256(b"{}");
        let media_type = MediaType::new(MediaType::OCI_INDEX);
        assert!(Manifest::verified(Bytes::from("{}"), media_type.clone(), &expected).is_ok());
        assert!(matches!(
            Manifest::verified(Bytes::from("{ }"), media_type, &expected),
            Err(ManifestError::DigestMismatch { .. })
        ));
    }
}
