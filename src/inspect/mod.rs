//! Looks at images without moving them: what an image consists of, whether every byte of it is what
//! it claims to be, and what another place lacks of it.
//!
//! Works on any [`Source`](crate::transport::Source). Nothing here knows terminals or Kubernetes.

mod created;
mod missing;
mod tree;
mod verify;

pub use created::creation_time;
pub use missing::{Missing, Outgoing};
pub use tree::{Tree, TreeError, read_tree};
pub use verify::{Fault, Verified, verify};

use crate::registry::ErrorKind;
use crate::transport::Error;

/// Deepest nesting of indexes; real images use two levels.
const MAX_DEPTH: usize = 4;
/// Most manifests of one image, referrers included.
const MAX_MANIFESTS: usize = 2000;
/// Manifests that are read at once.
const PARALLEL_MANIFESTS: usize = 8;

/// Whether a place says that it does not have what was asked for.
fn is_absent(error: &Error) -> bool {
    match error {
        Error::Registry(error) => error.kind() == ErrorKind::NotFound,
        Error::NotFound { .. } => true,
        _ => false,
    }
}
