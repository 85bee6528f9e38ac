//! Descriptors (image-spec, descriptor.md): what a manifest says of the content it points at.

use serde::{Deserialize, Serialize};

use super::{Digest, MediaType};

/// The parts of a descriptor that decide what is fetched and how it is verified.
///
/// Other members (annotations, platform, `urls`) stay in the raw bytes of the manifest, which are
/// never written anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
}
