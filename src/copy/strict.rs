//! Runs that move no tag unless every image could be written: [`FailurePolicy::Strict`].
//!
//! First everything is written by its digest, to all targets. Only if that succeeded for every image
//! are the tags moved, one request each. The tags that are named after a digest, cosign's and the
//! lists of referrers, belong to the first part: who reads a tag of an image in the moment when it
//! moves finds its signatures.
//!
//! Places that are no registries show nothing before they are finished, so there the tags are written
//! at once, and a run that holds back does not finish them. The reasons are in
//! `docs/adr/0019-when-tags-move.md`.
//!
//! [`FailurePolicy::Strict`]: super::FailurePolicy::Strict

use futures::StreamExt as _;

use super::engine::{Engine, Goal, ImageOutcome, Stage};
use super::{Copied, Effect, Failure, ImageCopy, Side};
use crate::reason::Reason;
use crate::registry::{ErrorKind, ManifestReference};
use crate::transport::Error;

impl Engine<'_> {
    /// Moves the tags of a run that has written everything else.
    pub(super) async fn publish(&self, copies: &[ImageCopy], outcomes: &mut [ImageOutcome]) {
        let images = copies
            .iter()
            .zip(outcomes)
            .map(|(copy, outcome)| async move {
                for (goal, result) in self.goals(copy, Stage::Whole).iter().zip(outcome) {
                    if let Ok(done) = result
                        && done.effect == Effect::Written
                        && goal.is_shown_at_once()
                    {
                        *result = self.publish_one(copy, goal, done).await;
                    }
                }
            });
        futures::stream::iter(images)
            .for_each_concurrent(self.options.parallel_images.max(1), |image| image)
            .await;
    }

    /// Moves one tag to the image that was written by its digest. Registries may have removed it
    /// meanwhile, because no tag pointed at it: then it is written anew.
    async fn publish_one(
        &self,
        copy: &ImageCopy,
        goal: &Goal<'_>,
        done: &Copied,
    ) -> Result<Copied, Failure> {
        let Some(tag) = goal.tag() else {
            return Ok(done.clone());
        };
        let place = &goal.destination.place;
        let reference = ManifestReference::Digest(&done.digest);
        let tagged = match place.manifest(reference).await {
            Ok(root) => {
                let writer = self.writer(&copy.source, &goal.destination);
                writer.write_tag(&root, tag).await
            }
            Err(error) => Err(error),
        };
        match tagged {
            Ok(tagged) => goal.written(&done.source, &done.digest, tagged),
            Err(error) if is_lost(&error) => {
                tracing::warn!(destination = %goal.target, %error, "the destination has forgotten the image before it got its tag, it is written anew");
                self.write_anew(copy, goal, done).await
            }
            Err(error) => Err(Failure::of_place(Side::Destination, &error)),
        }
    }
}

/// Whether an image, or a part of it, is not there. Some registries deny the look at what is absent.
fn is_lost(error: &Error) -> bool {
    match error {
        Error::Registry(error) => matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::ContentMissing | ErrorKind::Denied
        ),
        Error::NotFound { .. } => true,
        _ => false,
    }
}

/// Makes all images fail whose tags wait for others, if one of the others has failed; whether they may
/// be published.
pub(super) fn may_publish(copies: &[ImageCopy], outcomes: &mut [ImageOutcome]) -> bool {
    let results = || {
        let images = copies.iter().zip(&*outcomes);
        images.flat_map(|(copy, outcome)| {
            let targets = copy.targets.iter().zip(outcome);
            targets.map(move |(target, result)| (copy, target, result))
        })
    };
    let total = results().count();
    let mut failed = results().filter_map(|(copy, target, result)| {
        let failure = result.as_ref().err()?;
        Some((copy.display_source(), target.to_string(), failure))
    });
    let Some((source, destination, failure)) = failed.next() else {
        return true;
    };
    let held_back = Failure {
        reason: Reason::HeldBack,
        message: format!(
            "the tag was not moved, because {} of {total} copies failed; the first: {source} to {destination}: {failure}",
            failed.count() + 1,
        ),
    };
    for result in outcomes.iter_mut().flatten() {
        if matches!(result, Ok(done) if done.effect == Effect::Written) {
            *result = Err(held_back.clone());
        }
    }
    false
}
