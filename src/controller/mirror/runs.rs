//! The runs of a mirror as Kubernetes objects: finds, starts, stops and reads them.
//!
//! Only objects whose controller is this very mirror, by UID, are ever touched.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams};
use kube::{Client, ResourceExt as _};

use super::decide::{CopyName, EndedRun};
use super::fence::{Fence, Fences};
use super::job::{MIRROR_UID_LABEL, Run};
use super::job_state::{JobsOfMirror, job_failure};
use super::pod::CONTAINER;
use super::pod_state::{is_running, obstacle, report};
use super::run_record;
use super::status::WorkerState;
use crate::api::{FIELD_MANAGER, ImageMirror, RunStatus, is_controlled_by};
use crate::controller::plans::{self, StartError};
use crate::controller::request::{RequestError, request};
use crate::copy::{Copied, Effect, Failure, Plan, Progress, Record, Report, ReportedFailure};
use crate::{packed, worker};

/// Lines at the end of a worker's log in which the last word on its progress is looked for, and most bytes of
/// them.
const PROGRESS_LINES: i64 = 20;
const PROGRESS_BYTES: i64 = 64 * 1024;
/// Lines of a log that may come behind those about images.
const LAST_LINES: i64 = 20;
/// Most bytes of the part of a log that says what became of each image.
const OUTCOME_BYTES: i64 = 16 * 1024 * 1024;

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
    /// The counts of the workers' reports taken together, as far as they arrived.
    pub(super) counts: Progress,
    /// Copies that they reported as failed.
    pub(super) failed: usize,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunState {
    /// What its pods are doing.
    pub(super) workers: WorkerState,
    /// What they have done so far, as far as they say.
    pub(super) progress: Option<Progress>,
}

impl Runs {
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            jobs: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
        }
    }

    /// The runs of the mirror. Read from the API server, not from a cache: a decision made on an old view
    /// would start a second run.
    pub(super) async fn of_mirror(
        &self,
        mirror: &ImageMirror,
        now: Timestamp,
    ) -> Result<JobsOfMirror, RequestError> {
        let Some(uid) = mirror.metadata.uid.as_deref() else {
            return Ok(JobsOfMirror::default());
        };
        let labelled = ListParams::default().labels(&format!("{MIRROR_UID_LABEL}={uid}"));
        let jobs = request(self.jobs.list(&labelled)).await?;
        Ok(JobsOfMirror::new(&jobs.items, uid, now))
    }

    /// What workers may still write that nobody can be sure to have stopped.
    pub(super) async fn fences(&self, jobs: &JobsOfMirror) -> Result<Fences, RequestError> {
        let mut fences = Fences::default();
        for (job, until) in &jobs.lingering {
            let Some(plan) = self.plan(job).await? else {
                continue;
            };
            let options = &plan.options;
            for image in &plan.images {
                for destination in &image.destinations {
                    fences.add(
                        destination.reference.to_string(),
                        Fence {
                            source: image.digest.clone(),
                            options: options.clone(),
                            until: *until,
                        },
                    );
                }
            }
        }
        Ok(fences)
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
                let is_same = existing.immutable == Some(true)
                    && existing.binary_data == run.config_map.binary_data;
                if !is_same || !self.is_of_mirror(&existing, uid).await? {
                    return Err(name_taken(name));
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
            return Err(name_taken(name));
        }
        Ok(plans::hand_over(&self.config_maps, &job).await?)
    }

    /// Whether a plan is of this mirror: until its Job has taken it over, the mirror controls it.
    async fn is_of_mirror(&self, plan: &ConfigMap, uid: &str) -> Result<bool, RequestError> {
        if is_controlled_by(plan, uid) {
            return Ok(true);
        }
        let job = request(self.jobs.get_opt(&plan.name_any())).await?;
        Ok(job.is_some_and(|job| {
            let job_uid = job.metadata.uid.as_deref().unwrap_or_default();
            is_controlled_by(&job, uid) && is_controlled_by(plan, job_uid)
        }))
    }

    /// Finishes what was begun when the operator ended between starting a run and saying so. [`None`] if the run is
    /// gone.
    pub(super) async fn adopt(
        &self,
        job: &str,
        mirror_uid: &str,
    ) -> Result<Option<RunStatus>, RequestError> {
        let Some(job) = request(self.jobs.get_opt(job)).await? else {
            return Ok(None);
        };
        let name = job.name_any();
        let plan = match request(self.config_maps.get_opt(&name)).await? {
            Some(plan) if self.is_of_mirror(&plan, mirror_uid).await? => {
                plans::hand_over(&self.config_maps, &job).await?;
                plan_in(plan)
            }
            Some(_) | None => None,
        };
        Ok(Some(run_record::found(&job, plan.as_ref())))
    }

    /// Stops a run: its pods are gone before the Job is.
    pub(super) async fn stop(&self, job: &str) -> Result<(), RequestError> {
        match request(self.jobs.delete(job, &DeleteParams::foreground())).await {
            Err(error) if error.is_missing() => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// What the pods of a run are doing.
    pub(super) async fn state(&self, job: &str) -> Result<RunState, RequestError> {
        let pods = self.pods_of(job).await?;
        let running: Vec<&Pod> = pods.iter().filter(|pod| is_running(pod)).collect();
        if running.is_empty() {
            let obstacle = pods.iter().find_map(obstacle);
            return Ok(RunState {
                workers: obstacle.map_or(WorkerState::Starting, WorkerState::Blocked),
                progress: None,
            });
        }
        // Those that are done have reported; the sum never falls when one ends before the others.
        let ended = pods.iter().filter_map(report);
        let mut total = ended.fold(Progress::default(), |total, report| total + done(&report));
        let logs = running
            .into_iter()
            .map(|pod| self.log(pod, PROGRESS_LINES, PROGRESS_BYTES));
        let mut told = false;
        for log in futures::future::join_all(logs).await {
            let last = log
                .lines()
                .rev()
                .find_map(|line| match Record::parse(line) {
                    Some(Record::Progress(progress)) => Some(progress),
                    _ => None,
                });
            told |= last.is_some();
            total = total + last.unwrap_or_default();
        }
        Ok(RunState {
            workers: WorkerState::Running,
            progress: told.then_some(total),
        })
    }

    /// What a run that has ended left behind. With `outcomes` what it says of each image that it has put in
    /// place, too.
    pub(super) async fn result(
        &self,
        job: &str,
        outcomes: bool,
    ) -> Result<RunResult, RequestError> {
        let mut pods = self.pods_of(job).await?;
        // Replaced pods may have reported too; the counts add up, the last verdict on a copy counts.
        pods.sort_by_key(|pod| std::cmp::Reverse(pod.creation_timestamp().map(|time| time.0)));
        let mut result = RunResult::default();
        let mut omitted = 0;
        for report in pods.iter().filter_map(report) {
            result.counts = result.counts + done(&report);
            omitted += usize::try_from(report.failures_omitted).unwrap_or(usize::MAX);
            result.ended.add_failures(report.failures);
        }
        result.failed = result.ended.failures.len().saturating_add(omitted);
        let job = request(self.jobs.get_opt(job)).await?;
        result.ended.job_failure = job.as_ref().and_then(job_failure);
        let plan = match &job {
            Some(job) => self.plan(&job.name_any()).await?,
            None => None,
        };
        result.ended.planned = plan.as_ref().map(|plan| copies(plan).collect());
        let planned = result.ended.planned.as_ref();
        if outcomes || omitted > 0 {
            let copies = planned.map_or(0, std::collections::BTreeSet::len);
            let lines = i64::try_from(copies).unwrap_or(i64::MAX);
            for pod in &pods {
                let lines = lines.saturating_add(LAST_LINES);
                let log = self.log(pod, lines, OUTCOME_BYTES).await;
                result
                    .ended
                    .add_records(log.lines().filter_map(Record::parse));
            }
        }
        Ok(result)
    }

    /// The end of a worker's log. One that cannot be read says nothing: its pod may be gone, or its node.
    async fn log(&self, pod: &Pod, tail_lines: i64, limit_bytes: i64) -> String {
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            tail_lines: Some(tail_lines),
            limit_bytes: Some(limit_bytes),
            ..LogParams::default()
        };
        let name = pod.name_any();
        request(self.pods.logs(&name, &parameters))
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(pod = name, %error, "cannot read the log of a worker");
                String::new()
            })
    }

    /// The plan of a run; [`None`] when it is gone.
    async fn plan(&self, job: &str) -> Result<Option<Plan>, RequestError> {
        let config_map = request(self.config_maps.get_opt(job)).await?;
        Ok(config_map.and_then(plan_in))
    }

    async fn pods_of(&self, job: &str) -> Result<Vec<Pod>, RequestError> {
        let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
        Ok(request(self.pods.list(&of_job)).await?.items)
    }
}

const fn name_taken(name: String) -> StartError {
    StartError::NameTaken {
        name,
        owner: "mirror",
    }
}

/// The plan that an object holds; [`None`] if it is none.
fn plan_in(config_map: ConfigMap) -> Option<Plan> {
    let packed = config_map.binary_data?.remove(worker::PLAN_FILE)?;
    packed::unpack(&packed.0, worker::MAX_PLAN_BYTES).ok()
}

/// Everything that a plan copies.
fn copies(plan: &Plan) -> impl Iterator<Item = CopyName> + '_ {
    plan.images.iter().flat_map(|image| {
        let source = image.source.to_string();
        let destinations = image.destinations.iter();
        destinations.map(move |destination| (source.clone(), destination.reference.to_string()))
    })
}

/// What a worker has done that has ended.
fn done(report: &Report) -> Progress {
    Progress {
        bytes: report.bytes,
        blobs_copied: report.blobs_copied,
        blobs_mounted: report.blobs_mounted,
        blobs_skipped: report.blobs_skipped,
        images_written: report.images_copied,
    }
}

impl EndedRun {
    /// Adds what a worker reported. What is known already is as new or newer.
    fn add_failures(&mut self, reported: Vec<ReportedFailure>) {
        for reported in reported {
            let failure = Failure {
                reason: reported.reason,
                message: reported.message,
            };
            let name = (reported.source, reported.destination);
            self.failures.entry(name).or_insert(failure);
        }
    }

    /// Adds what a log says of images. What is known already is as new or newer.
    fn add_records(&mut self, records: impl Iterator<Item = Record>) {
        for record in records {
            match record {
                Record::Copied {
                    source,
                    destination,
                    source_digest,
                    digest,
                } => {
                    let copied = Copied {
                        source: source_digest,
                        digest,
                        effect: Effect::Written,
                    };
                    self.copied.entry((source, destination)).or_insert(copied);
                }
                Record::Failed {
                    source,
                    destination,
                    failure,
                } => {
                    let name = (source, destination);
                    self.failures.entry(name).or_insert(failure);
                }
                Record::Progress(_) => {}
            }
        }
    }
}
