//! The plan of one run: which digest of which source goes to which destinations.
//!
//! The controller writes it, a worker reads it. Digests are resolved once, when the plan is made:
//! a tag that moves during the run does not change what is copied.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AccessReference, Bandwidth, FailurePolicy, Options, Referrers, Selection, SignatureCheck,
    TagPolicy,
};
use crate::convert::Conversion;
use crate::oci::{Digest, Reference};
use crate::verify::Policy;

/// Everything one run copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// The version of this format; a worker refuses any other than [`Plan::VERSION`].
    pub version: u32,
    /// How all of them are copied.
    pub options: PlannedOptions,
    /// Workers that share the images; at least one.
    pub shards: u32,
    /// The images, each at most once.
    pub images: Vec<PlannedImage>,
}

impl Plan {
    /// The version of the format that this code reads and writes.
    pub const VERSION: u32 = 2;

    /// With whose rights the plan reads and writes, repetitions included.
    pub fn accesses(&self) -> impl Iterator<Item = &AccessReference> {
        self.images.iter().flat_map(|image| {
            std::iter::once(&image.access).chain(
                image
                    .destinations
                    .iter()
                    .map(|destination| &destination.access),
            )
        })
    }
}

/// What of [`Options`] is decided by whoever plans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedOptions {
    /// Which platforms of an index are copied.
    pub platforms: Selection,
    /// Whether images change their form on the way.
    pub conversion: Conversion,
    /// Which signatures, attestations and other referrers come along.
    pub referrers: Referrers,
    /// What one image that cannot be copied means for the others.
    pub failure_policy: FailurePolicy,
    /// Which images have to be signed, and by whom. Keys and trusted roots go by the names of Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verify: Vec<Policy>,
    /// Images that one worker copies at once.
    pub parallel_images: usize,
    /// How fast the bytes of blobs may pass in one worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
}

impl Default for PlannedOptions {
    fn default() -> Self {
        let Options {
            platforms,
            conversion,
            referrers,
            failure_policy,
            parallel_images,
            bandwidth,
            signatures: _,
            parallel_layers: _,
            first_wait: _,
        } = Options::default();
        Self {
            platforms,
            conversion,
            referrers,
            failure_policy,
            verify: Vec::new(),
            parallel_images,
            bandwidth,
        }
    }
}

impl PlannedOptions {
    /// All of them, with the check that was made of [`Self::verify`].
    #[must_use]
    pub fn into_options(self, signatures: Option<Arc<SignatureCheck>>) -> Options {
        let Self {
            platforms,
            conversion,
            referrers,
            failure_policy,
            verify: _,
            parallel_images,
            bandwidth,
        } = self;
        Options {
            platforms,
            conversion,
            referrers,
            failure_policy,
            signatures,
            parallel_images,
            bandwidth,
            ..Options::default()
        }
    }
}

/// One source image and the destinations that lack it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedImage {
    /// Where to read.
    pub source: Reference,
    /// With whose rights.
    pub access: AccessReference,
    /// What to copy.
    pub digest: Digest,
    /// Where to write.
    pub destinations: Vec<PlannedDestination>,
}

/// One place to write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedDestination {
    /// Where to write: under its tag, or by digest when it has none.
    pub reference: Reference,
    /// With whose rights.
    pub access: AccessReference,
    /// What becomes of the tag if it is there with another digest.
    #[serde(default)]
    pub existing: TagPolicy,
}
