//! Why an image cannot be converted.

use crate::oci::{Digest, ManifestError};

/// An image cannot be had in the form that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A manifest of the image cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The format has no place for something that the image has.
    #[error("{digest} has {what}, which {format} cannot express: {remedy}")]
    Unsupported {
        /// The manifest or index.
        digest: Digest,
        /// What it has.
        what: String,
        /// The format that was asked for.
        format: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// The document contradicts itself, so that converting it would hide what is wrong with it.
    #[error("{digest} cannot be converted: {problem}")]
    Inconsistent {
        /// The manifest or index.
        digest: Digest,
        /// What is wrong.
        problem: String,
    },
}
