//! How one build stands, as metrics count it. Pure: an object in, a few values out. Nothing of it names the build.

use jiff::{SignedDuration, Timestamp};

use crate::api::{BuildStatus, ConditionType, ImageBuild, ImageBuildStatus, find_condition};
use crate::build::FailureClass;
use crate::controller::standing::{State, is_overdue};
use crate::controller::stored::StoredBuild;

/// How one build stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuildStanding {
    pub(crate) state: State,
    /// Whose business it is that there is no image; nothing where the status does not say.
    pub(crate) class: Option<FailureClass>,
    /// When something has to happen: the next look, or the end of an attempt.
    due: Option<Timestamp>,
}

impl BuildStanding {
    /// Reads it off the object.
    pub(crate) fn of(stored: &StoredBuild) -> Self {
        let (status, state, due) = match stored {
            StoredBuild::Readable(object) => {
                let status = object.status.clone().unwrap_or_default();
                let state = State::of(
                    &object.metadata,
                    object.spec.suspend,
                    status.observed_generation,
                    &status.conditions,
                );
                let due = due(object, &status);
                (status, state, due)
            }
            StoredBuild::Unreadable(object) => {
                let status = object.status.clone().unwrap_or_default();
                (status, State::Stalled, None)
            }
        };
        Self {
            state,
            class: class(&status),
            due,
        }
    }

    /// Whether something should have happened long ago.
    pub(crate) fn is_overdue(&self, now: Timestamp) -> bool {
        is_overdue(self.due, now)
    }
}

/// The class of what `Ready` is about. The status may tell of an earlier failure, too: that of the last build, while
/// something else keeps the next one from being started.
fn class(status: &ImageBuildStatus) -> Option<FailureClass> {
    let ready = find_condition(&status.conditions, ConditionType::Ready)?;
    let failure = status.last_failure.as_ref()?;
    let class = FailureClass::from_name(&failure.class);
    class.filter(|_| failure.reason == ready.reason)
}

/// A build that nobody has looked at is due since it exists. One that is suspended is finished all the same.
fn due(object: &ImageBuild, status: &ImageBuildStatus) -> Option<Timestamp> {
    if object.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let goes_on = |build: &&BuildStatus| build.completion_time.is_none();
    if let Some(build) = status.build.as_ref().filter(goes_on) {
        return end_of_attempt(object, status, build);
    }
    if object.spec.suspend {
        return None;
    }
    if status.conditions.is_empty() {
        return Some(object.metadata.creation_timestamp.as_ref()?.0);
    }
    let planned = [&status.next_check_time, &status.next_schedule_time];
    planned.into_iter().flatten().map(|time| time.0).min()
}

/// When the attempt that goes on has to be over, or the next one has to begin.
fn end_of_attempt(
    object: &ImageBuild,
    status: &ImageBuildStatus,
    build: &BuildStatus,
) -> Option<Timestamp> {
    if let Some(retry) = &build.retry_time {
        return Some(retry.0);
    }
    // The build was started with its first attempt, and `Ready` is not known since this one was.
    let ready = find_condition(&status.conditions, ConditionType::Ready);
    let started = ready
        .filter(|ready| ready.status == "Unknown")
        .map(|ready| &ready.last_transition_time)
        .or(build.start_time.as_ref())?;
    let timeout: SignedDuration = object.spec.timeout.parse().ok()?;
    started.0.checked_add(timeout).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn standing(change: impl FnOnce(&mut Value)) -> BuildStanding {
        let mut object = json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageBuild",
            "metadata": {
                "name": "app", "namespace": "team", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "timeout": "2h", "source": {"inline": {"dockerfile": "FROM scratch"}},
                "output": {"repository": "corp.test/app"},
            },
            "status": {
                "observedGeneration": 2, "nextCheckTime": "2026-01-01T05:00:00Z",
                "nextScheduleTime": "2026-01-01T04:00:00Z", "conditions": [condition("Ready", "True", "Succeeded")],
                "build": {"number": 7, "attempt": 1, "startTime": "2026-01-01T01:00:00Z",
                    "completionTime": "2026-01-01T01:01:00Z"},
            },
        });
        change(&mut object);
        BuildStanding::of(&serde_json::from_value(object).unwrap())
    }

    fn condition(type_: &str, status: &str, reason: &str) -> Value {
        json!({
            "type": type_, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T03:00:00Z",
        })
    }

    /// A build that has failed.
    fn failed(object: &mut Value, ready: &str, marker: &str) {
        object["status"]["conditions"] = json!([
            condition("Ready", "False", ready),
            condition(marker, "True", ready),
        ]);
        object["status"]["lastFailure"] = json!({
            "number": 7, "class": "Dockerfile", "reason": "RunCommandFailed", "message": "",
        });
    }

    /// A build of which an attempt goes on.
    fn going_on(object: &mut Value) {
        let build = object["status"]["build"].as_object_mut().unwrap();
        build.remove("completionTime");
        object["status"]["conditions"] = json!([condition("Ready", "Unknown", "Progressing")]);
    }

    #[rstest]
    #[case::in_the_registry(|_: &mut Value| {}, State::Ready)]
    #[case::changed(|object: &mut Value| object["metadata"]["generation"] = json!(3), State::Progressing)]
    #[case::new(|object: &mut Value| object["status"] = json!({"observedGeneration": -1}), State::Progressing)]
    #[case::building(going_on, State::Progressing)]
    #[case::tried_again(|object: &mut Value| failed(object, "RunCommandFailed", "Reconciling"), State::Failed)]
    #[case::for_a_person(|object: &mut Value| failed(object, "RunCommandFailed", "Stalled"), State::Stalled)]
    #[case::by_a_person(|object: &mut Value| failed(object, "Cancelled", "Stalled"), State::Cancelled)]
    #[case::unreadable(|object: &mut Value| object["spec"]["output"] = json!("none"), State::Stalled)]
    #[case::suspended(|object: &mut Value| object["spec"]["suspend"] = json!(true), State::Suspended)]
    fn a_build_is_in_one_state(#[case] change: fn(&mut Value), #[case] expected: State) {
        assert_eq!(standing(change).state, expected);
    }

    #[rstest]
    #[case::of_the_build("RunCommandFailed", Some(FailureClass::Dockerfile))]
    #[case::not_of_what_keeps_another_from_starting("SourceUnreachable", None)]
    fn the_class_is_that_of_what_is_wrong_now(
        #[case] ready: &str,
        #[case] expected: Option<FailureClass>,
    ) {
        let standing = standing(|object| failed(object, ready, "Stalled"));
        assert_eq!(standing.class, expected);
    }

    #[test]
    fn a_class_of_another_version_is_none() {
        let standing = standing(|object| {
            failed(object, "RunCommandFailed", "Stalled");
            object["status"]["lastFailure"]["class"] = json!("OfAnotherVersion");
        });
        assert_eq!(standing.class, None);
    }

    #[rstest]
    #[case::schedule(|_: &mut Value| {}, "2026-01-01T04:15:00Z")]
    #[case::attempt(going_on, "2026-01-01T05:15:00Z")]
    #[case::attempt_of_a_suspended_build(
        |object: &mut Value| { going_on(object); object["spec"]["suspend"] = json!(true); }, "2026-01-01T05:15:00Z"
    )]
    #[case::attempt_that_nobody_has_written_of(
        |object: &mut Value| { going_on(object); object["status"]["conditions"] = json!([]); }, "2026-01-01T03:15:00Z"
    )]
    #[case::next_attempt(
        |object: &mut Value| { going_on(object); object["status"]["build"]["retryTime"] = json!("2026-01-01T03:01:00Z"); },
        "2026-01-01T03:16:00Z"
    )]
    #[case::never_seen(|object: &mut Value| object["status"] = json!({"observedGeneration": -1}), "2026-01-01T00:15:00Z")]
    fn what_should_have_happened_is_overdue(#[case] change: fn(&mut Value), #[case] last: &str) {
        let standing = standing(change);
        let last: Timestamp = last.parse().unwrap();
        assert!(!standing.is_overdue(last));
        assert!(standing.is_overdue(last + SignedDuration::from_secs(1)));
    }

    #[rstest]
    #[case::suspended(|object: &mut Value| object["spec"]["suspend"] = json!(true))]
    #[case::deleted(|object: &mut Value| object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"))]
    #[case::waits_for_a_change(|object: &mut Value| {
        object["status"]["nextCheckTime"] = json!(null);
        object["status"]["nextScheduleTime"] = json!(null);
    })]
    fn nothing_is_expected_of_these(#[case] change: fn(&mut Value)) {
        assert!(!standing(change).is_overdue(Timestamp::MAX));
    }
}
