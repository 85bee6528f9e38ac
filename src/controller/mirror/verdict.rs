//! How one image stands at one destination, and whether it is copied. Pure.

use jiff::Timestamp;

use super::decide::{EndedRun, Situation};
use super::scan::ImageScan;
use super::step::Trigger;
use crate::api::{ConversionStatus, DestinationStatus, DriftPolicy, ImageState, ImageStatus};
use crate::controller::registries::naming_secret;
use crate::copy::{Failure, PlannedDestination, TagPolicy};
use crate::oci::{Digest, Reference};
use crate::reason::Reason;

/// What a person can do about a tag that is not put back.
const LEFT_DRIFTED: &str =
    "somebody moved or deleted this tag, and spec.drift is Report; put it back, or set Correct";
const KEPT_DRIFTED: &str = "somebody moved this tag, and existing is Keep at this destination; put it back, or set Overwrite";

/// Where one image stands at one destination, and whether the next run copies it.
pub(super) struct Verdict {
    pub(super) state: ImageState,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) copy: bool,
    /// When it can be copied that now must not be.
    pub(super) held_until: Option<Timestamp>,
}

impl Verdict {
    const fn present() -> Self {
        Self {
            state: ImageState::Present,
            reason: None,
            message: None,
            copy: false,
            held_until: None,
        }
    }

    const fn copy(state: ImageState) -> Self {
        Self {
            state,
            reason: None,
            message: None,
            copy: true,
            held_until: None,
        }
    }

    fn drifted(policy: DriftPolicy) -> Self {
        match policy {
            DriftPolicy::Correct => Self::copy(ImageState::Drifted),
            DriftPolicy::Report => Self::left_drifted(LEFT_DRIFTED),
        }
    }

    fn left_drifted(message: &str) -> Self {
        Self {
            state: ImageState::Drifted,
            reason: Some(Reason::DriftDetected.to_string()),
            message: Some(message.to_owned()),
            copy: false,
            held_until: None,
        }
    }

    fn kept(found: &Digest) -> Self {
        Self {
            state: ImageState::Present,
            reason: Some(Reason::Kept.to_string()),
            message: Some(format!(
                "the tag was there with {found}, and existing is Keep at this destination"
            )),
            copy: false,
            held_until: None,
        }
    }

    pub(super) fn failed(failure: &Failure) -> Self {
        Self {
            state: ImageState::Failed,
            reason: Some(failure.reason.to_string()),
            message: Some(failure.message.clone()),
            copy: false,
            held_until: None,
        }
    }

    /// Copied when the worker has stopped for certain that may still be writing something else there.
    fn held(until: Timestamp) -> Self {
        Self {
            state: ImageState::Pending,
            reason: None,
            message: Some(format!(
                "a worker on a node that does not answer may still write this tag; it stops by itself, and the image is copied after {until}"
            )),
            copy: false,
            held_until: Some(until),
        }
    }

    /// Copied again, while the last verdict stands until the outcome is known.
    fn repeated(previous: &DestinationStatus) -> Self {
        Self {
            state: ImageState::Failed,
            reason: previous.reason.clone(),
            message: previous.message.clone(),
            copy: true,
            held_until: None,
        }
    }
}

/// One image and one of its destinations, with everything that is known of them.
pub(super) struct Case<'a> {
    pub(super) situation: &'a Situation<'a>,
    pub(super) image: &'a ImageScan,
    pub(super) destination: &'a PlannedDestination,
    /// What the destination has.
    pub(super) found: &'a Result<Option<Digest>, Failure>,
    /// How both stood before.
    pub(super) previous: Option<(&'a ImageStatus, &'a DestinationStatus)>,
}

impl Case<'_> {
    /// What is known of the image's conversion: what the run that has just ended says, else what was known
    /// before, as long as it is about the same source in the same form.
    pub(super) fn conversion(&self) -> Option<ConversionStatus> {
        let options = self.situation.form.text.as_ref()?;
        let source = self.image.source.as_ref().ok()?.digest.as_str();
        let told = self.situation.ended_run.and_then(|run| {
            let copied = run.copied.get(&self.names())?;
            Some(ConversionStatus {
                source_digest: copied.source.to_string(),
                digest: copied.digest.to_string(),
                options: options.clone(),
            })
        });
        let known = self
            .previous
            .and_then(|(_, previous)| previous.conversion.clone());
        told.into_iter()
            .chain(known)
            .find(|known| known.source_digest == source && known.options == *options)
    }

    /// Decides.
    pub(super) fn verdict(&self) -> Verdict {
        let reference = &self.destination.reference;
        if let Some(owner) = self.situation.owners.get(reference) {
            return Verdict::failed(&conflict(reference, owner));
        }
        let (head, found) = match (&self.image.source, self.found) {
            (Err(failure), _) | (Ok(_), Err(failure)) => return Verdict::failed(failure),
            (Ok(head), Ok(found)) => (head, found.as_ref()),
        };
        let expected = match &self.situation.form.text {
            None => Some(head.digest.to_string()),
            Some(_) => self.conversion().map(|conversion| conversion.digest),
        };
        let in_place = found.is_some_and(|found| Some(found.as_str()) == expected.as_deref());
        if in_place {
            return Verdict::present();
        }
        if let Some(kept) = found.and_then(|found| self.occupied(found)) {
            return kept;
        }
        if let Some(failure) = self.failure_of_run(expected.is_some()) {
            return Verdict::failed(&failure);
        }
        let verdict = self.missing();
        let until = self.situation.fences.until(
            &reference.to_string(),
            &head.digest,
            &self.situation.form.options,
        );
        match until {
            Some(until) if verdict.copy => Verdict::held(until),
            _ => verdict,
        }
    }

    /// The tag is there, with something else, and may not be moved.
    fn occupied(&self, found: &Digest) -> Option<Verdict> {
        let was_in_place = self.previous.is_some_and(|(_, previous)| {
            previous.reason.as_deref() != Some(Reason::Kept.to_string().as_str())
                && matches!(previous.state, ImageState::Present | ImageState::Drifted)
        });
        match self.destination.existing {
            TagPolicy::Overwrite => None,
            TagPolicy::Keep if was_in_place && self.is_about_the_same() => {
                Some(Verdict::left_drifted(KEPT_DRIFTED))
            }
            TagPolicy::Keep => Some(Verdict::kept(found)),
            TagPolicy::Fail => Some(Verdict::failed(&Failure {
                reason: Reason::TagExists,
                message: format!(
                    "{} is there with {found}, and existing is Fail at this destination; remove the tag, or set Overwrite or Keep",
                    self.destination.reference
                ),
            })),
        }
    }

    /// The destination lacks the image.
    fn missing(&self) -> Verdict {
        match self.previous {
            Some((_, previous)) if self.is_about_the_same() => match previous.state {
                ImageState::Present | ImageState::Drifted => Verdict::drifted(self.situation.drift),
                ImageState::Failed if self.situation.trigger == Trigger::Due => {
                    Verdict::repeated(previous)
                }
                ImageState::Failed | ImageState::Copying | ImageState::Pending => {
                    Verdict::copy(ImageState::Pending)
                }
            },
            Some(_) | None => Verdict::copy(ImageState::Pending),
        }
    }

    /// Why the run that has just ended did not put the image in place, if it was to. `told` says whether it is
    /// known what it was to put there.
    fn failure_of_run(&self, told: bool) -> Option<Failure> {
        let run = self.situation.ended_run?;
        let names = self.names();
        if !run.was_to_copy(&names) {
            return None;
        }
        match (run.failures.get(&names), self.previous) {
            (Some(reported), _) => Some(self.naming_secret_of_side(reported)),
            // An image beyond those that the status lists: whether its source moved is unknown, and
            // waiting for the next scan is the answer that cannot turn into a loop.
            (None, None) => Some(unreported_failure(run, told)),
            (None, Some((_, previous))) => (self.source_unchanged()
                && (previous.state != ImageState::Failed || run.job_failure.is_some()))
            .then(|| unreported_failure(run, told)),
        }
    }

    fn names(&self) -> (String, String) {
        (
            self.image.wanted.source.to_string(),
            self.destination.reference.to_string(),
        )
    }

    /// Whether what was known before is about the digest that the source has now.
    fn source_unchanged(&self) -> bool {
        let before = self
            .previous
            .and_then(|(image, _)| image.source_digest.as_deref());
        let now = self.image.source.as_ref().map(|head| head.digest.as_str());
        before.is_some() && before == now.ok()
    }

    /// Whether it is about the same form as well. What was in place in another one has not drifted.
    fn is_about_the_same(&self) -> bool {
        let form = self.previous.and_then(|(_, previous)| {
            let conversion = previous.conversion.as_ref()?;
            Some(conversion.options.as_str())
        });
        self.source_unchanged() && form == self.situation.form.text.as_deref()
    }

    /// The worker does not know what Kubernetes calls its credentials.
    fn naming_secret_of_side(&self, failure: &Failure) -> Failure {
        let access = match failure.reason {
            Reason::PullDenied => &self.image.wanted.access,
            Reason::PushDenied => &self.destination.access,
            // Which of the two registries it was about stands in the message only.
            _ => return failure.clone(),
        };
        naming_secret(failure.clone(), access)
    }
}

fn conflict(reference: &Reference, owner: &str) -> Failure {
    Failure {
        reason: Reason::Conflict,
        message: format!(
            "{owner}, which is older, keeps {reference}; give one of the two another prefix, path or tag"
        ),
    }
}

fn unreported_failure(run: &EndedRun, told: bool) -> Failure {
    match &run.job_failure {
        Some(message) => Failure {
            reason: Reason::RunFailed,
            message: message.clone(),
        },
        None if !told => Failure {
            reason: Reason::RunFailed,
            message: "the worker has ended, and its log, which says what it converted the image to, cannot be read"
                .to_owned(),
        },
        None => Failure {
            reason: Reason::DestinationMismatch,
            message: "the worker reported success, but the destination does not hold the digest"
                .to_owned(),
        },
    }
}
