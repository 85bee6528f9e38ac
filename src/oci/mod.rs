//! Pure types of the OCI image and distribution specifications.
//!
//! A value of these types is valid by construction: the parsers here are the only way in. Nothing
//! here performs I/O or knows HTTP or Kubernetes.

mod config;
mod content;
mod descriptor;
mod digest;
mod document;
mod manifest;
mod media_type;
mod platform;
mod reference;
mod schema1;

pub use config::{ConfigError, HistoryEntry, ImageConfig, MAX_CONFIG_BYTES};
pub use content::Content;
pub use descriptor::{Descriptor, DescriptorError};
pub use digest::{Digest, DigestError, Hasher};
pub(crate) use document::read as read_document;
pub use document::{DocumentError, Field};
pub use manifest::{MAX_MANIFEST_BYTES, Manifest, ManifestError};
pub use media_type::{LayerCompression, MediaType};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, RegistryHost, Repository, Tag};
pub use schema1::{Schema1, Schema1Step};
