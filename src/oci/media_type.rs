//! Media types of manifests, and what each means for the one who walks an image.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A media type as a registry or a descriptor names it, without parameters and in lower case.
///
/// Unknown types are kept: an artifact's layers may have any.
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

    /// The manifest types this client can walk, for the `Accept` header of a manifest request.
    pub const ACCEPTED_MANIFESTS: [&str; 4] = [
        Self::OCI_INDEX,
        Self::OCI_MANIFEST,
        Self::DOCKER_MANIFEST_LIST,
        Self::DOCKER_MANIFEST,
    ];

    /// The media type of a `Content-Type` header: parameters dropped, lower case.
    #[must_use]
    pub fn new(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default();
        Self(essence.trim().to_ascii_lowercase())
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
    use super::*;

    #[test]
    fn parameters_and_case_do_not_matter() {
        let media_type = MediaType::new("Application/vnd.oci.image.index.v1+JSON; charset=utf-8");
        assert_eq!(media_type.as_str(), MediaType::OCI_INDEX);
        assert!(media_type.is_index());
    }

    #[test]
    fn unknown_types_are_kept_and_are_neither() {
        let media_type = MediaType::new("application/vnd.example+json");
        assert!(!media_type.is_index() && !media_type.is_image_manifest());
        assert_eq!(media_type.as_str(), "application/vnd.example+json");
    }
}
