//! Why a place could not be read or written.

use std::io;

use crate::oci::Digest;
use crate::registry;

/// A failure of one place. It names the place and the object, and is safe to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A registry failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The content of a blob does not have the digest that its descriptor says.
    #[error(
        "blob {expected} of {place} has content that hashes to {actual}: the source is damaged"
    )]
    Digest {
        /// Where it was read.
        place: String,
        /// What the descriptor says.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// A blob has fewer or more bytes than its descriptor says.
    #[error(
        "blob {digest} of {place} has not the {expected} bytes of its descriptor: the source is damaged"
    )]
    Length {
        /// Where it was read.
        place: String,
        /// The blob.
        digest: Digest,
        /// The size in the descriptor.
        expected: u64,
    },
    /// A file or directory cannot be read or written.
    #[error("{place}: {source}")]
    File {
        /// The path or archive.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The place has no such tag, digest or blob.
    #[error("{place} has no {wanted}")]
    NotFound {
        /// The place.
        place: String,
        /// A tag, a digest, or what else was looked for.
        wanted: String,
    },
    /// The place is not what it should be, or holds something that is not allowed there.
    #[error("{place}: {problem}")]
    Malformed {
        /// The place.
        place: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// The place cannot hold what should be written.
    #[error("{place} cannot hold {what}: {remedy}")]
    Unsupported {
        /// The place.
        place: String,
        /// What should be written.
        what: String,
        /// What to do instead.
        remedy: &'static str,
    },
}

/// Why a blob could not be stored, by side.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Its content could not be read.
    #[error(transparent)]
    Source(Error),
    /// The place that it was written to failed.
    #[error(transparent)]
    Destination(Error),
}

impl BlobError {
    /// The failure, when it does not matter whose it is.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Source(error) | Self::Destination(error) => error,
        }
    }
}

impl Error {
    /// Whether the place says that it lacks content which a manifest needs.
    #[must_use]
    pub fn is_content_missing(&self) -> bool {
        matches!(self, Self::Registry(error) if error.kind() == registry::ErrorKind::ContentMissing)
    }

    /// Whether the place says that a tag is there already and stays where it points.
    #[must_use]
    pub fn is_tag_taken(&self) -> bool {
        matches!(self, Self::Registry(error) if error.kind() == registry::ErrorKind::TagImmutable)
    }

    /// Whether the same operation may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_transient(),
            Self::Digest { .. } | Self::Length { .. } => true,
            Self::File { .. }
            | Self::NotFound { .. }
            | Self::Malformed { .. }
            | Self::Unsupported { .. } => false,
        }
    }
}
