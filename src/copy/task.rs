//! What the engine is asked to do: one image, and where to.

use std::fmt;
use std::sync::Arc;

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
    /// What the source has. It is another than [`Self::digest`] when the image was changed on the way.
    pub source: Digest,
    /// The digest that is there now.
    pub digest: Digest,
    /// Whether it was there before.
    pub unchanged: bool,
}
