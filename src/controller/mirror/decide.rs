//! The heart of the reconciler: from what a scan found to what is copied and what the status says, over all
//! images. Pure: the clock and everything observed come in as values.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::fence::Fences;
use super::form::Form;
use super::scan::{ImageScan, Scan};
use super::step::Trigger;
use super::verdict::{Case, Verdict};
use super::wanted::UnlistedRepository;
use crate::api::{DestinationStatus, DriftPolicy, ImageState, ImageStatus};
use crate::copy::{Copied, Failure, FailurePolicy, Plan, PlannedDestination, PlannedImage};
use crate::oci::{Digest, Reference};
use crate::reason::Reason;

/// Most images of one run; what is missing beyond them is copied by the next one. So many fit into the one
/// object that a plan is.
const MAX_PLANNED_IMAGES: usize = 5000;

/// A source and a destination, both fully written out.
pub(super) type CopyName = (String, String);

/// The result of a run that has ended, as far as its workers could tell.
#[derive(Clone, Debug, Default)]
pub(super) struct EndedRun {
    /// What they reported as failed, and why.
    pub(super) failures: BTreeMap<CopyName, Failure>,
    /// What they reported to have put in place; nothing as long as nobody has to know.
    pub(super) copied: BTreeMap<CopyName, Copied>,
    /// Why the Job failed, when it did not end well by itself.
    pub(super) job_failure: Option<String>,
    /// What it was to copy; everything that was missing, as long as nobody knows.
    pub(super) planned: Option<BTreeSet<CopyName>>,
}

impl EndedRun {
    pub(super) fn was_to_copy(&self, copy: &CopyName) -> bool {
        self.planned
            .as_ref()
            .is_none_or(|planned| planned.contains(copy))
    }
}

/// Everything the decision depends on.
pub(super) struct Situation<'a> {
    pub(super) trigger: Trigger,
    pub(super) scan: &'a Scan,
    pub(super) ended_run: Option<&'a EndedRun>,
    /// All images as they stood before, as far as that is known.
    pub(super) previous: &'a [ImageStatus],
    pub(super) drift: DriftPolicy,
    /// In which form images are wanted.
    pub(super) form: &'a Form,
    /// Workers of the next run.
    pub(super) shards: u32,
    /// Which other mirror keeps what this one wants as well.
    pub(super) owners: &'a BTreeMap<Reference, String>,
    /// What must not be written yet.
    pub(super) fences: &'a Fences,
}

/// All images as they stood before, by their source.
type Previous<'a> = BTreeMap<&'a str, &'a ImageStatus>;

/// What is to be done and how each image stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    /// What the next run copies; nothing when everything is in place or has to wait.
    pub(super) plan: Option<Plan>,
    /// Whether the plan only repeats copies that have failed before: the last verdict then stands
    /// until the outcome is known, so that health checks do not flap with every attempt.
    pub(super) repeats_failures_only: bool,
    /// Every image, in the order of the spec.
    pub(super) images: Vec<ImageStatus>,
    /// The first image that cannot be copied, and why.
    pub(super) obstacle: Option<String>,
    /// When the first of those can be copied that wait for a worker that does not answer.
    pub(super) held_until: Option<Timestamp>,
    /// Destination references whose tag someone else moved or deleted since the last scan.
    pub(super) drifted: Vec<String>,
}

impl Decision {
    /// Why not all images can be moved at once, if they cannot.
    fn obstacle_to_all(&self, planned: usize) -> Option<String> {
        if planned > MAX_PLANNED_IMAGES {
            return Some(format!(
                "{planned} images are to be copied, and one run takes {MAX_PLANNED_IMAGES}"
            ));
        }
        if let Some(until) = self.held_until {
            return Some(format!("one of them has to wait until {until}"));
        }
        self.obstacle.clone()
    }

    /// Not all can be copied, so none is.
    fn hold_back(&mut self, obstacle: &str) {
        let waiting = self
            .images
            .iter_mut()
            .flat_map(|image| &mut image.destinations)
            .filter(|destination| {
                destination.state == ImageState::Pending
                    || destination.state == ImageState::Drifted && destination.reason.is_none()
            });
        for destination in waiting {
            destination.state = ImageState::Failed;
            destination.reason = Some(Reason::HeldBack.to_string());
            destination.message = Some(format!(
                "no tag is moved unless all images can be copied (spec.failurePolicy): {obstacle}"
            ));
        }
    }

    /// The run could not be started: everything that it would have copied has failed.
    pub(super) fn fail_run(&mut self, message: &str) {
        self.plan = None;
        let unplaced = self
            .images
            .iter_mut()
            .flat_map(|image| &mut image.destinations)
            .filter(|destination| {
                matches!(
                    destination.state,
                    ImageState::Copying | ImageState::Drifted | ImageState::Pending
                )
            });
        for destination in unplaced {
            destination.state = ImageState::Failed;
            destination.reason = Some(Reason::RunFailed.to_string());
            destination.message = Some(message.to_owned());
        }
    }
}

/// Decides.
pub(super) fn decide(situation: &Situation<'_>) -> Decision {
    let mut decision = Decision {
        plan: None,
        repeats_failures_only: true,
        images: Vec::new(),
        obstacle: None,
        held_until: None,
        drifted: Vec::new(),
    };
    let mut planned = Vec::new();
    let previous = situation.previous.iter();
    let previous = previous
        .map(|image| (image.source.as_str(), image))
        .collect();
    for image in &situation.scan.images {
        let (status, destinations) = decide_image(situation, &previous, image, &mut decision);
        if let (Ok(head), false) = (&image.source, destinations.is_empty()) {
            planned.push(PlannedImage {
                source: image.wanted.source.clone(),
                access: image.wanted.access.clone(),
                digest: head.digest.clone(),
                destinations,
            });
        }
        decision.images.push(status);
    }
    decision
        .images
        .extend(situation.scan.unlisted.iter().map(unlisted));
    if let Some(unlisted) = situation.scan.unlisted.first() {
        let failure = &unlisted.failure;
        decision
            .obstacle
            .get_or_insert_with(|| failure.message.clone());
    }
    if situation.form.options.failure_policy == FailurePolicy::Strict {
        let obstacle = decision.obstacle_to_all(planned.len());
        if let Some(obstacle) = obstacle {
            decision.hold_back(&obstacle);
            planned.clear();
        }
    }
    planned.truncate(MAX_PLANNED_IMAGES);
    if !planned.is_empty() {
        decision.plan = Some(Plan {
            version: Plan::VERSION,
            options: situation.form.options.clone(),
            shards: situation.shards,
            images: planned,
        });
    }
    decision
}

/// A repository whose images are not known stands for them, once at each destination.
fn unlisted(repository: &UnlistedRepository) -> ImageStatus {
    let destinations = repository.destinations.iter().map(|reference| {
        let verdict = Verdict::failed(&repository.failure);
        DestinationStatus {
            reference: reference.clone(),
            digest: None,
            conversion: None,
            state: verdict.state,
            reason: verdict.reason,
            message: verdict.message,
        }
    });
    ImageStatus {
        source: repository.source.clone(),
        source_digest: None,
        media_type: None,
        destinations: destinations.collect(),
    }
}

fn decide_image(
    situation: &Situation<'_>,
    previous: &Previous<'_>,
    image: &ImageScan,
    decision: &mut Decision,
) -> (ImageStatus, Vec<PlannedDestination>) {
    let mut to_copy = Vec::new();
    let mut destinations = Vec::new();
    for (destination, found) in image.wanted.destinations.iter().zip(&image.destinations) {
        let reference = destination.reference.to_string();
        let case = Case {
            situation,
            image,
            destination,
            found,
            previous: previous_state(previous, image, &reference),
        };
        let verdict = case.verdict();
        if verdict.state == ImageState::Drifted
            && case
                .previous
                .is_none_or(|(_, previous)| previous.state != ImageState::Drifted)
        {
            decision.drifted.push(reference.clone());
        }
        if let Some(until) = verdict.held_until {
            let first = decision.held_until.map_or(until, |held| held.min(until));
            decision.held_until = Some(first);
        }
        if verdict.state == ImageState::Failed && !verdict.copy && decision.obstacle.is_none() {
            let why = verdict.message.as_deref().unwrap_or_default();
            decision.obstacle = Some(format!("{reference}: {why}"));
        }
        if verdict.copy {
            to_copy.push(destination.clone());
            decision.repeats_failures_only &= verdict.state == ImageState::Failed;
        }
        destinations.push(DestinationStatus {
            reference,
            digest: found
                .as_ref()
                .ok()
                .and_then(Option::as_ref)
                .map(Digest::to_string),
            conversion: case.conversion(),
            state: verdict.state,
            reason: verdict.reason,
            message: verdict.message,
        });
    }
    let status = ImageStatus {
        source: image.wanted.source.to_string(),
        source_digest: image
            .source
            .as_ref()
            .ok()
            .map(|head| head.digest.to_string()),
        media_type: image
            .source
            .as_ref()
            .ok()
            .map(|head| head.media_type.to_string()),
        destinations,
    };
    (status, to_copy)
}

fn previous_state<'a>(
    previous: &Previous<'a>,
    image: &ImageScan,
    reference: &str,
) -> Option<(&'a ImageStatus, &'a DestinationStatus)> {
    let source = image.wanted.source.to_string();
    let image = previous.get(source.as_str())?;
    let destination = image
        .destinations
        .iter()
        .find(|destination| destination.reference == reference)?;
    Some((image, destination))
}

#[cfg(test)]
mod tests;
