//! The end of a run: places complete what they hold, and what was written is read back, so that
//! success is never only what a registry answered to a write.

use std::collections::HashMap;

use futures::StreamExt as _;

use super::blob::Trust;
use super::engine::{Engine, Goal, ImageOutcome, Stage};
use super::place::DestinationState;
use super::write::find;
use super::{Copied, Effect, Failure, ImageCopy, ManifestName, Side};
use crate::oci::{Digest, Tag};
use crate::reason::Reason;
use crate::transport::Existing;

/// New tags of one place from which on listing them costs less than asking for each. A list shows
/// that a new tag is there; of one that was there before it does not tell what it points at.
const LISTED_FROM: usize = 3;
/// Images that are read back at once.
const PARALLEL_CHECKS: usize = 16;
/// How often a tag is looked for that was written and is not there.
const CHECKS: u32 = 4;

impl Engine<'_> {
    /// Finishes all places and reads back what was written.
    pub(super) async fn finish(&self, copies: &[ImageCopy], outcomes: &mut [ImageOutcome]) {
        let mut failed = HashMap::new();
        let mut listed = HashMap::new();
        for destination in self.places.destinations() {
            let name = destination.place.name();
            if let Err(error) = destination.place.finish().await {
                failed.insert(name, Failure::of_place(Side::Destination, &error));
            } else if new_tags(destination, copies, outcomes).await >= LISTED_FROM
                && let Ok(existing) = destination.place.existing().await
            {
                listed.insert(name, existing);
            }
        }
        let checks = copies
            .iter()
            .zip(outcomes)
            .map(|(copy, outcome)| self.check_image(copy, outcome, &failed, &listed));
        futures::stream::iter(checks)
            .for_each_concurrent(PARALLEL_CHECKS, |check| check)
            .await;
    }

    async fn check_image(
        &self,
        copy: &ImageCopy,
        outcome: &mut ImageOutcome,
        failed: &HashMap<String, Failure>,
        listed: &HashMap<String, Existing>,
    ) {
        for (goal, result) in self.goals(copy, Stage::Whole).iter().zip(outcome) {
            let Ok(done) = result else { continue };
            if done.effect != Effect::Written {
                continue;
            }
            let name = goal.target.place.name();
            if let Some(failure) = failed.get(&name) {
                *result = Err(failure.clone());
                continue;
            }
            if let (Some(Existing::Tags(tags)), Some(tag)) = (listed.get(&name), &goal.target.tag)
                && tags.contains(tag)
                && goal.destination.is_new(tag).await
            {
                continue;
            }
            *result = self.confirm(copy, goal, done).await;
        }
    }

    /// Reads the target until it shows the image; one that does not is written once more.
    async fn confirm(
        &self,
        copy: &ImageCopy,
        goal: &Goal<'_>,
        done: &Copied,
    ) -> Result<Copied, Failure> {
        let digest = &done.digest;
        if self.is_visible(goal, digest).await? {
            return Ok(done.clone());
        }
        tracing::warn!(destination = %goal.target, %digest, "the destination has forgotten the image, it is written anew");
        let copied = self.write_anew(copy, goal, done).await?;
        // Somebody else may have made the tag meanwhile, and it is not to be moved.
        if !copied.is_in_place() {
            return Ok(copied);
        }
        if self.is_visible(goal, digest).await? {
            return Ok(done.clone());
        }
        Err(not_kept(&goal.target.to_string(), digest))
    }

    /// Writes an image to one target once more, with nothing believed of what is there.
    pub(super) async fn write_anew(
        &self,
        copy: &ImageCopy,
        goal: &Goal<'_>,
        done: &Copied,
    ) -> Result<Copied, Failure> {
        let once_more = ImageCopy {
            source: copy.source.clone(),
            image: ManifestName::Digest(done.source.clone()),
            targets: vec![goal.target.clone()],
        };
        let outcome = self
            .copy_to_targets(&once_more, Trust::Nothing, Stage::Whole)
            .await?;
        let result = outcome.into_iter().next();
        result.unwrap_or_else(|| Err(not_kept(&goal.target.to_string(), &done.digest)))
    }

    async fn is_visible(&self, goal: &Goal<'_>, digest: &Digest) -> Result<bool, Failure> {
        self.shows(&goal.destination, goal.target.tag.as_ref(), digest)
            .await
    }

    /// Whether a place shows the manifest under `tag`, or by its digest without one. A registry that
    /// is not consistent at once is given some time.
    pub(super) async fn shows(
        &self,
        destination: &DestinationState,
        tag: Option<&Tag>,
        digest: &Digest,
    ) -> Result<bool, Failure> {
        let mut wait = self.options.first_wait;
        for check in 1..=CHECKS {
            let found = find(destination, tag, digest)
                .await
                .map_err(|error| Failure::of_place(Side::Destination, &error))?;
            if found.as_ref() == Some(digest) {
                return Ok(true);
            }
            if check < CHECKS {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
        }
        Ok(false)
    }
}

/// A place was given `digest` twice and shows something else.
pub(super) fn not_kept(place: &str, digest: &Digest) -> Failure {
    Failure {
        reason: Reason::DestinationMismatch,
        message: format!(
            "{place} accepted {digest} and does not have it: something else writes there, or the registry loses content"
        ),
    }
}

/// How many tags were written to a place that were not there before.
async fn new_tags(
    destination: &DestinationState,
    copies: &[ImageCopy],
    outcomes: &[ImageOutcome],
) -> usize {
    let name = destination.place.name();
    let written = copies
        .iter()
        .zip(outcomes)
        .flat_map(|(copy, outcome)| copy.targets.iter().zip(outcome))
        .filter(|(_, result)| matches!(result, Ok(done) if done.effect == Effect::Written))
        .filter(|(target, _)| target.place.name() == name)
        .filter_map(|(target, _)| target.tag.as_ref());
    let mut new = 0;
    for tag in written {
        new += usize::from(destination.is_new(tag).await);
    }
    new
}
