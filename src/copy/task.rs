//! What the engine is asked to do: one image, and where to.

use std::fmt;
use std::sync::Arc;

use super::TagPolicy;
use crate::oci::{Digest, Tag};
use crate::registry::ManifestReference;
use crate::transport::{Destination, Source};

/// Which manifest of a source is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManifestName {
    /// Whatever the tag points at when it is looked up, once.
    Tag(Tag),
    /// Exactly this one.
    Digest(Digest),
}

impl ManifestName {
    /// The name as places take it.
    #[must_use]
    pub const fn as_reference(&self) -> ManifestReference<'_> {
        match self {
            Self::Tag(tag) => ManifestReference::Tag(tag),
            Self::Digest(digest) => ManifestReference::Digest(digest),
        }
    }
}

/// One image to copy.
#[derive(Clone, Debug)]
pub struct ImageCopy {
    /// Where to read.
    pub source: Arc<dyn Source>,
    /// What to read there.
    pub image: ManifestName,
    /// Where to write.
    pub targets: Vec<Target>,
}

impl ImageCopy {
    /// The source as messages show it.
    pub(super) fn display_source(&self) -> String {
        with_name(&self.source.name(), &self.image)
    }
}

fn with_name(place: &str, name: &ManifestName) -> String {
    match name {
        ManifestName::Tag(tag) => format!("{place}:{tag}"),
        ManifestName::Digest(digest) => format!("{place}@{digest}"),
    }
}

/// One place that an image is written to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The place.
    pub place: Arc<dyn Destination>,
    /// The tag to move, last of all; without one the image is found by its digest only.
    pub tag: Option<Tag>,
    /// What becomes of the tag if it is there with another digest.
    pub existing: TagPolicy,
}

/// As messages show it.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.place.name())?;
        match &self.tag {
            Some(tag) => write!(formatter, ":{tag}"),
            None => Ok(()),
        }
    }
}

/// What became of one image at one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// What the source has. It is another than [`Self::digest`] when the image was changed on the way,
    /// or something else was kept.
    pub source: Digest,
    /// The digest that is there now.
    pub digest: Digest,
    /// How it came to be there.
    pub effect: Effect,
}

impl Copied {
    /// Whether the image is there: not if something else was kept.
    pub(super) fn is_in_place(&self) -> bool {
        self.effect != Effect::Kept
    }
}

/// What a copy did at one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The image was put in place.
    Written,
    /// The image was there before.
    Unchanged,
    /// The tag pointed at something else before and still does: see [`TagPolicy::Keep`].
    Kept,
}
