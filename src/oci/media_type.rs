//! Media types of manifests, configurations and layers, and what each means for the one who walks
//! or converts an image.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// Most characters of a media type; RFC 6838 allows 127 on either side of the slash.
const MAX_LENGTH: usize = 255;

/// A media type as a registry or a descriptor names it, without parameters and in lower case.
///
/// Unknown types are kept: an artifact's layers may have any. It is printable ASCII of at most 255
/// characters; a text that is not becomes the empty media type, which nothing has.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct MediaType(String);

impl MediaType {
    /// `application/vnd.oci.image.index.v1+json`
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// `application/vnd.oci.image.manifest.v1+json`
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    pub const DOCKER_MANIFEST_LIST: &str =
        "application/vnd.docker.distribution.manifest.list.v2+json";
    /// `application/vnd.docker.distribution.manifest.v2+json`
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

    /// Docker's first manifest format, signed; nothing pushes it any more.
    pub const DOCKER_SCHEMA_1_SIGNED: &str =
        "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// Docker's first manifest format, unsigned.
    pub const DOCKER_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    /// The artifact manifest of the release candidates of image-spec 1.1, since withdrawn.
    pub const OCI_ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";
    /// The artifact manifest of ORAS before that.
    pub const ORAS_ARTIFACT_MANIFEST: &str = "application/vnd.cncf.oras.artifact.manifest.v1+json";

    /// The configuration of an OCI image.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// The configuration of a Docker image.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// The two bytes `{}`, where an artifact has nothing to say.
    pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

    /// An uncompressed OCI layer.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// An OCI layer compressed with gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// An OCI layer compressed with zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// An uncompressed OCI layer that its licence kept out of registries; deprecated.
    pub const OCI_NONDISTRIBUTABLE_LAYER: &str =
        "application/vnd.oci.image.layer.nondistributable.v1.tar";
    /// The same compressed with gzip.
    pub const OCI_NONDISTRIBUTABLE_LAYER_GZIP: &str =
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    /// The same compressed with zstd.
    pub const OCI_NONDISTRIBUTABLE_LAYER_ZSTD: &str =
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
    /// An uncompressed Docker layer.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// A Docker layer compressed with gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// A Docker layer compressed with zstd; in no specification, but in registries.
    pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    /// An uncompressed Docker layer that is fetched from elsewhere: Windows base images.
    pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
    /// The same compressed with gzip.
    pub const DOCKER_FOREIGN_LAYER_GZIP: &str =
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

    /// The manifest types this client can read, for the `Accept` header of a manifest request. Those
    /// of schema 1 are the last: it is converted or refused with a reason of its own, instead of not
    /// being found.
    pub const ACCEPTED_MANIFESTS: [&str; 8] = [
        Self::OCI_INDEX,
        Self::OCI_MANIFEST,
        Self::DOCKER_MANIFEST_LIST,
        Self::DOCKER_MANIFEST,
        Self::OCI_ARTIFACT_MANIFEST,
        Self::ORAS_ARTIFACT_MANIFEST,
        Self::DOCKER_SCHEMA_1_SIGNED,
        Self::DOCKER_SCHEMA_1,
    ];

    /// The media type of a `Content-Type` header: parameters dropped, lower case.
    #[must_use]
    pub fn new(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let valid =
            essence.len() <= MAX_LENGTH && essence.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        Self(if valid {
            essence.to_ascii_lowercase()
        } else {
            String::new()
        })
    }

    /// What the manifest `bytes` is where nobody else says it: it says so itself, or its members do.
    #[must_use]
    pub fn of_manifest(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Document {
            media_type: Option<MediaType>,
            manifests: Option<IgnoredAny>,
            config: Option<IgnoredAny>,
            layers: Option<IgnoredAny>,
            fs_layers: Option<IgnoredAny>,
            signatures: Option<IgnoredAny>,
        }
        let document: Document = serde_json::from_slice(bytes).ok()?;
        if document.media_type.is_some() {
            return document.media_type;
        }
        let known = if document.manifests.is_some() {
            Self::OCI_INDEX
        } else if document.config.is_some() || document.layers.is_some() {
            Self::OCI_MANIFEST
        } else if document.fs_layers.is_some() && document.signatures.is_some() {
            Self::DOCKER_SCHEMA_1_SIGNED
        } else if document.fs_layers.is_some() {
            Self::DOCKER_SCHEMA_1
        } else {
            return None;
        };
        Some(Self::new(known))
    }

    /// The text that goes into a `Content-Type` header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a list of manifests, one per platform: an OCI index or a Docker manifest list.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), Self::OCI_INDEX | Self::DOCKER_MANIFEST_LIST)
    }

    /// Whether it is the manifest of one image or artifact.
    #[must_use]
    pub fn is_image_manifest(&self) -> bool {
        matches!(self.as_str(), Self::OCI_MANIFEST | Self::DOCKER_MANIFEST)
    }

    /// Whether it is one of the artifact manifests that image-spec 1.1 did not keep. They have
    /// `blobs` instead of `config` and `layers`.
    #[must_use]
    pub fn is_artifact_manifest(&self) -> bool {
        matches!(
            self.as_str(),
            Self::OCI_ARTIFACT_MANIFEST | Self::ORAS_ARTIFACT_MANIFEST
        )
    }

    /// Whether it is Docker's first manifest format, which cannot be copied by digest.
    #[must_use]
    pub fn is_schema_1(&self) -> bool {
        matches!(
            self.as_str(),
            Self::DOCKER_SCHEMA_1 | Self::DOCKER_SCHEMA_1_SIGNED
        )
    }

    /// Whether a descriptor of this type points at a manifest or an index rather than at a blob.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        self.is_index()
            || self.is_image_manifest()
            || self.is_artifact_manifest()
            || self.is_schema_1()
    }

    /// Whether Docker defined it.
    #[must_use]
    pub fn is_docker(&self) -> bool {
        self.as_str().starts_with("application/vnd.docker.")
    }

    /// Whether it is the configuration of an image that runs, not of another artifact.
    #[must_use]
    pub fn is_image_config(&self) -> bool {
        matches!(self.as_str(), Self::OCI_CONFIG | Self::DOCKER_CONFIG)
    }

    /// Whether it is a layer of an image: a file system change set, in whatever form.
    #[must_use]
    pub fn is_layer(&self) -> bool {
        self.layer_compression().is_some() || self.is_encrypted_layer()
    }

    /// How a layer is compressed; [`None`] when it is no layer, or one that is encrypted.
    ///
    /// It is what the manifest says. Layers whose bytes say something else exist.
    #[must_use]
    pub fn layer_compression(&self) -> Option<LayerCompression> {
        match self.as_str() {
            Self::OCI_LAYER
            | Self::OCI_NONDISTRIBUTABLE_LAYER
            | Self::DOCKER_LAYER
            | Self::DOCKER_FOREIGN_LAYER => Some(LayerCompression::None),
            Self::OCI_LAYER_GZIP
            | Self::OCI_NONDISTRIBUTABLE_LAYER_GZIP
            | Self::DOCKER_LAYER_GZIP
            | Self::DOCKER_FOREIGN_LAYER_GZIP => Some(LayerCompression::Gzip),
            Self::OCI_LAYER_ZSTD
            | Self::OCI_NONDISTRIBUTABLE_LAYER_ZSTD
            | Self::DOCKER_LAYER_ZSTD => Some(LayerCompression::Zstd),
            _ => None,
        }
    }

    /// Whether the registry need not hold the content: it is found under the descriptor's `urls`.
    #[must_use]
    pub fn is_nondistributable_layer(&self) -> bool {
        matches!(
            self.as_str(),
            Self::OCI_NONDISTRIBUTABLE_LAYER
                | Self::OCI_NONDISTRIBUTABLE_LAYER_GZIP
                | Self::OCI_NONDISTRIBUTABLE_LAYER_ZSTD
                | Self::DOCKER_FOREIGN_LAYER
                | Self::DOCKER_FOREIGN_LAYER_GZIP
        )
    }

    /// Whether it is a layer that only the holder of a key can read (ocicrypt).
    #[must_use]
    pub fn is_encrypted_layer(&self) -> bool {
        let plain = self
            .0
            .strip_suffix("+encrypted")
            .or_else(|| self.0.strip_suffix("+enc"));
        plain.is_some_and(|plain| Self::new(plain).layer_compression().is_some())
    }
}

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerCompression {
    /// Not at all: a tar file.
    None,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

impl From<String> for MediaType {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> Self {
        media_type.0
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(MediaType::OCI_LAYER, Some(LayerCompression::None), false)]
    #[case(MediaType::OCI_LAYER_GZIP, Some(LayerCompression::Gzip), false)]
    #[case(MediaType::DOCKER_LAYER_ZSTD, Some(LayerCompression::Zstd), false)]
    #[case(
        MediaType::DOCKER_FOREIGN_LAYER_GZIP,
        Some(LayerCompression::Gzip),
        true
    )]
    #[case(
        MediaType::OCI_NONDISTRIBUTABLE_LAYER,
        Some(LayerCompression::None),
        true
    )]
    #[case("application/vnd.oci.image.layer.v1.tar+zstd+encrypted", None, false)]
    #[case("application/vnd.docker.image.rootfs.diff.tar.gzip+enc", None, false)]
    fn layers_are_recognised(
        #[case] text: &str,
        #[case] compression: Option<LayerCompression>,
        #[case] nondistributable: bool,
    ) {
        let layer = MediaType::new(text);
        assert!(layer.is_layer());
        assert_eq!(layer.layer_compression(), compression);
        assert_eq!(layer.is_encrypted_layer(), compression.is_none());
        assert_eq!(layer.is_nondistributable_layer(), nondistributable);
    }

    #[rstest]
    #[case(MediaType::OCI_CONFIG)]
    #[case(MediaType::OCI_EMPTY)]
    #[case(MediaType::OCI_MANIFEST)]
    #[case("application/vnd.example+encrypted")]
    fn other_types_are_no_layers(#[case] text: &str) {
        assert!(!MediaType::new(text).is_layer());
    }

    #[test]
    fn parameters_and_case_do_not_matter() {
        let media_type = MediaType::new("Application/vnd.oci.image.index.v1+JSON; charset=utf-8");
        assert_eq!(media_type.as_str(), MediaType::OCI_INDEX);
        assert!(media_type.is_index());
    }

    #[rstest]
    #[case::line_break("application/json\r\nx: y")]
    #[case::outside_ascii("application/\u{212a}")]
    #[case::long(&"a".repeat(256))]
    fn texts_that_cannot_be_shown_are_no_media_types(#[case] text: &str) {
        assert_eq!(MediaType::new(text).as_str(), "");
    }

    #[test]
    fn unknown_types_are_kept_and_are_neither() {
        let media_type = MediaType::new("application/vnd.example+json");
        assert!(!media_type.is_index() && !media_type.is_image_manifest());
        assert_eq!(media_type.as_str(), "application/vnd.example+json");
    }
}
