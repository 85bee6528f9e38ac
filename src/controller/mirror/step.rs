//! What a reconcile has to do first: nothing yet, follow a run, give one up, or scan. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::cleanup::has_finalizer;
use crate::api::{ImageMirror, requested_reconcile};

/// A Job of this mirror as it was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunObservation {
    /// The name of the Job.
    pub(super) job: String,
    /// The generation of the mirror that the run was planned for.
    pub(super) generation: i64,
    /// Whether its pods are done, successfully or not.
    pub(super) ended: bool,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing until the object changes.
    Rest,
    /// The object is deleted: remove what it asks for, and let it go.
    Finalize,
    /// Nothing before this much time has passed.
    Wait(Duration),
    /// A run is going on in this Job.
    Follow { job: String },
    /// A run is going on for an older spec in this Job: stop it, then scan.
    GiveUp { job: String },
    /// Compare source and destination.
    Scan(Trigger),
}

impl Step {
    /// The Job of the run that it is about.
    pub(super) fn run<'a>(&'a self, newest: Option<&'a RunObservation>) -> Option<&'a str> {
        match self {
            Self::Follow { job } | Self::GiveUp { job } => Some(job),
            Self::Scan(Trigger::RunEnded) => newest.map(|run| run.job.as_str()),
            Self::Rest | Self::Finalize | Self::Wait(_) | Self::Scan(_) => None,
        }
    }
}

/// Why a scan happens now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// The spec is new.
    SpecChanged,
    /// A person or a tool asked for it.
    Requested,
    /// A run has ended.
    RunEnded,
    /// A run vanished without a result.
    RunLost,
    /// The time has come.
    Due,
}

/// Decides from the object, its newest run and the clock.
pub(super) fn next_step(
    mirror: &ImageMirror,
    run: Option<&RunObservation>,
    now: Timestamp,
) -> Step {
    if mirror.metadata.deletion_timestamp.is_some() {
        return if has_finalizer(&mirror.metadata) {
            Step::Finalize
        } else {
            Step::Rest
        };
    }
    if mirror.spec.suspend {
        return Step::Rest;
    }
    let status = mirror.status.as_ref();
    let recorded = status.and_then(|status| status.run.as_ref());
    let accounted =
        |job: &str| recorded.is_some_and(|run| run.job == job && run.completion_time.is_some());
    match run {
        Some(run) if !run.ended && Some(run.generation) == mirror.metadata.generation => {
            return Step::Follow {
                job: run.job.clone(),
            };
        }
        Some(run) if !run.ended => {
            return Step::GiveUp {
                job: run.job.clone(),
            };
        }
        Some(run) if !accounted(&run.job) => return Step::Scan(Trigger::RunEnded),
        Some(_) | None => {}
    }
    if status.and_then(|status| status.observed_generation) != mirror.metadata.generation {
        return Step::Scan(Trigger::SpecChanged);
    }
    if requested_at(mirror) != status.and_then(|status| status.last_handled_reconcile_at.as_deref())
    {
        return Step::Scan(Trigger::Requested);
    }
    if recorded.is_some_and(|run| run.completion_time.is_none()) {
        return Step::Scan(Trigger::RunLost);
    }
    let remaining = status
        .and_then(|status| status.next_scan_time.as_ref())
        .and_then(|next| Duration::try_from(next.0.duration_since(now)).ok())
        .filter(|remaining| !remaining.is_zero() && *remaining <= longest_wait(mirror));
    remaining.map_or(Step::Scan(Trigger::Due), Step::Wait)
}

/// The longest pause between two scans, with what they are spread by. A time beyond it is none that we have planned:
/// somebody else has written the status.
fn longest_wait(mirror: &ImageMirror) -> Duration {
    let interval: Option<SignedDuration> = mirror.spec.interval.parse().ok();
    let interval = interval.and_then(|interval| Duration::try_from(interval).ok());
    interval.map_or(Duration::MAX, |interval| interval.saturating_mul(2))
}

/// The value of the reconcile request annotation. Without any, the value that was handled last, so that
/// removing the annotation requests nothing.
pub(super) fn requested_at(mirror: &ImageMirror) -> Option<&str> {
    requested_reconcile(&mirror.metadata)
        .or_else(|| mirror.status.as_ref()?.last_handled_reconcile_at.as_deref())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::RECONCILE_REQUEST_ANNOTATIONS;

    const NOW: i64 = 1_000_000;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn at(offset: i64) -> String {
        Timestamp::from_second(NOW + offset).unwrap().to_string()
    }

    /// A mirror of generation 3 that was scanned and has nothing to do for a minute.
    fn idle() -> Value {
        json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {"name": "m", "namespace": "n", "generation": 3, "annotations": {}},
            "spec": {"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]},
            "status": {
                "observedGeneration": 3, "nextScanTime": at(60),
                "run": {"job": "old", "completionTime": at(-60)},
            },
        })
    }

    fn step(change: impl FnOnce(&mut Value), run: Option<(&str, i64, bool)>) -> Step {
        let mut mirror = idle();
        change(&mut mirror);
        let run = run.map(|(job, generation, ended)| RunObservation {
            job: job.to_owned(),
            generation,
            ended,
        });
        next_step(
            &serde_json::from_value(mirror).unwrap(),
            run.as_ref(),
            now(),
        )
    }

    #[test]
    fn an_idle_mirror_waits_for_its_interval() {
        assert_eq!(step(|_| {}, None), Step::Wait(Duration::from_mins(1)));
        assert_eq!(
            step(|_| {}, Some(("old", 3, true))),
            Step::Wait(Duration::from_mins(1))
        );
        assert_eq!(
            step(
                |mirror| mirror["status"]["nextScanTime"] = json!(at(0)),
                None
            ),
            Step::Scan(Trigger::Due)
        );
        assert_eq!(
            step(
                |mirror| mirror["status"]["nextScanTime"] = Value::Null,
                None
            ),
            Step::Scan(Trigger::Due)
        );
    }

    #[test]
    fn a_new_object_and_a_new_spec_are_scanned_at_once() {
        let fresh = |mirror: &mut Value| mirror["status"] = json!({"observedGeneration": -1});
        assert_eq!(step(fresh, None), Step::Scan(Trigger::SpecChanged));
        assert_eq!(
            step(|mirror| mirror["metadata"]["generation"] = json!(4), None),
            Step::Scan(Trigger::SpecChanged)
        );
    }

    #[test]
    fn suspended_and_deleted_objects_rest() {
        assert_eq!(
            step(
                |mirror| mirror["spec"]["suspend"] = json!(true),
                Some(("new", 3, true))
            ),
            Step::Rest
        );
        assert_eq!(
            step(
                |mirror| mirror["metadata"]["deletionTimestamp"] = json!(at(0)),
                None
            ),
            Step::Rest
        );
    }

    #[test]
    fn a_time_that_was_never_planned_holds_nothing_back() {
        let far = |mirror: &mut Value| mirror["status"]["nextScanTime"] = json!(at(3 * 3600));
        assert_eq!(step(far, None), Step::Scan(Trigger::Due));
        let daily = |mirror: &mut Value| {
            far(mirror);
            mirror["spec"]["interval"] = json!("24h");
        };
        assert_eq!(step(daily, None), Step::Wait(Duration::from_hours(3)));
    }

    #[test]
    fn a_deleted_object_that_waits_for_us_is_let_go_even_if_it_is_suspended() {
        let deleted = |mirror: &mut Value| {
            mirror["metadata"]["deletionTimestamp"] = json!(at(0));
            mirror["metadata"]["finalizers"] = json!([crate::api::FINALIZER]);
            mirror["spec"]["suspend"] = json!(true);
        };
        assert_eq!(step(deleted, Some(("new", 3, false))), Step::Finalize);
    }

    #[test]
    fn either_annotation_requests_one_scan() {
        for key in RECONCILE_REQUEST_ANNOTATIONS {
            let ask = |mirror: &mut Value| mirror["metadata"]["annotations"][key] = json!("now");
            assert_eq!(step(ask, None), Step::Scan(Trigger::Requested), "{key}");
            let handled = |mirror: &mut Value| {
                ask(mirror);
                mirror["status"]["lastHandledReconcileAt"] = json!("now");
            };
            assert_eq!(
                step(handled, None),
                Step::Wait(Duration::from_mins(1)),
                "{key}"
            );
        }
    }

    #[test]
    fn removing_the_annotation_requests_nothing() {
        let handled =
            |mirror: &mut Value| mirror["status"]["lastHandledReconcileAt"] = json!("before");
        assert_eq!(step(handled, None), Step::Wait(Duration::from_mins(1)));
    }

    #[test]
    fn a_run_is_followed_until_it_ends() {
        assert_eq!(
            step(|_| {}, Some(("new", 3, false))),
            Step::Follow {
                job: "new".to_owned()
            }
        );
        assert_eq!(
            step(|_| {}, Some(("new", 3, true))),
            Step::Scan(Trigger::RunEnded)
        );
    }

    #[test]
    fn a_run_for_an_older_spec_is_given_up() {
        assert_eq!(
            step(|_| {}, Some(("new", 2, false))),
            Step::GiveUp {
                job: "new".to_owned()
            }
        );
    }

    #[test]
    fn a_run_whose_job_vanished_is_made_up_for() {
        let running = |mirror: &mut Value| mirror["status"]["run"] = json!({"job": "gone"});
        assert_eq!(step(running, None), Step::Scan(Trigger::RunLost));
    }
}
