//! What is copied of an image, and how wide.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Bandwidth, Selection, SignatureCheck};
use crate::convert::Conversion;
use crate::oci::MediaType;

/// How images are copied.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which platforms of an index are copied.
    pub platforms: Selection,
    /// Whether images change their form on the way. Signatures and other referrers of an image that
    /// changes are left behind: they are about the original.
    pub conversion: Conversion,
    /// Which signatures, attestations and other referrers come along.
    pub referrers: Referrers,
    /// What one image that cannot be copied means for the others.
    pub failure_policy: FailurePolicy,
    /// Which signatures an image must have to be copied; without it none.
    pub signatures: Option<Arc<SignatureCheck>>,
    /// Images that are copied at once.
    pub parallel_images: usize,
    /// Layers of one image that are converted at once, from 1; each has two threads and their memory.
    pub parallel_layers: usize,
    /// How fast the bytes of blobs may pass, all of them together; as fast as they can without it.
    pub bandwidth: Option<Bandwidth>,
    /// The wait before something is tried again that its client has given up; it doubles from there.
    pub first_wait: Duration,
}

/// Which signatures, attestations and other referrers of an image come along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Referrers {
    /// None of them.
    None,
    /// Those that there are, and what refers to them in turn.
    All {
        /// Only referrers of these types, unless there are none. The type of a referrer is its
        /// `artifactType`, or else the media type of its configuration. What refers to one that stays
        /// behind stays behind as well.
        artifact_types: Vec<MediaType>,
        /// Whether the tags come along that cosign makes of a digest: `sha256-<hex>.sig`, `.att` and
        /// `.sbom`. They have no artifact type, so that `artifact_types` says nothing of them.
        cosign_tags: bool,
    },
}

impl Default for Referrers {
    fn default() -> Self {
        Self::All {
            artifact_types: Vec::new(),
            cosign_tags: true,
        }
    }
}

/// What one image that cannot be copied means for the other images of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailurePolicy {
    /// Nothing: they are put in place.
    #[default]
    BestEffort,
    /// No tag moves unless all images could be written to all of their targets; the others fail with
    /// [`Reason::HeldBack`]. What a registry refuses only when a tag is moved, like tags that are
    /// immutable, comes too late for that. Workers that share images each hold back their own only.
    ///
    /// [`Reason::HeldBack`]: crate::reason::Reason::HeldBack
    Strict,
}

impl Options {
    /// Whether the destination gets another digest than the source has.
    pub(super) const fn changes_images(&self) -> bool {
        self.platforms.rewrites() || !self.conversion.is_none()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            platforms: Selection::All,
            conversion: Conversion::default(),
            referrers: Referrers::default(),
            failure_policy: FailurePolicy::default(),
            signatures: None,
            parallel_images: 48,
            parallel_layers: 2,
            bandwidth: None,
            first_wait: Duration::from_millis(100),
        }
    }
}
