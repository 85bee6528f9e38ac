//! What the Jobs of a mirror say of its runs. Pure: objects in, observations out.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;

use super::job::{DEADLINE_ANNOTATION, GENERATION_ANNOTATION};
use super::step::RunObservation;
use crate::api::is_controlled_by;
use crate::controller::later;

/// How long the pods of a run that was given up are waited for: they have half of it to stop when they are told
/// to. After that their node does not answer.
const STOPPING: Duration = Duration::from_mins(1);
/// How much later than its deadline a worker has stopped for certain: its clock and ours may differ, and a
/// request that was on its way may arrive.
const CLOCK_MARGIN: Duration = Duration::from_mins(1);

/// The runs of a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct JobsOfMirror {
    /// The newest one.
    pub(super) newest: Option<RunObservation>,
    /// Those whose pods may be at work although nobody counts on them any more, and until when.
    pub(super) lingering: Vec<(String, Timestamp)>,
}

impl JobsOfMirror {
    /// Only Jobs whose controller is the mirror with this UID count.
    pub(super) fn new(jobs: &[Job], uid: &str, now: Timestamp) -> Self {
        let ours = || jobs.iter().filter(|job| is_controlled_by(*job, uid));
        let newest = ours()
            .filter(|job| !is_given_up(job, now))
            // Times have seconds; of two Jobs of one second, the one that goes on is the newer.
            .max_by_key(|job| {
                let created = job.metadata.creation_timestamp.as_ref();
                (created.map(|time| time.0), !has_ended(job))
            });
        let lingering = ours()
            .filter(|job| has_ended(job) || is_given_up(job, now))
            .filter(|job| may_have_pods(job))
            .map(|job| (job.name_any(), stopped_for_certain(job, now)))
            .filter(|(_, until)| *until > now);
        Self {
            newest: newest.map(observation),
            lingering: lingering.collect(),
        }
    }
}

fn observation(job: &Job) -> RunObservation {
    RunObservation {
        job: job.name_any(),
        generation: job
            .annotations()
            .get(GENERATION_ANNOTATION)
            .and_then(|generation| generation.parse().ok())
            .unwrap_or_default(),
        ended: has_ended(job),
    }
}

/// Whether it was deleted, and whoever could still be waited for has had the time.
fn is_given_up(job: &Job, now: Timestamp) -> bool {
    job.metadata
        .deletion_timestamp
        .as_ref()
        .is_some_and(|deleted| {
            has_ended(job)
                || Duration::try_from(now.duration_since(deleted.0))
                    .is_ok_and(|waited| waited > STOPPING)
        })
}

fn may_have_pods(job: &Job) -> bool {
    let status = job.status.as_ref();
    let count = |count: Option<i32>| count.unwrap_or_default();
    status.is_some_and(|status| count(status.active) + count(status.terminating) > 0)
}

/// When the pods of a run have stopped, whatever has become of them.
fn stopped_for_certain(job: &Job, now: Timestamp) -> Timestamp {
    let deadline = job
        .annotations()
        .get(DEADLINE_ANNOTATION)
        .and_then(|deadline| deadline.parse::<Timestamp>().ok())
        .unwrap_or(now);
    later(deadline, CLOCK_MARGIN)
}

/// Conditions that mean that the outcome is settled. `SuccessCriteriaMet` and `FailureTarget` come
/// before `Complete` and `Failed`, which wait for pods on nodes that may never answer again.
const ENDED: [&str; 4] = ["Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"];

fn has_ended(job: &Job) -> bool {
    job_conditions(job).any(|(type_, _)| ENDED.contains(&type_))
}

/// Why a Job failed, if it did.
pub(super) fn job_failure(job: &Job) -> Option<String> {
    job_conditions(job)
        .find(|(type_, _)| matches!(*type_, "Failed" | "FailureTarget"))
        .map(|(_, message)| format!("the worker Job failed: {message}"))
}

/// Type and message of the conditions that are true.
fn job_conditions(job: &Job) -> impl Iterator<Item = (&str, &str)> {
    job.status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .filter(|condition| condition.status == "True")
        .map(|condition| {
            (
                condition.type_.as_str(),
                condition.message.as_deref().unwrap_or_default(),
            )
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 10_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn job(name: &str, change: impl FnOnce(&mut Value)) -> Job {
        let mut job = json!({
            "metadata": {
                "name": name, "creationTimestamp": at(NOW - 500).to_string(),
                "annotations": {GENERATION_ANNOTATION: "3", DEADLINE_ANNOTATION: at(NOW + 100).to_string()},
                "ownerReferences": [{
                    "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror", "name": "m", "uid": "u",
                    "controller": true,
                }],
            },
            "status": {"active": 1},
        });
        change(&mut job);
        serde_json::from_value(job).unwrap()
    }

    fn condition(type_: &str) -> Value {
        json!([{"type": type_, "status": "True", "lastProbeTime": null, "lastTransitionTime": null}])
    }

    fn of(jobs: &[Job]) -> JobsOfMirror {
        JobsOfMirror::new(jobs, "u", at(NOW))
    }

    #[test]
    fn the_newest_is_the_one_that_was_created_last() {
        let old = job("old", |job| {
            job["status"]["conditions"] = condition("Complete");
        });
        let new = job("new", |job| {
            job["metadata"]["creationTimestamp"] = json!(at(NOW - 10).to_string());
        });
        let foreign = job("foreign", |job| {
            job["metadata"]["ownerReferences"][0]["uid"] = json!("another");
        });
        let newest = of(&[new, old, foreign]).newest.unwrap();
        assert_eq!((newest.job.as_str(), newest.ended), ("new", false));
        assert_eq!(newest.generation, 3);
    }

    #[test]
    fn one_that_is_being_stopped_is_waited_for_but_not_for_ever() {
        let deleted = |seconds: i64| {
            job("stopping", |job| {
                job["metadata"]["deletionTimestamp"] = json!(at(NOW - seconds).to_string());
                job["status"] = json!({"active": 0, "terminating": 1});
            })
        };
        let soon = of(&[deleted(30)]);
        assert!(soon.newest.is_some() && soon.lingering.is_empty());
        let late = of(&[deleted(90)]);
        assert_eq!(late.newest, None);
        assert_eq!(late.lingering, [("stopping".to_owned(), at(NOW + 160))]);
    }

    #[test]
    fn pods_of_a_run_whose_outcome_is_settled_may_be_at_work() {
        let ended = job("ended", |job| {
            job["status"] = json!({"active": 0, "terminating": 1, "conditions": condition("SuccessCriteriaMet")});
        });
        let jobs = of(&[ended]);
        assert!(jobs.newest.unwrap().ended);
        assert_eq!(jobs.lingering, [("ended".to_owned(), at(NOW + 160))]);
    }

    #[test]
    fn nobody_lingers_after_the_deadline_or_without_pods() {
        let late = job("late", |job| {
            job["metadata"]["annotations"][DEADLINE_ANNOTATION] = json!(at(NOW - 61).to_string());
            job["status"]["conditions"] = condition("FailureTarget");
        });
        let gone = job("gone", |job| {
            job["status"] = json!({"conditions": condition("Complete")});
        });
        assert_eq!(of(&[late, gone]).lingering, []);
    }
}
