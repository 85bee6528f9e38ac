//! What the pods of a build say. Pure: objects in, observations out.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::pod::{
    BUILD, BUILD_ANNOTATION, FETCH, PLATFORMS_ANNOTATION, PUBLISH, SCAN, STARTED_FOR_ANNOTATION,
};
use crate::api::{
    BUILD_ATTEMPT_LABEL, BUILD_NUMBER_LABEL, BUILD_PLATFORM_ANNOTATION, BuildStatus, BuilderStatus,
    SourceStatus, has_ended, is_controlled_by, pod_phase,
};
use crate::build::{Fetched, Published, StageReport};
use crate::oci::Digest;

/// What the pods of an attempt remember of its start. The status says it too, unless nobody came to write it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct AttemptRecord {
    #[serde(flatten)]
    pub(super) build: BuildStatus,
    #[serde(default)]
    pub(super) source: Option<SourceStatus>,
    #[serde(default)]
    pub(super) builder: Option<BuilderStatus>,
}

/// One attempt, as its pods show it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AttemptObservation {
    /// What the status says, or is to say, of it.
    pub(super) build: BuildStatus,
    /// What it is made of.
    pub(super) source: Option<SourceStatus>,
    /// What builds.
    pub(super) builder: Option<BuilderStatus>,
    /// What it was started for.
    pub(super) started_for: String,
    /// How far it is.
    pub(super) progress: Progress,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// A platform has no pod: not all were made, or one is gone.
    Incomplete,
    /// Pods are at it.
    Running,
    /// Every pod has done its part, or one has failed.
    Ended,
}

impl AttemptObservation {
    /// By number and attempt.
    pub(super) const fn order(&self) -> (i64, i64) {
        (self.build.number, self.build.attempt)
    }
}

/// The attempts of a build. Only pods whose controller is the object with this UID count, which say what they are.
pub(super) fn attempts(pods: &[Pod], uid: &str) -> Vec<AttemptObservation> {
    let ours = pods.iter().filter(|pod| is_controlled_by(*pod, uid));
    let orders: BTreeSet<_> = ours.filter_map(order).collect();
    let observed = orders.into_iter().filter_map(|order| {
        let pods = of_attempt(pods, uid, order);
        let first = pods.first()?;
        let record: AttemptRecord =
            serde_json::from_str(first.annotations().get(BUILD_ANNOTATION)?).ok()?;
        Some(AttemptObservation {
            build: BuildStatus {
                pod: first.name_any(),
                ..record.build
            },
            source: record.source,
            builder: record.builder,
            started_for: first.annotations().get(STARTED_FOR_ANNOTATION)?.clone(),
            progress: progress(&pods),
        })
    });
    observed.collect()
}

/// The pods of one attempt, in the order of their platforms.
pub(super) fn of_attempt<'a>(pods: &'a [Pod], uid: &str, wanted: (i64, i64)) -> Vec<&'a Pod> {
    let mut found: Vec<_> = pods
        .iter()
        .filter(|pod| is_controlled_by(*pod, uid) && order(pod) == Some(wanted))
        .collect();
    found.sort_by_key(|pod| all_platforms(pod).position(|each| each == platform(pod)));
    found
}

/// The number and the attempt of a pod.
pub(super) fn order(pod: &Pod) -> Option<(i64, i64)> {
    let label = |name: &str| pod.labels().get(name)?.parse().ok();
    Some((label(BUILD_NUMBER_LABEL)?, label(BUILD_ATTEMPT_LABEL)?))
}

/// The platform that a pod builds for.
pub(super) fn platform(pod: &Pod) -> &str {
    pod.annotations()
        .get(BUILD_PLATFORM_ANNOTATION)
        .map_or("", String::as_str)
}

/// What is said of one of the pods of an attempt; with the platform when there are several.
pub(super) fn of_platform(pods: &[&Pod], pod: &Pod, message: String) -> String {
    match pods {
        [_] => message,
        _ => format!("{}: {message}", platform(pod)),
    }
}

/// The platforms of the build that a pod belongs to.
fn all_platforms(pod: &Pod) -> impl Iterator<Item = &str> {
    let platforms = pod.annotations().get(PLATFORMS_ANNOTATION);
    platforms.map_or("", String::as_str).split(',')
}

fn progress(pods: &[&Pod]) -> Progress {
    let wanted = pods.first().map_or(0, |pod| all_platforms(pod).count());
    if pods.iter().any(|pod| pod_phase(pod) == "Failed") {
        Progress::Ended
    } else if pods.len() < wanted {
        Progress::Incomplete
    } else if pods.iter().all(|pod| has_ended(pod)) {
        Progress::Ended
    } else {
        Progress::Running
    }
}

/// What the pods of an attempt are doing, in words.
pub(super) fn activity(pods: &[&Pod]) -> String {
    let of_pod = |pod: &Pod| match (running_stage(pod), obstacle(pod)) {
        (Some(stage), _) => stage.activity().to_owned(),
        (None, Some(obstacle)) => obstacle,
        (None, None) if has_ended(pod) => "done".to_owned(),
        (None, None) => "the pod is starting".to_owned(),
    };
    match pods {
        [pod] => of_pod(pod),
        pods => {
            let each = pods
                .iter()
                .map(|pod| format!("{} {}", platform(pod), of_pod(pod)));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// A stage of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The files are brought.
    Fetch,
    /// They are built.
    Build,
    /// What is in the image is found out.
    Scan,
    /// The image is pushed.
    Publish,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Fetch, Self::Build, Self::Scan, Self::Publish];

    /// The name of its container.
    pub(super) const fn container(self) -> &'static str {
        match self {
            Self::Fetch => FETCH,
            Self::Build => BUILD,
            Self::Scan => SCAN,
            Self::Publish => PUBLISH,
        }
    }

    /// What is going on, in words.
    const fn activity(self) -> &'static str {
        match self {
            Self::Fetch => "fetching the source",
            Self::Build => "building",
            Self::Scan => "finding out what is in the image",
            Self::Publish => "pushing the image",
        }
    }

    fn status(self, pod: &Pod) -> Option<&ContainerStatus> {
        let status = pod.status.as_ref()?;
        let statuses = [&status.init_container_statuses, &status.container_statuses];
        let mut statuses = statuses.into_iter().flatten().flatten();
        statuses.find(|status| status.name == self.container())
    }

    fn state(self, pod: &Pod) -> Option<&ContainerState> {
        self.status(pod)?.state.as_ref()
    }

    fn terminated(self, pod: &Pod) -> Option<&ContainerStateTerminated> {
        self.state(pod)?.terminated.as_ref()
    }
}

/// The stage that is going on.
fn running_stage(pod: &Pod) -> Option<Stage> {
    Stage::ALL.into_iter().find(|stage| {
        let state = stage.state(pod);
        state.is_some_and(|state| state.running.is_some())
    })
}

/// Whether a pod has something before it, and runs nothing.
pub(super) fn is_waiting(pod: &Pod) -> bool {
    !has_ended(pod) && running_stage(pod).is_none()
}

/// That a pod does not go on and why, in the words of the kubelet or the scheduler.
fn obstacle(pod: &Pod) -> Option<String> {
    let waiting = Stage::ALL.into_iter().find_map(|stage| {
        let waiting = stage.state(pod)?.waiting.as_ref()?;
        let reason = waiting
            .reason
            .as_deref()
            .filter(|reason| !matches!(*reason, "ContainerCreating" | "PodInitializing"))?;
        Some(match &waiting.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        })
    });
    let obstacle = waiting.or_else(|| {
        let conditions = pod.status.as_ref()?.conditions.as_ref()?;
        let unscheduled = conditions
            .iter()
            .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
        unscheduled.message.clone()
    })?;
    Some(format!("the pod does not go on: {obstacle}"))
}

/// What a pod waits for in which nothing runs, in words.
pub(super) fn waits_for(pod: &Pod) -> String {
    let next = Stage::ALL.into_iter().find_map(|stage| {
        let status = stage.status(pod)?;
        let waiting = status.state.as_ref()?.waiting.as_ref();
        waiting.map(|_| {
            format!(
                "container {} does not start from {}",
                stage.container(),
                status.image
            )
        })
    });
    obstacle(pod)
        .or(next)
        .unwrap_or_else(|| "the pod does not start".to_owned())
}

/// Whether the pod is on a node which has not made its sandbox.
pub(super) fn has_no_sandbox(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let is = |type_: &str, expected: &str| {
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == type_ && condition.status == expected)
    };
    is("PodScheduled", "True") && is("PodReadyToStartContainers", "False")
}

/// How a pod ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ending {
    /// The image was pushed, as far as the pod knows.
    Published(Published),
    /// A stage of ours says why it failed.
    StageFailed(Stage, crate::build::BuildFailure),
    /// A container ended with this exit code, for this reason.
    ContainerFailed {
        stage: Stage,
        exit_code: i32,
        container_reason: String,
        pod_reason: String,
        pod_message: String,
    },
    /// The pod was ended from outside, before a container had failed by itself.
    PodFailed { reason: String, message: String },
}

/// How a pod that has ended did.
pub(super) fn ending(pod: &Pod) -> Ending {
    let status = pod.status.clone().unwrap_or_default();
    let reason = status.reason.unwrap_or_default();
    let message = status.message.unwrap_or_default();
    let failed = Stage::ALL.into_iter().find_map(|stage| {
        let ended = stage.terminated(pod)?;
        (ended.exit_code != 0).then_some((stage, ended))
    });
    if let Some((stage, ended)) = failed {
        let failure = match stage {
            Stage::Fetch => failure_of::<Fetched>(ended),
            Stage::Publish => failure_of::<Published>(ended),
            Stage::Build | Stage::Scan => None,
        };
        if let Some(failure) = failure {
            return Ending::StageFailed(stage, failure);
        }
        return Ending::ContainerFailed {
            stage,
            exit_code: ended.exit_code,
            container_reason: ended.reason.clone().unwrap_or_default(),
            pod_reason: reason,
            pod_message: message,
        };
    }
    match Stage::Publish.terminated(pod).and_then(report::<Published>) {
        Some(StageReport::Succeeded(published)) => Ending::Published(published),
        Some(StageReport::Failed(failure)) => Ending::StageFailed(Stage::Publish, failure),
        None => Ending::PodFailed { reason, message },
    }
}

/// What there was to build, if that stage was reached.
pub(super) fn fetched(pod: &Pod) -> Option<Fetched> {
    match report::<Fetched>(Stage::Fetch.terminated(pod)?)? {
        StageReport::Succeeded(fetched) => Some(fetched),
        StageReport::Failed(_) => None,
    }
}

/// When the image was pushed.
pub(super) fn published_at(pod: &Pod) -> Option<Timestamp> {
    let finished = Stage::Publish.terminated(pod)?.finished_at.as_ref()?;
    Some(finished.0)
}

/// The digest of the image of the builder, if the node tells it. It may tell that of a configuration, which is in no
/// registry.
pub(super) fn builder_digest(pod: &Pod) -> Option<Digest> {
    let (_, digest) = Stage::Build.status(pod)?.image_id.rsplit_once('@')?;
    digest.parse().ok()
}

fn report<T: DeserializeOwned>(ended: &ContainerStateTerminated) -> Option<StageReport<T>> {
    serde_json::from_str(ended.message.as_deref()?).ok()
}

fn failure_of<T: DeserializeOwned>(
    ended: &ContainerStateTerminated,
) -> Option<crate::build::BuildFailure> {
    match report::<T>(ended)? {
        StageReport::Failed(failure) => Some(failure),
        StageReport::Succeeded(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn observed(record: &str) -> AttemptObservation {
        let pod = serde_json::from_value(json!({"metadata": {
            "name": "app-7",
            "labels": {BUILD_NUMBER_LABEL: "7", BUILD_ATTEMPT_LABEL: "2"},
            "annotations": {BUILD_ANNOTATION: record, STARTED_FOR_ANNOTATION: "spec"},
            "ownerReferences": [{
                "apiVersion": "transship.dev/v1alpha1", "kind": "ImageBuild", "name": "app", "uid": "1", "controller": true,
            }],
        }}));
        attempts(&[pod.unwrap()], "1").pop().unwrap()
    }

    #[test]
    fn a_pod_remembers_what_it_was_started_for() {
        let record = AttemptRecord {
            build: BuildStatus {
                number: 7,
                attempt: 2,
                ..BuildStatus::default()
            },
            source: Some(SourceStatus {
                commit: Some("c".to_owned()),
                ..SourceStatus::default()
            }),
            builder: None,
        };
        let observed = observed(&serde_json::to_string(&record).unwrap());
        assert_eq!(observed.order(), (7, 2));
        assert_eq!(observed.source, record.source);
    }

    /// Pods of a version that wrote down less.
    #[test]
    fn an_older_record_is_read() {
        let observed = observed(r#"{"number": 7, "attempt": 2, "pod": "", "inputsHash": "h"}"#);
        assert_eq!(observed.order(), (7, 2));
        assert_eq!(observed.source, None);
    }
}
