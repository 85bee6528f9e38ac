//! The status of an `ImageMirror`: counts, conditions by the kstatus rules, and when to look again.
//! Pure: the clock comes in as a value.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::decide::Decision;
use super::run_record;
use super::runs::RunState;
use super::spec_error::SpecError;
use super::step::Trigger;
use crate::api::{
    ConditionType, Conditions, ImageMirrorStatus, ImageState, ImageStatus, find_condition,
};
use crate::controller::later;
use crate::reason::{Class, Reason};

/// Most images that a status lists, and most bytes of them as JSON: a status is sent to everybody who watches
/// mirrors, and stays far below the size that etcd accepts.
const MAX_LISTED_IMAGES: usize = 100;
const MAX_LISTED_BYTES: usize = 160 * 1024;
/// Most characters of a message in a condition.
const MAX_MESSAGE_CHARACTERS: usize = 1024;
/// Shortest pause before another attempt after a failure.
const MIN_RETRY_DELAY: Duration = Duration::from_secs(5);
/// Longest pause before another attempt after a failure.
const MAX_RETRY_DELAY: Duration = Duration::from_mins(15);

/// What the new status is made from.
pub(super) struct StatusInput<'a> {
    /// The status as it is now.
    pub(super) previous: &'a ImageMirrorStatus,
    /// `metadata.generation` of the spec that was acted upon.
    pub(super) generation: Option<i64>,
    /// The reconcile request that is hereby handled.
    pub(super) requested_at: Option<&'a str>,
    /// Why the scan happened.
    pub(super) trigger: Trigger,
    /// The scan period.
    pub(super) interval: Duration,
    /// A number in 0..1 that differs between mirrors and scans, to spread scans over time.
    pub(super) jitter: f64,
    /// The clock.
    pub(super) now: Timestamp,
}

/// What the pods of a run are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WorkerState {
    /// On the way.
    Starting,
    /// At work.
    Running,
    /// Kept from it, in the words of the kubelet or the scheduler.
    Blocked(String),
}

/// How many images stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    desired: i64,
    present: i64,
    pending: i64,
    failed: i64,
    drifted: i64,
    /// Of those that are present: something else is there, and stays.
    kept: i64,
}

impl Counts {
    fn of(images: &[ImageStatus]) -> Self {
        let mut counts = Self::default();
        for destination in images.iter().flat_map(|image| &image.destinations) {
            counts.desired += 1;
            match destination.state {
                ImageState::Present => {
                    counts.present += 1;
                    counts.kept += i64::from(destination.reason.is_some());
                }
                ImageState::Failed => counts.failed += 1,
                ImageState::Pending | ImageState::Copying => counts.pending += 1,
                ImageState::Drifted => {
                    // One that has a reason is left as it is.
                    counts.pending += i64::from(destination.reason.is_none());
                    counts.drifted += 1;
                }
            }
        }
        counts
    }
}

/// The status after a scan, but for its runs.
pub(super) fn after_scan(input: &StatusInput<'_>, decision: &Decision) -> ImageMirrorStatus {
    let counts = Counts::of(&decision.images);
    let running = decision.plan.is_some();
    let conditions = conditions(input, decision, counts);
    let all_in_place = counts.present == counts.desired;
    let next_scan = match (running, all_in_place) {
        (true, _) => None,
        (false, true) => Some(later(input.now, jittered(input.interval, input.jitter))),
        (false, false) => {
            let retry = later(input.now, retry_delay(&conditions, input));
            Some(decision.held_until.map_or(retry, |held| held.min(retry)))
        }
    };
    let synced_now = all_in_place
        && (input.trigger == Trigger::RunEnded || input.previous.last_sync_time.is_none());
    ImageMirrorStatus {
        observed_generation: input.generation,
        conditions,
        summary: format!("{}/{}", counts.present, counts.desired),
        desired: counts.desired,
        present: counts.present,
        pending: counts.pending,
        failed: counts.failed,
        drifted: counts.drifted,
        last_scan_time: Some(Time(input.now)),
        last_sync_time: if synced_now {
            Some(Time(input.now))
        } else {
            input.previous.last_sync_time.clone()
        },
        next_scan_time: next_scan.map(Time),
        last_handled_reconcile_at: input.requested_at.map(str::to_owned),
        run: None,
        history: Vec::new(),
        prune: None,
        images: listed(&decision.images),
        image_reports: Vec::new(),
    }
}

/// The status for a spec that cannot be acted upon. With an interval it is looked at again then.
pub(super) fn for_invalid_spec(input: &StatusInput<'_>, error: &SpecError) -> ImageMirrorStatus {
    let message = bounded(&error.to_string());
    ImageMirrorStatus {
        observed_generation: input.generation,
        conditions: Conditions::new(&input.previous.conditions, input.generation, input.now)
            .set(
                ConditionType::Ready,
                "False",
                Reason::InvalidSpec,
                message.clone(),
            )
            .set(ConditionType::Stalled, "True", Reason::InvalidSpec, message)
            .build(),
        last_handled_reconcile_at: input.requested_at.map(str::to_owned),
        last_sync_time: input.previous.last_sync_time.clone(),
        next_scan_time: (!input.interval.is_zero())
            .then(|| Time(later(input.now, jittered(input.interval, input.jitter)))),
        run: input.previous.run.clone(),
        history: input.previous.history.clone(),
        ..ImageMirrorStatus::default()
    }
}

/// The status while a run is followed: images that wait are being copied once a worker runs, and the
/// progress message tells what keeps one from running.
pub(super) fn while_following(previous: &ImageMirrorStatus, run: &RunState) -> ImageMirrorStatus {
    let worker = &run.workers;
    let mut status = previous.clone();
    if let (Some(run), Some(progress)) = (&mut status.run, run.progress) {
        run_record::count(run, progress);
    }
    let progress = progress(previous.pending);
    let message = match worker {
        WorkerState::Blocked(obstacle) => bounded(&format!(
            "{progress}; the worker is not running: {obstacle}"
        )),
        WorkerState::Starting | WorkerState::Running => progress,
    };
    for condition in &mut status.conditions {
        if Reason::from_name(&condition.reason) == Some(Reason::Progressing) {
            condition.message.clone_from(&message);
        }
    }
    if *worker == WorkerState::Running {
        for destination in status
            .images
            .iter_mut()
            .flat_map(|image| &mut image.destinations)
        {
            if destination.state == ImageState::Pending {
                destination.state = ImageState::Copying;
            }
        }
    }
    status
}

fn conditions(input: &StatusInput<'_>, decision: &Decision, counts: Counts) -> Vec<Condition> {
    let conditions = Conditions::new(&input.previous.conditions, input.generation, input.now);
    let failure = worst_failure(&decision.images);
    let conditions = match &failure {
        None if counts.pending == 0 => conditions.set(
            ConditionType::Ready,
            "True",
            Reason::Succeeded,
            in_place(image_count(decision), counts.kept),
        ),
        None => conditions.set(
            ConditionType::Ready,
            "Unknown",
            Reason::Progressing,
            progress(counts.pending),
        ),
        Some(worst) => conditions.set(
            ConditionType::Ready,
            "False",
            worst.reason,
            worst.message(counts),
        ),
    };
    let copies_something_new =
        decision.plan.is_some() && !decision.repeats_failures_only || decision.held_until.is_some();
    let conditions = match &failure {
        _ if copies_something_new => conditions.set(
            ConditionType::Reconciling,
            "True",
            Reason::Progressing,
            progress(counts.pending),
        ),
        None => conditions,
        Some(worst) if worst.reason.class() == Class::Transient => conditions.set(
            ConditionType::Reconciling,
            "True",
            Reason::ProgressingWithRetry,
            worst.message(counts),
        ),
        Some(worst) => conditions.set(
            ConditionType::Stalled,
            "True",
            worst.reason,
            worst.message(counts),
        ),
    };
    conditions.build()
}

/// The failure that the conditions show. One that may pass goes before one that the user must mend,
/// so that `Stalled` appears only when waiting is of no use.
struct WorstFailure<'a> {
    reason: Reason,
    source: &'a str,
    text: &'a str,
    /// Nothing failed, but a tag was moved and is left so.
    drifted: bool,
}

impl WorstFailure<'_> {
    fn message(&self, counts: Counts) -> String {
        bounded(&format!(
            "{} of {} {}: {}: {}",
            if self.drifted {
                counts.drifted
            } else {
                counts.failed
            },
            images(counts.desired),
            if self.drifted { "drifted" } else { "failed" },
            self.source,
            self.text
        ))
    }
}

fn worst_failure(all: &[ImageStatus]) -> Option<WorstFailure<'_>> {
    all.iter()
        .flat_map(|image| {
            image
                .destinations
                .iter()
                .map(move |destination| (image, destination))
        })
        .filter(|(_, destination)| {
            let left_drifted =
                destination.state == ImageState::Drifted && destination.reason.is_some();
            destination.state == ImageState::Failed || left_drifted
        })
        .map(|(image, destination)| WorstFailure {
            reason: destination
                .reason
                .as_deref()
                .and_then(Reason::from_name)
                .unwrap_or(Reason::RunFailed),
            source: &image.source,
            text: destination
                .message
                .as_deref()
                .unwrap_or("no details are known"),
            drifted: destination.state == ImageState::Drifted,
        })
        .min_by_key(|failure| {
            // What holds others back is the cause.
            let is_consequence = failure.reason == Reason::HeldBack;
            let is_stalled = failure.reason.class() == Class::Stalled;
            (is_consequence, is_stalled, failure.drifted)
        })
}

fn in_place(all: i64, kept: i64) -> String {
    let text = format!("{} in place in every destination", images(all));
    if kept == 0 {
        text
    } else {
        format!("{text}; {kept} tags were there with something else and are kept")
    }
}

fn progress(pending: i64) -> String {
    format!("copying {}", images(pending))
}

fn image_count(decision: &Decision) -> i64 {
    i64::try_from(decision.images.len()).unwrap_or(i64::MAX)
}

fn images(count: i64) -> String {
    if count == 1 {
        "1 image".to_owned()
    } else {
        format!("{count} images")
    }
}

/// Failed first, then drifted, copying, pending and present ones.
fn listed(all: &[ImageStatus]) -> Vec<ImageStatus> {
    let mut sorted: Vec<_> = all.to_vec();
    sorted.sort_by_key(|image| {
        image
            .destinations
            .iter()
            .map(|destination| destination.state)
            .min()
    });
    let mut bytes = 0;
    let fitting = sorted.iter().take(MAX_LISTED_IMAGES).take_while(|image| {
        let size = serde_json::to_vec(image).map_or(usize::MAX, |json| json.len());
        bytes = usize::saturating_add(bytes, size);
        bytes <= MAX_LISTED_BYTES
    });
    let fitting = fitting.count();
    sorted.truncate(fitting);
    sorted
}

fn bounded(message: &str) -> String {
    message.chars().take(MAX_MESSAGE_CHARACTERS).collect()
}

/// Between 90 % and 110 % of the interval.
fn jittered(interval: Duration, jitter: f64) -> Duration {
    interval.mul_f64(0.2f64.mul_add(jitter.clamp(0.0, 1.0), 0.9))
}

/// As long as the mirror has been failing already: the pause doubles with every attempt, and the
/// only memory it needs is the transition time of `Ready`, which survives a restart.
fn retry_delay(conditions: &[Condition], input: &StatusInput<'_>) -> Duration {
    let failing_since = find_condition(conditions, ConditionType::Ready)
        .map_or(input.now, |condition| condition.last_transition_time.0);
    let elapsed = Duration::try_from(input.now.duration_since(failing_since)).unwrap_or_default();
    let longest = MAX_RETRY_DELAY.min(input.interval).max(MIN_RETRY_DELAY);
    jittered(elapsed.clamp(MIN_RETRY_DELAY, longest), input.jitter).min(longest)
}

#[cfg(test)]
mod tests;
