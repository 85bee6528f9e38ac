//! Which media type of one format is which of the other.

use crate::oci::{LayerCompression, MediaType};

/// The two families of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Oci,
    Docker,
}

impl Family {
    /// The family that a manifest or index of this type belongs to.
    pub(super) fn of(media_type: &MediaType) -> Self {
        if media_type.is_docker() {
            Self::Docker
        } else {
            Self::Oci
        }
    }

    /// As messages call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Oci => "the OCI format",
            Self::Docker => "Docker's format",
        }
    }

    pub(super) const fn index(self) -> &'static str {
        match self {
            Self::Oci => MediaType::OCI_INDEX,
            Self::Docker => MediaType::DOCKER_MANIFEST_LIST,
        }
    }

    pub(super) const fn manifest(self) -> &'static str {
        match self {
            Self::Oci => MediaType::OCI_MANIFEST,
            Self::Docker => MediaType::DOCKER_MANIFEST,
        }
    }

    pub(super) const fn config(self) -> &'static str {
        match self {
            Self::Oci => MediaType::OCI_CONFIG,
            Self::Docker => MediaType::DOCKER_CONFIG,
        }
    }

    /// The type of a layer that is `layer` in its own family and compressed with `compression`;
    /// [`None`] when this family has none.
    pub(super) fn layer(
        self,
        layer: &MediaType,
        compression: LayerCompression,
    ) -> Option<&'static str> {
        use LayerCompression::{Gzip, None as Plain, Zstd};
        let is_elsewhere = layer.is_nondistributable_layer();
        Some(match (self, is_elsewhere, compression) {
            (Self::Oci, false, Plain) => MediaType::OCI_LAYER,
            (Self::Oci, false, Gzip) => MediaType::OCI_LAYER_GZIP,
            (Self::Oci, false, Zstd) => MediaType::OCI_LAYER_ZSTD,
            (Self::Oci, true, Plain) => MediaType::OCI_NONDISTRIBUTABLE_LAYER,
            (Self::Oci, true, Gzip) => MediaType::OCI_NONDISTRIBUTABLE_LAYER_GZIP,
            (Self::Oci, true, Zstd) => MediaType::OCI_NONDISTRIBUTABLE_LAYER_ZSTD,
            (Self::Docker, false, Plain) => MediaType::DOCKER_LAYER,
            (Self::Docker, false, Gzip) => MediaType::DOCKER_LAYER_GZIP,
            (Self::Docker, true, Plain) => MediaType::DOCKER_FOREIGN_LAYER,
            (Self::Docker, true, Gzip) => MediaType::DOCKER_FOREIGN_LAYER_GZIP,
            (Self::Docker, _, Zstd) => return None,
        })
    }
}
