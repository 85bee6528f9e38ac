//! What a reconcile of a build has to do first. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::observation::{AttemptObservation, Progress};
use crate::api::{BuildStatus, CANCEL_ANNOTATION, ImageBuild, requested_reconcile};

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing until the object changes.
    Rest,
    /// Nothing before this much time has passed.
    Wait(Duration),
    /// Pods are at it that the status does not know yet.
    Adopt(Box<AttemptObservation>),
    /// Not all pods of this attempt were made, and the status knows nothing of it: it is begun anew when they are
    /// gone.
    Discard((i64, i64)),
    /// Pods are at it.
    Follow,
    /// They have ended, and nobody has said how.
    Collect,
    /// A pod of the build has vanished.
    Lose,
    /// Stop the build: somebody asked for that, or its spec is not the one that it was started for.
    Cancel { asked: bool },
    /// Try the build again.
    Retry,
    /// See whether there is something to build.
    Check(Cause),
}

/// Why it is time to see whether there is something to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The spec is new.
    SpecChanged,
    /// Somebody asked for a build.
    Requested,
    /// It stands in the schedule.
    Scheduled,
    /// The time has come to look again.
    Due,
}

/// Decides from the object, its pods and the clock. `started_for` is what an attempt of
/// now is started for.
pub(super) fn next_step(
    object: &ImageBuild,
    attempts: &[AttemptObservation],
    started_for: &str,
    now: Timestamp,
) -> Step {
    if object.metadata.deletion_timestamp.is_some() {
        return Step::Rest;
    }
    let status = object.status.as_ref();
    let build = status.and_then(|status| status.build.as_ref());
    if let Some(unknown) = attempts.iter().max_by_key(|attempt| attempt.order())
        && build.is_none_or(|build| unknown.order() > (build.number, build.attempt))
    {
        return match unknown.progress {
            Progress::Incomplete => Step::Discard(unknown.order()),
            Progress::Running | Progress::Ended => Step::Adopt(Box::new(unknown.clone())),
        };
    }
    if let Some(build) = build.filter(|build| build.completion_time.is_none()) {
        return going_on(object, build, attempts, started_for, now);
    }
    if object.spec.suspend {
        return Step::Rest;
    }
    if status.and_then(|status| status.observed_generation) != object.metadata.generation {
        return Step::Check(Cause::SpecChanged);
    }
    if requested_at(object) != status.and_then(|status| status.last_handled_reconcile_at.as_deref())
    {
        return Step::Check(Cause::Requested);
    }
    let left = |time: Option<Timestamp>| {
        time.map(|time| Duration::try_from(time.duration_since(now)).unwrap_or_default())
    };
    let scheduled = left(status.and_then(|status| Some(status.next_schedule_time.as_ref()?.0)));
    let due = left(status.and_then(|status| Some(status.next_check_time.as_ref()?.0)));
    if scheduled == Some(Duration::ZERO) {
        return Step::Check(Cause::Scheduled);
    }
    match scheduled.into_iter().chain(due).min() {
        None => Step::Rest,
        Some(Duration::ZERO) => Step::Check(Cause::Due),
        Some(left) => Step::Wait(left),
    }
}

fn going_on(
    object: &ImageBuild,
    build: &BuildStatus,
    attempts: &[AttemptObservation],
    started_for: &str,
    now: Timestamp,
) -> Step {
    if let Some(retry) = &build.retry_time {
        if is_cancelled(object, build.number) {
            return Step::Cancel { asked: true };
        }
        let left = Duration::try_from(retry.0.duration_since(now)).unwrap_or_default();
        return if left.is_zero() {
            Step::Retry
        } else {
            Step::Wait(left)
        };
    }
    let Some(attempt) = attempts
        .iter()
        .find(|attempt| attempt.order() == (build.number, build.attempt))
    else {
        return Step::Lose;
    };
    // Of a build that has ended as well: what it pushed must not count as made by another spec.
    let outdated = attempt.started_for != started_for;
    let asked = attempt.progress != Progress::Ended && is_cancelled(object, build.number);
    match attempt.progress {
        _ if asked || outdated => Step::Cancel { asked },
        Progress::Ended => Step::Collect,
        Progress::Incomplete => Step::Lose,
        Progress::Running => Step::Follow,
    }
}

fn is_cancelled(object: &ImageBuild, number: i64) -> bool {
    let annotations = object.metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get(CANCEL_ANNOTATION))
        .is_some_and(|value| *value == number.to_string())
}

/// The value of the reconcile request annotation. Without any, the value that was handled last, so that
/// removing the annotation requests nothing.
pub(super) fn requested_at(object: &ImageBuild) -> Option<&str> {
    requested_reconcile(&object.metadata)
        .or_else(|| object.status.as_ref()?.last_handled_reconcile_at.as_deref())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_000_000;

    fn at(offset: i64) -> String {
        Timestamp::from_second(NOW + offset).unwrap().to_string()
    }

    /// A build of generation 3 that has nothing to do.
    fn idle(change: impl FnOnce(&mut Value)) -> ImageBuild {
        let mut object = json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageBuild",
            "metadata": {"name": "app", "namespace": "n", "uid": "1", "generation": 3, "annotations": {}},
            "spec": {
                "source": {"inline": {"dockerfile": "FROM scratch"}},
                "output": {"repository": "corp.test/app"},
            },
            "status": {"observedGeneration": 3, "build": {
                "number": 7, "attempt": 1, "pod": "app-7", "inputsHash": "h", "startTime": at(-100), "completionTime": at(-90),
            }},
        });
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    fn running(object: &mut Value) {
        object["status"]["build"]
            .as_object_mut()
            .unwrap()
            .remove("completionTime");
    }

    fn attempt(number: i64, progress: Progress) -> AttemptObservation {
        AttemptObservation {
            build: BuildStatus {
                number,
                attempt: 1,
                pod: format!("app-{number}"),
                ..BuildStatus::default()
            },
            source: None,
            builder: None,
            started_for: "spec".to_owned(),
            progress,
        }
    }

    fn step(object: &ImageBuild, pods: &[AttemptObservation]) -> Step {
        next_step(object, pods, "spec", Timestamp::from_second(NOW).unwrap())
    }

    #[test]
    fn nothing_is_done_without_a_cause() {
        assert_eq!(
            step(&idle(|_| {}), &[attempt(7, Progress::Ended)]),
            Step::Rest
        );
    }

    #[test]
    fn each_cause_is_seen() {
        let changed = idle(|object| object["metadata"]["generation"] = json!(4));
        assert_eq!(step(&changed, &[]), Step::Check(Cause::SpecChanged));
        let requested = idle(|object| {
            object["metadata"]["annotations"]["reconcile.transship.dev/requestedAt"] = json!("now");
        });
        assert_eq!(step(&requested, &[]), Step::Check(Cause::Requested));
        let scheduled = idle(|object| object["status"]["nextScheduleTime"] = json!(at(-1)));
        assert_eq!(step(&scheduled, &[]), Step::Check(Cause::Scheduled));
        let due = idle(|object| object["status"]["nextCheckTime"] = json!(at(-1)));
        assert_eq!(step(&due, &[]), Step::Check(Cause::Due));
        let later = idle(|object| {
            object["status"]["nextCheckTime"] = json!(at(60));
            object["status"]["nextScheduleTime"] = json!(at(30));
        });
        assert_eq!(step(&later, &[]), Step::Wait(Duration::from_secs(30)));
    }

    #[test]
    fn a_suspended_build_starts_nothing_and_finishes_what_goes_on() {
        let suspend = |object: &mut Value| {
            object["spec"]["suspend"] = json!(true);
            object["metadata"]["generation"] = json!(4);
        };
        assert_eq!(step(&idle(suspend), &[]), Step::Rest);
        let going_on = idle(|object| {
            suspend(object);
            running(object);
        });
        assert_eq!(
            step(&going_on, &[attempt(7, Progress::Running)]),
            Step::Follow
        );
    }

    #[test]
    fn a_build_is_followed_to_its_end() {
        let object = idle(running);
        assert_eq!(
            step(&object, &[attempt(7, Progress::Running)]),
            Step::Follow
        );
        assert_eq!(step(&object, &[attempt(7, Progress::Ended)]), Step::Collect);
        assert_eq!(step(&object, &[]), Step::Lose);
    }

    #[test]
    fn a_build_is_stopped_for_another_spec_or_on_request() {
        let object = idle(running);
        let other = |progress| AttemptObservation {
            started_for: "another".to_owned(),
            ..attempt(7, progress)
        };
        let cancel = |asked| Step::Cancel { asked };
        // Otherwise the image of the old spec would count as that of the new one.
        for progress in [Progress::Running, Progress::Ended] {
            assert_eq!(step(&object, &[other(progress)]), cancel(false));
        }
        for (number, expected) in [("7", cancel(true)), ("6", Step::Follow)] {
            let asked = idle(|object| {
                running(object);
                object["metadata"]["annotations"][CANCEL_ANNOTATION] = json!(number);
            });
            assert_eq!(step(&asked, &[attempt(7, Progress::Running)]), expected);
        }
    }

    #[test]
    fn a_pod_that_the_status_does_not_know_is_adopted() {
        let unknown = attempt(8, Progress::Running);
        let expected = Step::Adopt(Box::new(unknown.clone()));
        assert_eq!(
            step(&idle(|_| {}), &[attempt(7, Progress::Ended), unknown]),
            expected
        );
    }

    #[test]
    fn an_attempt_of_which_pods_are_missing_is_begun_anew_or_lost() {
        let missing = |number| attempt(number, Progress::Incomplete);
        assert_eq!(step(&idle(|_| {}), &[missing(8)]), Step::Discard((8, 1)));
        assert_eq!(step(&idle(running), &[missing(7)]), Step::Lose);
    }

    #[test]
    fn another_attempt_waits_for_its_time() {
        let retry = |offset: i64| {
            idle(|object| {
                running(object);
                object["status"]["build"]["retryTime"] = json!(at(offset));
            })
        };
        assert_eq!(step(&retry(20), &[]), Step::Wait(Duration::from_secs(20)));
        assert_eq!(
            step(&retry(-1), &[attempt(7, Progress::Ended)]),
            Step::Retry
        );
    }
}
