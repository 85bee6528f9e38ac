//! Manifests and indexes as raw bytes, and the descriptors that they point at.
//!
//! The bytes are what has the digest: they travel unchanged from source to destination. Parsing is
//! only for walking, and refuses documents that two readers could understand differently
//! (CVE-2021-41190).

use bytes::Bytes;
use serde::Deserialize;

use super::descriptor::{FalseData, UnverifiedDescriptor};
use super::{Descriptor, Digest, MediaType};

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

/// What a manifest points at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each manifest at a time, and it is taken apart at once"
)]
pub enum Content {
    /// An index or manifest list: other manifests, usually one per platform.
    Index {
        /// The children in the order of the document.
        manifests: Vec<Descriptor>,
        /// The manifest that this one is about, when it is a referrer.
        subject: Option<Descriptor>,
        /// What kind of artifact it is, when it is one and says so.
        artifact_type: Option<MediaType>,
    },
    /// An image or artifact.
    Image {
        /// The configuration blob.
        config: Descriptor,
        /// The layers in the order of the document, duplicates included.
        layers: Vec<Descriptor>,
        /// The manifest that this one is about, when it is a referrer: a signature, for example.
        subject: Option<Descriptor>,
        /// What kind of artifact it is, when it is one and says so. Otherwise the media type of
        /// the configuration tells.
        artifact_type: Option<MediaType>,
    },
    /// An artifact manifest of the kinds that image-spec 1.1 did not keep.
    Artifact {
        /// The content in the order of the document, duplicates included.
        blobs: Vec<Descriptor>,
        /// The manifest that this one is about.
        subject: Option<Descriptor>,
        /// What kind of artifact it is.
        artifact_type: Option<MediaType>,
    },
}

impl Content {
    /// The manifest that this one is about, when it is a referrer.
    #[must_use]
    pub const fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Index { subject, .. }
            | Self::Image { subject, .. }
            | Self::Artifact { subject, .. } => subject.as_ref(),
        }
    }
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
    /// Not JSON, a member with the wrong type, or a member that occurs twice.
    #[error("malformed manifest {digest}")]
    Json {
        /// The digest of the document.
        digest: Digest,
        /// What the parser met.
        #[source]
        source: serde_json::Error,
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
    /// A descriptor carries content that is not the content it describes.
    #[error("manifest {digest} carries false `data` for {blob}: its size or digest differs")]
    FalseData {
        /// The digest of the document.
        digest: Digest,
        /// The digest in the descriptor.
        blob: Digest,
    },
    /// Docker's first manifest format, which registries and runtimes have given up.
    #[error(
        "manifest {digest} has Docker's obsolete schema 1; pull it with an old Docker and push it again, or convert it"
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<MediaType>,
    manifests: Option<Vec<UnverifiedDescriptor>>,
    config: Option<UnverifiedDescriptor>,
    layers: Option<Vec<UnverifiedDescriptor>>,
    blobs: Option<Vec<UnverifiedDescriptor>>,
    subject: Option<UnverifiedDescriptor>,
    artifact_type: Option<MediaType>,
}

impl Manifest {
    /// Takes received bytes; the digest is computed from them.
    #[must_use]
    pub fn new(bytes: Bytes, media_type: MediaType) -> Self {
        let digest = Digest::sha256(&bytes);
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
        hasher.update(&bytes);
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

    /// The digest of [`Self::bytes`].
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
            serde_json::from_slice(&self.bytes).map_err(|source| ManifestError::Json {
                digest: self.digest.clone(),
                source,
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
        self.check_members(&document)?;
        self.verified_content(document)
            .map_err(|FalseData { blob }| ManifestError::FalseData {
                digest: self.digest.clone(),
                blob,
            })
    }

    /// Whether exactly those members are there that documents of this media type have.
    fn check_members(&self, document: &Document) -> Result<(), ManifestError> {
        let Document {
            manifests,
            config,
            layers,
            blobs,
            ..
        } = document;
        let problem = if self.media_type.is_index() {
            if config.is_some() || layers.is_some() || blobs.is_some() {
                Some("an index with `config`, `layers` or `blobs`")
            } else if manifests.is_none() {
                Some("an index without `manifests`")
            } else {
                None
            }
        } else if self.media_type.is_artifact_manifest() {
            (manifests.is_some() || config.is_some() || layers.is_some())
                .then_some("an artifact manifest with `manifests`, `config` or `layers`")
        } else if manifests.is_some() || blobs.is_some() {
            Some("an image manifest with `manifests` or `blobs`")
        } else if config.is_none() {
            Some("an image manifest without `config`")
        } else if layers.is_none() {
            Some("an image manifest without `layers`")
        } else {
            None
        };
        problem.map_or(Ok(()), |problem| {
            Err(ManifestError::Ambiguous {
                digest: self.digest.clone(),
                problem,
            })
        })
    }

    /// Puts together what a document of checked members points at.
    fn verified_content(&self, document: Document) -> Result<Content, FalseData> {
        let verify_all = |descriptors: Option<Vec<UnverifiedDescriptor>>| {
            descriptors
                .into_iter()
                .flatten()
                .map(UnverifiedDescriptor::verify)
                .collect::<Result<Vec<_>, _>>()
        };
        let subject = document
            .subject
            .map(UnverifiedDescriptor::verify)
            .transpose()?;
        let artifact_type = document.artifact_type;
        Ok(match document.config {
            Some(config) => Content::Image {
                config: config.verify()?,
                layers: verify_all(document.layers)?,
                subject,
                artifact_type,
            },
            None if self.media_type.is_index() => Content::Index {
                manifests: verify_all(document.manifests)?,
                subject,
                artifact_type,
            },
            None => Content::Artifact {
                blobs: verify_all(document.blobs)?,
                subject,
                artifact_type,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DESCRIPTOR: &str = r#"{"mediaType":"application/octet-stream","size":3,
        "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#;

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
        "false `data` for sha256:44136fa"
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
