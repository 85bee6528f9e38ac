//! The runs of a mirror as Kubernetes objects: finds, starts, stops and reads them.
//!
//! Only objects whose controller is this very mirror, by UID, are ever touched.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, ContainerState, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::json;

use super::decide::{EndedRun, Planned, RunFailure};
use super::job::{CONTAINER, GENERATION_ANNOTATION, MIRROR_UID_LABEL, Run};
use super::status::WorkerState;
use super::step::RunObservation;
use crate::api::{FIELD_MANAGER, ImageMirror, is_controlled_by};
use crate::controller::request::{RequestError, request};
use crate::copy::{Failure, Plan, Report};
use crate::{packed, worker};

/// Access to the objects of runs in one namespace.
pub(super) struct Runs {
    jobs: Api<Job>,
    config_maps: Api<ConfigMap>,
    pods: Api<Pod>,
}

/// What a run that has ended left behind.
#[derive(Debug, Default)]
pub(super) struct RunResult {
    /// What the decision needs.
    pub(super) ended: EndedRun,
    /// The worker's report, as far as it arrived.
    pub(super) report: Report,
}

/// Why a run could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// An object with the name exists and belongs to somebody else.
    #[error("an object named {0} exists that does not belong to this mirror; remove it")]
    NameTaken(String),
    /// The API server failed or refused.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl Runs {
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            jobs: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
        }
    }

    /// The newest run of the mirror. Read from the API server, not from a cache: a decision made on
    /// an old view would start a second run.
    pub(super) async fn newest(
        &self,
        mirror: &ImageMirror,
    ) -> Result<Option<RunObservation>, RequestError> {
        let Some(uid) = mirror.metadata.uid.as_deref() else {
            return Ok(None);
        };
        let labelled = ListParams::default().labels(&format!("{MIRROR_UID_LABEL}={uid}"));
        let jobs = request(self.jobs.list(&labelled)).await?;
        Ok(jobs
            .items
            .iter()
            .filter(|job| is_controlled_by(*job, uid))
            .filter(|job| job.metadata.deletion_timestamp.is_none() || !has_ended(job))
            // Times have seconds; of two Jobs of one second, the one that goes on is the newer.
            .max_by_key(|job| {
                let created = job.metadata.creation_timestamp.as_ref();
                (created.map(|time| time.0), !has_ended(job))
            })
            .map(observation))
    }

    /// Starts a run. Starting the same one again changes nothing.
    pub(super) async fn start(&self, run: &Run, uid: &str) -> Result<(), StartError> {
        let name = run.name();
        let post = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match request(self.config_maps.create(&post, &run.config_map)).await {
            Err(error) if error.is_conflict() => {
                let existing = request(self.config_maps.get(&name)).await?;
                if existing.binary_data != run.config_map.binary_data {
                    return Err(StartError::NameTaken(name));
                }
            }
            result => {
                result?;
            }
        }
        let job = match request(self.jobs.create(&post, &run.job)).await {
            Err(error) if error.is_conflict() => request(self.jobs.get(&name)).await?,
            result => result?,
        };
        if !is_controlled_by(&job, uid) {
            return Err(StartError::NameTaken(name));
        }
        self.hand_over_plan(&name, &job).await?;
        Ok(())
    }

    /// Makes the Job the owner of the plan, so that both are collected together.
    async fn hand_over_plan(&self, name: &str, job: &Job) -> Result<(), RequestError> {
        let Some(owner) = job.controller_owner_ref(&()) else {
            return Ok(());
        };
        let patch = json!({"metadata": {"ownerReferences": [owner]}});
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        request(
            self.config_maps
                .patch(name, &parameters, &Patch::Merge(&patch)),
        )
        .await?;
        Ok(())
    }

    /// Stops a run: its pods are gone before the Job is.
    pub(super) async fn stop(&self, job: &str) -> Result<(), RequestError> {
        match request(self.jobs.delete(job, &DeleteParams::foreground())).await {
            Err(RequestError::Kubernetes(kube::Error::Api(status))) if status.code == 404 => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// What the pods of a run are doing.
    pub(super) async fn worker_state(&self, job: &str) -> Result<WorkerState, RequestError> {
        let pods = self.pods_of(job).await?;
        if pods.iter().any(is_running) {
            return Ok(WorkerState::Running);
        }
        Ok(pods
            .iter()
            .find_map(obstacle)
            .map_or(WorkerState::Starting, WorkerState::Blocked))
    }

    /// What a run that has ended left behind.
    pub(super) async fn result(&self, job: &str) -> Result<RunResult, RequestError> {
        let reports: Vec<Report> = self.pods_of(job).await?.iter().filter_map(report).collect();
        let job = request(self.jobs.get_opt(job)).await?;
        let mut result = RunResult::default();
        // Replaced pods may have reported too; the counts add up, the last verdict on a copy counts.
        for report in reports {
            result.report.bytes += report.bytes;
            result.report.blobs_copied += report.blobs_copied;
            result.report.blobs_mounted += report.blobs_mounted;
            result.report.blobs_skipped += report.blobs_skipped;
            result
                .ended
                .failures
                .extend(report.failures.into_iter().map(|failure| RunFailure {
                    source: failure.source,
                    destination: failure.destination,
                    failure: Failure {
                        reason: failure.reason,
                        message: failure.message,
                    },
                }));
        }
        result.ended.job_failure = job.as_ref().and_then(job_failure);
        result.ended.planned = match &job {
            Some(job) => self.planned(&job.name_any()).await?,
            None => None,
        };
        Ok(result)
    }

    /// What the plan of a run says that it copies; [`None`] when the plan is gone.
    async fn planned(&self, job: &str) -> Result<Option<Planned>, RequestError> {
        let config_map = request(self.config_maps.get_opt(job)).await?;
        let packed = config_map.and_then(|config_map| {
            let mut entries = config_map.binary_data?;
            entries.remove(worker::PLAN_FILE)
        });
        let plan = packed
            .and_then(|packed| packed::unpack::<Plan>(&packed.0, worker::MAX_PLAN_BYTES).ok());
        Ok(plan.map(|plan| {
            let copies = plan.images.iter().flat_map(|image| {
                let source = image.source.to_string();
                let destinations = image.destinations.iter();
                destinations
                    .map(move |destination| (source.clone(), destination.reference.to_string()))
            });
            copies.collect()
        }))
    }

    async fn pods_of(&self, job: &str) -> Result<Vec<Pod>, RequestError> {
        let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
        Ok(request(self.pods.list(&of_job)).await?.items)
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

/// Conditions that mean that the outcome is settled. `SuccessCriteriaMet` and `FailureTarget` come
/// before `Complete` and `Failed`, which wait for pods on nodes that may never answer again.
const ENDED: [&str; 4] = ["Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"];

fn has_ended(job: &Job) -> bool {
    job_conditions(job).any(|(type_, _)| ENDED.contains(&type_))
}

fn job_failure(job: &Job) -> Option<String> {
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

fn container_state(pod: &Pod) -> Option<&ContainerState> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses
        .iter()
        .find(|status| status.name == CONTAINER)?
        .state
        .as_ref()
}

fn report(pod: &Pod) -> Option<Report> {
    let message = container_state(pod)?
        .terminated
        .as_ref()?
        .message
        .as_ref()?;
    serde_json::from_str(message).ok()
}

fn is_running(pod: &Pod) -> bool {
    container_state(pod).is_some_and(|state| state.running.is_some())
}

fn obstacle(pod: &Pod) -> Option<String> {
    let waiting = container_state(pod).and_then(|state| state.waiting.as_ref());
    if let Some(waiting) = waiting {
        let reason = waiting
            .reason
            .as_deref()
            .filter(|reason| !matches!(*reason, "ContainerCreating" | "PodInitializing"))?;
        return Some(reason.to_owned());
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let unscheduled = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    unscheduled.message.clone()
}
