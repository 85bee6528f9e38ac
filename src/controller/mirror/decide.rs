//! The heart of the reconciler: from what a scan found to what is copied and what the status says.
//! Pure: the clock and everything observed come in as values.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::{ImageScan, Scan, naming_secret};
use super::step::Trigger;
use super::wanted::{UnlistedRepository, WantedImage};
use crate::api::{DestinationStatus, DriftPolicy, ImageState, ImageStatus};
use crate::copy::{Failure, Plan, PlannedDestination, PlannedImage};
use crate::oci::Digest;
use crate::reason::Reason;

/// Most images of one run; what is missing beyond them is copied by the next one. So many fit into the one
/// object that a plan is.
const MAX_PLANNED_IMAGES: usize = 5000;

/// What a person can do about a tag that is not put back.
const LEFT_DRIFTED: &str =
    "somebody moved or deleted this tag, and spec.drift is Report; put it back, or set Correct";

/// Source and destination of everything that a run was to copy.
pub(super) type Planned = BTreeSet<(String, String)>;

/// The result of a run that has ended, as far as its worker could tell.
#[derive(Clone, Debug, Default)]
pub(super) struct EndedRun {
    /// What the worker reported as failed.
    pub(super) failures: Vec<RunFailure>,
    /// Why the Job failed, when it did not end well by itself.
    pub(super) job_failure: Option<String>,
    /// What it was to copy; everything that was missing, as long as nobody knows.
    pub(super) planned: Option<Planned>,
}

impl EndedRun {
    fn was_to_copy(&self, source: &str, reference: &str) -> bool {
        let copy = (source.to_owned(), reference.to_owned());
        self.planned
            .as_ref()
            .is_none_or(|planned| planned.contains(&copy))
    }
}

/// One copy that the worker gave up.
#[derive(Clone, Debug)]
pub(super) struct RunFailure {
    /// The source, fully written out.
    pub(super) source: String,
    /// The destination, fully written out.
    pub(super) destination: String,
    /// Why.
    pub(super) failure: Failure,
}

/// Everything the decision depends on.
pub(super) struct Situation<'a> {
    pub(super) trigger: Trigger,
    pub(super) scan: &'a Scan,
    pub(super) ended_run: Option<&'a EndedRun>,
    /// All images as they stood before, as far as that is known.
    pub(super) previous: &'a [ImageStatus],
    pub(super) drift: DriftPolicy,
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
    /// Destination references whose tag someone else moved or deleted since the last scan.
    pub(super) drifted: Vec<String>,
}

impl Decision {
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

/// Where one image stands at one destination, and whether the next run copies it.
struct Verdict {
    state: ImageState,
    reason: Option<String>,
    message: Option<String>,
    copy: bool,
}

impl Verdict {
    const fn present() -> Self {
        Self {
            state: ImageState::Present,
            reason: None,
            message: None,
            copy: false,
        }
    }

    const fn copy(state: ImageState) -> Self {
        Self {
            state,
            reason: None,
            message: None,
            copy: true,
        }
    }

    fn drifted(policy: DriftPolicy) -> Self {
        match policy {
            DriftPolicy::Correct => Self::copy(ImageState::Drifted),
            DriftPolicy::Report => Self {
                state: ImageState::Drifted,
                reason: Some(Reason::DriftDetected.to_string()),
                message: Some(LEFT_DRIFTED.to_owned()),
                copy: false,
            },
        }
    }

    fn failed(failure: &Failure) -> Self {
        Self {
            state: ImageState::Failed,
            reason: Some(failure.reason.to_string()),
            message: Some(failure.message.clone()),
            copy: false,
        }
    }

    /// Copied again, while the last verdict stands until the outcome is known.
    fn repeated(previous: &DestinationStatus) -> Self {
        Self {
            state: ImageState::Failed,
            reason: previous.reason.clone(),
            message: previous.message.clone(),
            copy: true,
        }
    }
}

/// Decides.
pub(super) fn decide(situation: &Situation<'_>) -> Decision {
    let mut decision = Decision {
        plan: None,
        repeats_failures_only: true,
        images: Vec::new(),
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
    planned.truncate(MAX_PLANNED_IMAGES);
    if !planned.is_empty() {
        decision.plan = Some(Plan {
            version: Plan::VERSION,
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
        let previous = previous_state(previous, &image.wanted, &reference);
        let verdict = match (&image.source, found) {
            (Err(failure), _) | (Ok(_), Err(failure)) => Verdict::failed(failure),
            (Ok(head), Ok(Some(digest))) if *digest == head.digest => Verdict::present(),
            (Ok(head), Ok(_)) => {
                decide_missing(situation, image, &reference, &head.digest, previous)
            }
        };
        if verdict.state == ImageState::Drifted
            && previous.is_none_or(|(_, previous)| previous.state != ImageState::Drifted)
        {
            decision.drifted.push(reference.clone());
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

/// The destination lacks the source's digest: copy it, unless a run has just failed to.
fn decide_missing(
    situation: &Situation<'_>,
    image: &ImageScan,
    reference: &str,
    wanted: &Digest,
    previous: Option<(&ImageStatus, &DestinationStatus)>,
) -> Verdict {
    let source_unchanged = previous
        .and_then(|(image, _)| image.source_digest.as_deref())
        .is_some_and(|digest| digest == wanted.as_str());
    if let Some(failure) = situation.ended_run.and_then(|run| {
        let source = image.wanted.source.to_string();
        if !run.was_to_copy(&source, reference) {
            return None;
        }
        let reported = run
            .failures
            .iter()
            .find(|failure| failure.source == source && failure.destination == reference);
        match (reported, previous) {
            (Some(reported), _) => Some(naming_secret_of_side(image, reference, &reported.failure)),
            // An image beyond those that the status lists: whether its source moved is unknown, and
            // waiting for the next scan is the answer that cannot turn into a loop.
            (None, None) => Some(unreported_failure(run)),
            (None, Some((_, previous))) => (source_unchanged
                && (previous.state != ImageState::Failed || run.job_failure.is_some()))
            .then(|| unreported_failure(run)),
        }
    }) {
        return Verdict::failed(&failure);
    }
    match previous {
        Some((_, previous)) if source_unchanged => match previous.state {
            ImageState::Present | ImageState::Drifted => Verdict::drifted(situation.drift),
            ImageState::Failed if situation.trigger == Trigger::Due => Verdict::repeated(previous),
            ImageState::Failed | ImageState::Copying | ImageState::Pending => {
                Verdict::copy(ImageState::Pending)
            }
        },
        Some(_) | None => Verdict::copy(ImageState::Pending),
    }
}

/// The worker does not know what Kubernetes calls its credentials.
fn naming_secret_of_side(image: &ImageScan, reference: &str, failure: &Failure) -> Failure {
    let access = match failure.reason {
        Reason::PullDenied => Some(&image.wanted.access),
        Reason::PushDenied => image
            .wanted
            .destinations
            .iter()
            .find(|destination| destination.reference.to_string() == reference)
            .map(|destination| &destination.access),
        // Which of the two registries it was about stands in the message only.
        _ => None,
    };
    match access {
        Some(access) => naming_secret(failure.clone(), access),
        None => failure.clone(),
    }
}

fn unreported_failure(run: &EndedRun) -> Failure {
    match &run.job_failure {
        Some(message) => Failure {
            reason: Reason::RunFailed,
            message: message.clone(),
        },
        None => Failure {
            reason: Reason::DestinationMismatch,
            message: "the worker reported success, but the destination does not hold the digest"
                .to_owned(),
        },
    }
}

fn previous_state<'a>(
    previous: &Previous<'a>,
    wanted: &WantedImage,
    reference: &str,
) -> Option<(&'a ImageStatus, &'a DestinationStatus)> {
    let source = wanted.source.to_string();
    let image = previous.get(source.as_str())?;
    let destination = image
        .destinations
        .iter()
        .find(|destination| destination.reference == reference)?;
    Some((image, destination))
}

#[cfg(test)]
mod tests;
