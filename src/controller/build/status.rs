//! The status of a build by the rules of kstatus. Pure: the clock comes in as a value.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::inputs;
use super::outcome::Failed;
use crate::api::{
    BuildFailureStatus, BuildHistory, BuildRecord, BuildResult, BuildStatus, ConditionType,
    Conditions, ImageBuildStatus,
};
use crate::build::BuildFailure;
use crate::reason::{Class, Reason};

/// The number that a failure has in the status when no build could be started.
const NO_BUILD: i64 = 0;
/// Most characters of a message in a condition.
const MAX_MESSAGE_CHARACTERS: usize = 1024;

/// What a new status is made from.
pub(super) struct StatusInput<'a> {
    /// The status as it is now.
    pub(super) previous: &'a ImageBuildStatus,
    /// `metadata.generation` of the spec that was acted upon.
    pub(super) generation: Option<i64>,
    /// The reconcile request that is hereby handled.
    pub(super) requested_at: Option<&'a str>,
    /// The clock.
    pub(super) now: Timestamp,
}

impl StatusInput<'_> {
    /// The status as it is, for the spec that was acted upon. What kept a build from being started is no longer so.
    fn observed(&self, conditions: Vec<Condition>) -> ImageBuildStatus {
        ImageBuildStatus {
            observed_generation: self.generation,
            conditions,
            last_handled_reconcile_at: self.requested_at.map(str::to_owned),
            last_failure: self.failure_of_build().cloned(),
            ..self.previous.clone()
        }
    }

    /// Why the last build failed, if one has.
    fn failure_of_build(&self) -> Option<&BuildFailureStatus> {
        let failure = self.previous.last_failure.as_ref();
        failure.filter(|failure| failure.number != NO_BUILD)
    }

    /// `status` with what was handled before: what was asked for meanwhile is still to be done.
    pub(super) fn nothing_handled(&self, status: ImageBuildStatus) -> ImageBuildStatus {
        ImageBuildStatus {
            observed_generation: self.previous.observed_generation,
            last_handled_reconcile_at: self.previous.last_handled_reconcile_at.clone(),
            ..status
        }
    }

    fn conditions(&self) -> Conditions<'_> {
        Conditions::new(&self.previous.conditions, self.generation, self.now)
    }

    /// A build is going on.
    pub(super) fn building(&self, message: &str) -> ImageBuildStatus {
        let message = bounded(message);
        let conditions = self
            .conditions()
            .set(
                ConditionType::Ready,
                "Unknown",
                Reason::Progressing,
                message.clone(),
            )
            .set(
                ConditionType::Reconciling,
                "True",
                Reason::Progressing,
                message,
            );
        self.observed(conditions.build())
    }

    /// The registry holds the image.
    pub(super) fn ready(&self) -> ImageBuildStatus {
        let image = self.previous.image.as_ref();
        let message = image.map_or_else(String::new, |image| {
            format!("{} is in the registry", image.reference)
        });
        let conditions = self.conditions().set(
            ConditionType::Ready,
            "True",
            Reason::Succeeded,
            bounded(&message),
        );
        self.observed(conditions.build())
    }

    /// There is no image for this spec. It is looked at or tried again by itself if `again`.
    pub(super) fn failed(&self, failure: &BuildFailure, again: bool) -> ImageBuildStatus {
        self.failed_for(failure.reason, &failure.message, again)
    }

    fn failed_for(&self, reason: Reason, message: &str, again: bool) -> ImageBuildStatus {
        let message = bounded(message);
        let conditions =
            self.conditions()
                .set(ConditionType::Ready, "False", reason, message.clone());
        let conditions = if again {
            conditions.set(
                ConditionType::Reconciling,
                "True",
                Reason::ProgressingWithRetry,
                message,
            )
        } else {
            conditions.set(ConditionType::Stalled, "True", reason, message)
        };
        self.observed(conditions.build())
    }

    /// No build can be started. Why an earlier one failed stays, with its log.
    pub(super) fn not_started(&self, failure: &BuildFailure, again: bool) -> ImageBuildStatus {
        let mut status = self.failed(failure, again);
        let shown = || Failed::new(failure.clone()).status(NO_BUILD, None);
        status.last_failure.get_or_insert_with(shown);
        status
    }

    /// The last build has failed, and nothing has changed.
    pub(super) fn failed_before(&self) -> ImageBuildStatus {
        let Some(shown) = self.failure_of_build() else {
            return self.previous.clone();
        };
        let reason = Reason::from_name(&shown.reason).unwrap_or(Reason::BuilderFailed);
        self.failed_for(reason, &shown.message, false)
    }
}

/// Whether a failure outside a build may pass by itself.
pub(super) fn may_pass(failure: &BuildFailure) -> bool {
    failure.reason.class() == Class::Transient
}

/// Everything is looked at again at `latest`, if not before. An attempt that could not begin waits as long.
pub(super) fn look_again(status: &mut ImageBuildStatus, latest: Timestamp) {
    let planned = status.next_check_time.as_ref().map(|time| time.0);
    let next = Time(planned.map_or(latest, |planned| planned.min(latest)));
    if let Some(build) = &mut status.build
        && build.completion_time.is_none()
    {
        build.retry_time = Some(next.clone());
    }
    status.next_check_time = Some(next);
}

/// The build that goes on has ended: it is written down, and nothing changes it any more.
pub(super) fn end_build(
    status: &mut ImageBuildStatus,
    result: BuildResult,
    failure: Option<BuildFailureStatus>,
    limits: &BuildHistory,
    now: Timestamp,
) {
    let Some(build) = &mut status.build else {
        return;
    };
    build.completion_time = Some(Time(now));
    build.retry_time = None;
    let digest = status.image.as_ref().map(|image| image.digest.clone());
    let source = status.source.as_ref().map(inputs::identity);
    let record = BuildRecord {
        number: build.number,
        result,
        trigger: build.trigger,
        digest: digest.filter(|_| result == BuildResult::Succeeded),
        source: source
            .filter(|source| !source.is_empty())
            .map(str::to_owned),
        reason: failure.as_ref().map(|failure| failure.reason.clone()),
        start_time: build.start_time.clone(),
        duration: took(build).map(|taken| format!("{taken:#}").replace(' ', "")),
    };
    status.last_failure = failure;
    status.history.insert(0, record);
    trim(&mut status.history, limits);
}

/// How long a build that has ended took, in whole seconds.
pub(super) fn took(build: &BuildStatus) -> Option<SignedDuration> {
    let start = build.start_time.as_ref()?.0;
    let end = build.completion_time.as_ref()?.0;
    Some(SignedDuration::from_secs(
        end.duration_since(start).as_secs(),
    ))
}

/// Leaves as many of each kind as are wanted, the newest.
fn trim(history: &mut Vec<BuildRecord>, limits: &BuildHistory) {
    let count = |limit: i32| usize::try_from(limit).unwrap_or_default();
    let (mut successful, mut failed) = (count(limits.successful), count(limits.failed));
    history.retain(|record| {
        let left = match record.result {
            BuildResult::Succeeded => &mut successful,
            BuildResult::Failed | BuildResult::Cancelled => &mut failed,
        };
        let keeps = *left > 0;
        *left = left.saturating_sub(1);
        keeps
    });
}

fn bounded(text: &str) -> String {
    text.chars().take(MAX_MESSAGE_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::find_condition;
    use crate::build::FailureClass;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn input(previous: &ImageBuildStatus) -> StatusInput<'_> {
        StatusInput {
            previous,
            generation: Some(2),
            requested_at: None,
            now: time(1000),
        }
    }

    fn condition(status: &ImageBuildStatus, type_: ConditionType) -> Option<(String, String)> {
        let condition = find_condition(&status.conditions, type_)?;
        Some((condition.status.clone(), condition.reason.clone()))
    }

    #[test]
    fn conditions_follow_kstatus() {
        let previous = ImageBuildStatus::default();
        let word = |text: &str| Some(text.to_owned());
        let shown = |status: ImageBuildStatus| {
            [
                ConditionType::Ready,
                ConditionType::Reconciling,
                ConditionType::Stalled,
            ]
            .map(|type_| condition(&status, type_).map(|(status, _)| status))
        };
        let failure = BuildFailure {
            class: FailureClass::Dockerfile,
            reason: Reason::RunCommandFailed,
            message: "because".to_owned(),
        };
        assert_eq!(
            shown(input(&previous).building("building")),
            [word("Unknown"), word("True"), None]
        );
        assert_eq!(shown(input(&previous).ready()), [word("True"), None, None]);
        assert_eq!(
            shown(input(&previous).failed(&failure, true)),
            [word("False"), word("True"), None]
        );
        assert_eq!(
            shown(input(&previous).failed(&failure, false)),
            [word("False"), None, word("True")]
        );
    }

    #[test]
    fn what_keeps_a_build_from_starting_is_shown_until_it_is_gone() {
        let failure = |reason| BuildFailure {
            class: FailureClass::Source,
            reason,
            message: "because".to_owned(),
        };
        let mut status = ImageBuildStatus::default();
        status = input(&status).not_started(&failure(Reason::RepositoryNotFound), false);
        status = input(&status).not_started(&failure(Reason::ReferenceNotFound), false);
        let shown = status.last_failure.clone().unwrap();
        let word = |text: &str| text.to_owned();
        assert_eq!(
            (shown.number, shown.class, shown.reason),
            (0, word("Source"), word("ReferenceNotFound"))
        );
        assert_eq!(input(&status).building("building").last_failure, None);
        assert_eq!(input(&status).ready().last_failure, None);
    }

    #[test]
    fn the_failure_of_a_build_outlasts_what_keeps_another_from_starting() {
        let failed = Failed {
            line: Some(3),
            ..Failed::new(BuildFailure {
                class: FailureClass::Dockerfile,
                reason: Reason::RunCommandFailed,
                message: "exit 42".to_owned(),
            })
        };
        let previous = ImageBuildStatus {
            last_failure: Some(failed.status(7, Some("log".to_owned()))),
            ..ImageBuildStatus::default()
        };
        let outage = BuildFailure {
            class: FailureClass::Source,
            reason: Reason::SourceUnreachable,
            message: "because".to_owned(),
        };
        let during = input(&previous).not_started(&outage, true);
        assert_eq!(during.last_failure, previous.last_failure);
        let reason = |status: &ImageBuildStatus, type_| condition(status, type_).unwrap().1;
        assert_eq!(reason(&during, ConditionType::Ready), "SourceUnreachable");

        let after = input(&during).failed_before();
        assert_eq!(after.last_failure, previous.last_failure);
        assert_eq!(reason(&after, ConditionType::Stalled), "RunCommandFailed");
        assert_eq!(condition(&after, ConditionType::Reconciling), None);
    }

    #[test]
    fn an_attempt_that_cannot_begin_is_not_due_at_once() {
        let waiting = BuildStatus {
            number: 7,
            retry_time: Some(Time(time(990))),
            ..BuildStatus::default()
        };
        let mut status = ImageBuildStatus {
            build: Some(waiting.clone()),
            next_check_time: Some(Time(time(5000))),
            ..ImageBuildStatus::default()
        };
        look_again(&mut status, time(1060));
        assert_eq!(status.next_check_time, Some(Time(time(1060))));
        assert_eq!(status.build.unwrap().retry_time, Some(Time(time(1060))));

        let mut ended = ImageBuildStatus {
            build: Some(BuildStatus {
                completion_time: Some(Time(time(995))),
                retry_time: None,
                ..waiting
            }),
            next_check_time: Some(Time(time(1010))),
            ..ImageBuildStatus::default()
        };
        look_again(&mut ended, time(1060));
        assert_eq!(ended.next_check_time, Some(Time(time(1010))));
        assert_eq!(ended.build.unwrap().retry_time, None);
    }

    #[test]
    fn the_history_keeps_the_newest_of_each_kind() {
        let mut status = ImageBuildStatus::default();
        let limits = BuildHistory {
            successful: 1,
            failed: 2,
        };
        for number in 1..=8 {
            status.build = Some(BuildStatus {
                number,
                start_time: Some(Time(time(1000))),
                ..BuildStatus::default()
            });
            let result = if number % 2 == 0 {
                BuildResult::Succeeded
            } else {
                BuildResult::Failed
            };
            end_build(&mut status, result, None, &limits, time(1182));
        }
        let numbers: Vec<_> = status.history.iter().map(|record| record.number).collect();
        assert_eq!(numbers, [8, 7, 5]);
        assert_eq!(status.history[0].duration.as_deref(), Some("3m2s"));
        assert!(status.build.unwrap().completion_time.is_some());
    }
}
