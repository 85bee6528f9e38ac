//! Tags that are at the destination already: what may become of them, and the last look before one is
//! moved.
//!
//! Whether a tag is left alone is decided by what is known of it before anything is sent, and once
//! more when it is written, because somebody else may have made it meanwhile: see
//! `docs/adr/0019-when-tags-move.md`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::place::DestinationState;
use super::write::Writer;
use super::{Copied, Effect, Failure, Side, Target};
use crate::oci::{Digest, Manifest, Tag};
use crate::reason::Reason;
use crate::registry::ManifestReference;
use crate::transport::Error;

/// What becomes of a tag that is at the destination with another digest than the one to be written.
///
/// It holds for every tag that is written for a target, also those of cosign. The list of referrers
/// that a registry without the referrers API keeps under a tag is no image: it is always added to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TagPolicy {
    /// It is moved.
    #[default]
    Overwrite,
    /// It stays, and the copy is a success that says so: [`Effect::Kept`].
    Keep,
    /// It stays, and the copy fails: [`Reason::TagExists`].
    Fail,
}

impl TagPolicy {
    /// Whether a tag that is there stays where it points.
    pub(super) const fn protects(self) -> bool {
        matches!(self, Self::Keep | Self::Fail)
    }
}

/// A tag to be written, and whether it may be moved for that.
#[derive(Clone, Copy, Debug)]
pub(super) struct TagWrite<'a> {
    pub(super) tag: &'a Tag,
    pub(super) policy: TagPolicy,
}

/// What became of a tag that was to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tagged {
    /// It points at the image.
    Image,
    /// It points at something else, which stays.
    Other(Digest),
}

impl Target {
    /// The result for this target if nothing has to be written there: it has `wanted` already, or
    /// something else that stays. `found` is what it has.
    pub(super) fn settle(
        &self,
        source: &Digest,
        wanted: &Digest,
        found: Option<&Digest>,
    ) -> Option<Result<Copied, Failure>> {
        let found = found?;
        if found == wanted {
            return Some(Ok(Copied {
                source: source.clone(),
                digest: wanted.clone(),
                effect: Effect::Unchanged,
            }));
        }
        self.protects_tag()
            .then(|| self.leave(source, wanted, found))
    }

    /// The result for this target where `found` stays in the place of `wanted`.
    pub(super) fn leave(
        &self,
        source: &Digest,
        wanted: &Digest,
        found: &Digest,
    ) -> Result<Copied, Failure> {
        self.leave_instead_of(source, wanted, found)
    }

    /// The result for this target where `found` stays in the place of what would be made of `source`.
    pub(super) fn leave_unread(&self, source: &Digest, found: &Digest) -> Result<Copied, Failure> {
        self.leave_instead_of(source, &format_args!("made of {source}"), found)
    }

    fn leave_instead_of(
        &self,
        source: &Digest,
        wanted: &dyn fmt::Display,
        found: &Digest,
    ) -> Result<Copied, Failure> {
        match self.existing {
            TagPolicy::Fail => Err(tag_exists(&self.to_string(), found, wanted)),
            TagPolicy::Keep | TagPolicy::Overwrite => Ok(Copied {
                source: source.clone(),
                digest: found.clone(),
                effect: Effect::Kept,
            }),
        }
    }

    /// The result for this target if its tag is something else than `wanted` and stays, for those who
    /// only look.
    pub(crate) async fn look(
        &self,
        source: &Digest,
        wanted: &Digest,
    ) -> Option<Result<Copied, Failure>> {
        let tag = self.tag.as_ref().filter(|_| self.existing.protects())?;
        let found = self.place.find_manifest(ManifestReference::Tag(tag)).await;
        match found.map_err(|error| Failure::of_place(Side::Destination, &error)) {
            Ok(found) => {
                let other = found.filter(|found| found != wanted)?;
                Some(self.leave(source, wanted, &other))
            }
            Err(failure) => Some(Err(failure)),
        }
    }

    /// Whether there is a tag that may not be moved.
    pub(super) const fn protects_tag(&self) -> bool {
        self.tag.is_some() && self.existing.protects()
    }
}

/// A tag that was not to be moved is in the way.
pub(super) fn tag_exists(name: &str, found: &Digest, wanted: &dyn fmt::Display) -> Failure {
    Failure {
        reason: Reason::TagExists,
        message: format!(
            "{name} is {found}, not {wanted}, and is not to be moved: delete it there, choose another tag, or let it be overwritten or kept"
        ),
    }
}

impl Writer<'_> {
    /// Points a tag at `image`, of which everything else is in place.
    ///
    /// A tag that may not be moved is looked at first. A registry that knows conditions of writing
    /// then refuses the write if somebody else was faster; with any other, a tag that is made between
    /// the look and the write is lost.
    pub(super) async fn write_tag(
        &self,
        image: &Manifest,
        to: TagWrite<'_>,
    ) -> Result<Tagged, Error> {
        let place = &self.destination.place;
        if !to.policy.protects() {
            place.put_manifest(image, Some(to.tag)).await?;
            return Ok(Tagged::Image);
        }
        if let Some(there) = what_is_under(self.destination, to.tag, image).await? {
            return Ok(there);
        }
        match place.create_tag(image, to.tag).await {
            Ok(()) => Ok(Tagged::Image),
            // It can also be ours, by a request whose answer was lost.
            Err(error) if error.is_tag_taken() => {
                let there = what_is_under(self.destination, to.tag, image).await?;
                there.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }
}

async fn what_is_under(
    destination: &DestinationState,
    tag: &Tag,
    image: &Manifest,
) -> Result<Option<Tagged>, Error> {
    let found = destination.find_protected(tag).await?;
    Ok(found.map(|found| {
        if found == *image.digest() {
            Tagged::Image
        } else {
            Tagged::Other(found)
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use rstest::rstest;

    use super::*;
    use crate::transport::LayoutDestination;

    #[rstest]
    #[case::nothing_there(TagPolicy::Keep, None, None)]
    #[case::in_place(TagPolicy::Keep, Some("wanted"), Some(Ok((Effect::Unchanged, "wanted"))))]
    #[case::in_place_and_to_fail(TagPolicy::Fail, Some("wanted"), Some(Ok((Effect::Unchanged, "wanted"))))]
    #[case::moved(TagPolicy::Overwrite, Some("other"), None)]
    #[case::kept(TagPolicy::Keep, Some("other"), Some(Ok((Effect::Kept, "other"))))]
    #[case::refused(TagPolicy::Fail, Some("other"), Some(Err(Reason::TagExists)))]
    #[tokio::test]
    async fn a_tag_that_is_there_is_settled_by_its_policy(
        #[case] existing: TagPolicy,
        #[case] found: Option<&str>,
        #[case] expected: Option<Result<(Effect, &str), Reason>>,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let target = target(directory.path(), Some("v1"), existing).await;
        let digest = |text: &str| Digest::sha256(text.as_bytes());
        let settled = target.settle(
            &digest("source"),
            &digest("wanted"),
            found.map(digest).as_ref(),
        );
        let settled = settled.map(|result| {
            result
                .map(|copied| (copied.effect, copied.digest))
                .map_err(|failure| failure.reason)
        });
        let expected = expected.map(|it| it.map(|(effect, text)| (effect, digest(text))));
        assert_eq!(settled, expected);
    }

    /// What is under its own digest is no tag that somebody else could miss.
    #[tokio::test]
    async fn without_a_tag_there_is_nothing_to_protect() {
        let directory = tempfile::tempdir().unwrap();
        let target = target(directory.path(), None, TagPolicy::Fail).await;
        let (wanted, found) = (Digest::sha256(b"wanted"), Digest::sha256(b"found"));
        assert_eq!(target.settle(&wanted, &wanted, Some(&found)), None);
    }

    #[test]
    fn the_refusal_names_both_digests() {
        let (found, wanted) = (Digest::sha256(b"found"), Digest::sha256(b"wanted"));
        let failure = tag_exists("registry.test/app:v1", &found, &wanted);
        for part in ["registry.test/app:v1", found.as_str(), wanted.as_str()] {
            assert!(failure.message.contains(part), "{failure}");
        }
    }

    async fn target(path: &Path, tag: Option<&str>, existing: TagPolicy) -> Target {
        Target {
            place: Arc::new(LayoutDestination::open(path).await.unwrap()),
            tag: tag.map(|tag| tag.parse().unwrap()),
            existing,
        }
    }
}
