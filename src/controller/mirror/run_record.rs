//! What the status says of runs: the one that goes on, and the last ones that have ended. Pure.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::runs::RunResult as Ended;
use super::step::{RunObservation, Trigger};
use crate::api::{ImageMirrorStatus, ImageStatus, RunResult, RunStatus};
use crate::copy::{Plan, Progress};
use crate::reason::Reason;

/// Runs that the status remembers.
const REMEMBERED_RUNS: usize = 5;

/// The entry of a run that has just been started.
pub(super) fn started(job: &str, plan: &Plan, now: Timestamp) -> RunStatus {
    RunStatus {
        job: job.to_owned(),
        start_time: Some(Time(now)),
        images_planned: copies(plan),
        ..RunStatus::default()
    }
}

/// Whether a run is missing in the status: the operator ended after it had started it, and before it could say
/// so.
pub(super) fn is_unknown(job: &str, previous: &ImageMirrorStatus) -> bool {
    previous.run.as_ref().is_none_or(|run| run.job != job)
}

/// The entry of a run that was found without one. Its plan may be gone.
pub(super) fn found(job: &Job, plan: Option<&Plan>) -> RunStatus {
    RunStatus {
        job: job.name_any(),
        start_time: job.metadata.creation_timestamp.clone(),
        images_planned: plan.map_or(0, copies),
        ..RunStatus::default()
    }
}

/// The status with a run that was [found](found). The one that it knew before is lost, if nobody has said how it ended.
pub(super) fn adopted(
    previous: &ImageMirrorStatus,
    run: RunStatus,
    now: Timestamp,
) -> ImageMirrorStatus {
    let known = previous.run.as_ref();
    let replaced = known.filter(|known| known.completion_time.is_none());
    let replaced = replaced.map(|known| lost(known, now));
    ImageMirrorStatus {
        history: history(previous, replaced.as_ref()),
        run: Some(run),
        ..previous.clone()
    }
}

/// The entry of a run of which nobody will learn how it ended.
fn lost(run: &RunStatus, now: Timestamp) -> RunStatus {
    RunStatus {
        completion_time: Some(Time(now)),
        result: Some(RunResult::Lost),
        ..run.clone()
    }
}

/// How many copies a plan is.
fn copies(plan: &Plan) -> i64 {
    let copies = plan.images.iter().map(|image| image.destinations.len());
    i64::try_from(copies.sum::<usize>()).unwrap_or(i64::MAX)
}

/// Writes down how far a run is. A worker that was replaced begins to count anew; what was sent before stays
/// true.
pub(super) fn count(run: &mut RunStatus, progress: Progress) {
    run.bytes = run.bytes.max(number(progress.bytes));
    run.blobs_copied = run.blobs_copied.max(number(progress.blobs_copied));
    run.blobs_mounted = run.blobs_mounted.max(number(progress.blobs_mounted));
    run.blobs_skipped = run.blobs_skipped.max(number(progress.blobs_skipped));
    run.images_copied = run.images_copied.max(number(progress.images_written));
}

/// The entry of the run whose end has just been noticed; `images` are as the scan after it has found them.
pub(super) fn ended(
    previous: &ImageMirrorStatus,
    trigger: Trigger,
    newest: Option<&RunObservation>,
    result: Option<&Ended>,
    images: &[ImageStatus],
    now: Timestamp,
) -> Option<RunStatus> {
    let recorded = previous.run.as_ref();
    let (Some(result), Some(newest)) = (result, newest) else {
        return recorded
            .filter(|run| trigger == Trigger::RunLost || run.completion_time.is_none())
            .map(|run| lost(run, now));
    };
    let recorded = recorded.filter(|run| run.job == newest.job);
    let counts = &result.counts;
    // Whoever says of a Job that it is complete: what counts is what the destination holds.
    let failed = result.ended.job_failure.is_some()
        || !result.ended.failures.is_empty()
        || images.iter().any(is_contradicted);
    Some(RunStatus {
        job: newest.job.clone(),
        start_time: recorded.and_then(|run| run.start_time.clone()),
        completion_time: Some(Time(now)),
        result: Some(if failed {
            RunResult::Failed
        } else {
            RunResult::Succeeded
        }),
        images_planned: recorded.map_or(0, |run| run.images_planned),
        images_copied: number(counts.images_written),
        images_failed: i64::try_from(result.failed).unwrap_or(i64::MAX),
        bytes: number(counts.bytes),
        blobs_copied: number(counts.blobs_copied),
        blobs_mounted: number(counts.blobs_mounted),
        blobs_skipped: number(counts.blobs_skipped),
    })
}

/// Whether the destination lacks what the workers said to have put there.
fn is_contradicted(image: &ImageStatus) -> bool {
    image.destinations.iter().any(|destination| {
        let reason = destination.reason.as_deref().and_then(Reason::from_name);
        reason == Some(Reason::DestinationMismatch)
    })
}

/// The last runs, with the one that has just ended.
pub(super) fn history(previous: &ImageMirrorStatus, ended: Option<&RunStatus>) -> Vec<RunStatus> {
    let others = previous
        .history
        .iter()
        .filter(|run| ended.is_none_or(|ended| ended.job != run.job));
    ended
        .into_iter()
        .chain(others)
        .take(REMEMBERED_RUNS)
        .cloned()
        .collect()
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_that_the_status_does_not_know_is_entered_as_its_objects_say() {
        let job: Job = serde_json::from_value(json!({
            "metadata": {"name": "new", "creationTimestamp": "2026-11-28T12:00:00Z"},
        }))
        .unwrap();
        let access = json!({"insecure": false});
        let destination = |reference: &str| json!({"reference": reference, "access": access});
        let digest = crate::oci::Digest::sha256(b"manifest");
        let plan: Plan = serde_json::from_value(json!({
            "version": Plan::VERSION, "shards": 1, "options": crate::copy::PlannedOptions::default(),
            "images": [{
                "source": "one.test/app:1", "digest": digest, "access": access,
                "destinations": [destination("two.test/app:1"), destination("three.test/app:1")],
            }],
        }))
        .unwrap();
        let mut status = ImageMirrorStatus::default();
        assert!(is_unknown("new", &status));
        status.run = Some(started("old", &plan, Timestamp::UNIX_EPOCH));
        assert!(is_unknown("new", &status));

        let run = found(&job, Some(&plan));
        assert_eq!((run.job.as_str(), run.images_planned), ("new", 2));
        assert_eq!(run.start_time, job.metadata.creation_timestamp);
        assert_eq!((run.completion_time.as_ref(), run.result), (None, None));
        // Nobody has said how the one before it ended, and now nobody will.
        let status = adopted(&status, run, Timestamp::UNIX_EPOCH);
        assert!(!is_unknown("new", &status));
        let [before] = &status.history[..] else {
            panic!("{:?}", status.history);
        };
        assert_eq!(
            (before.job.as_str(), before.result),
            ("old", Some(RunResult::Lost))
        );
        assert_eq!(found(&job, None).images_planned, 0);
    }

    #[test]
    fn a_run_that_is_said_to_be_complete_has_failed_when_nothing_arrived() {
        let run = RunObservation {
            job: "web-1".to_owned(),
            generation: 1,
            ended: true,
        };
        let ended_with = |destination: serde_json::Value| {
            let images: Vec<ImageStatus> =
                serde_json::from_value(json!([{"source": "a", "destinations": [destination]}]))
                    .unwrap();
            let (previous, result) = (ImageMirrorStatus::default(), Ended::default());
            let now = Timestamp::UNIX_EPOCH;
            let trigger = Trigger::RunEnded;
            let ended = ended(&previous, trigger, Some(&run), Some(&result), &images, now);
            ended.unwrap().result
        };
        let present = json!({"reference": "b", "state": "Present"});
        assert_eq!(ended_with(present), Some(RunResult::Succeeded));
        let missing = json!({"reference": "b", "state": "Failed", "reason": "DestinationMismatch"});
        assert_eq!(ended_with(missing), Some(RunResult::Failed));
    }
}
