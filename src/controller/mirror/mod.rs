//! The reconciler of `ImageMirror`: observe, decide, apply, write the status once.
//!
//! | file | what it is | I/O |
//! |---|---|---|
//! | `watched.rs` | what the watches show already | none |
//! | `step.rs` | what to do first | none |
//! | `wanted.rs` | the spec as checked values | none |
//! | `spec_error.rs` | why a spec cannot be acted upon | none |
//! | `form.rs` | in which form images are wanted | none |
//! | `claims.rs` | which mirror keeps a tag that several want | none |
//! | `scan.rs` | asks registries for digests | registries |
//! | `decide.rs` | what is copied | none |
//! | `verdict.rs` | how one image stands at one destination | none |
//! | `status.rs` | counts, conditions, when to look again | none |
//! | `notices.rs` | events | none |
//! | `pages.rs` | keeps lists that the status has no room for | API server |
//! | `ledger.rs`, `prune.rs` | what the mirror wrote, and what of it is removed | none |
//! | `cleanup.rs`, `removal.rs` | remove it | registries, API server |
//! | `job.rs`, `pod.rs` | the objects of a run | none |
//! | `job_state.rs`, `pod_state.rs` | what those objects say | none |
//! | `fence.rs` | which tags a worker may still write that does not answer | none |
//! | `run_record.rs` | what the status says of runs | none |
//! | `unreadable.rs` | what becomes of a mirror that this version cannot read | API server |
//! | `runs.rs` | finds, starts, stops and reads runs | API server |

mod claims;
mod cleanup;
mod decide;
mod fence;
mod form;
mod in_place;
mod job;
mod job_state;
mod ledger;
mod notices;
mod pages;
mod pod;
mod pod_state;
mod prune;
mod removal;
mod run_record;
mod runs;
mod scan;
mod spec_error;
mod status;
mod step;
mod unreadable;
mod verdict;
mod wanted;
mod watched;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::Action;

pub(crate) use self::claims::Claims;
pub(super) use self::in_place::{InPlace, in_place};
pub(crate) use self::job::MIRROR_UID_LABEL;
pub(crate) use self::pod::WorkerPods;

use self::decide::{Decision, Situation};
use self::job::{Run, RunInput};
use self::job_state::JobsOfMirror;
use self::pages::{Pages, PagesError};
use self::runs::{RunResult, Runs};
use self::spec_error::SpecError;
use self::status::StatusInput;
use self::step::{Step, Trigger, next_step, requested_at};
pub(crate) use self::wanted::Wanted;
use super::metrics::Kind;
use super::plans::StartError;
use super::registries::Registries;
use super::request::{RequestError, request};
use super::stored::{StoredMirror, write_status};
use super::turns::Turn;
use super::{Context, key};
use crate::api::{ImageMirror, ImageMirrorStatus, ImageStatus, RunStatus};
use crate::copy::AccessReference;
use crate::oci::Digest;
use crate::packed::PackError;

/// How long to wait for the pods of a run that was given up.
const GIVE_UP_PAUSE: Duration = Duration::from_secs(2);
/// How often a run is looked at when no event of its Job comes.
const FOLLOW_PERIOD: Duration = Duration::from_secs(15);

/// Why a reconcile could not be finished; it is tried again with growing pauses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The objects of a run could not be made.
    #[error("cannot build the objects of a run")]
    Build(#[from] PackError),
}

impl From<PagesError> for Error {
    fn from(error: PagesError) -> Self {
        match error {
            PagesError::Request(error) => error.into(),
            PagesError::Pack(error) => error.into(),
        }
    }
}

/// One mirror with what is needed to act for it.
struct Reconciler<'a> {
    context: &'a Context,
    mirror: ImageMirror,
    namespace: String,
    api: Api<StoredMirror>,
    runs: Runs,
    pages: Pages,
    now: Timestamp,
}

/// Brings one mirror a step closer to what its spec asks for.
pub(crate) async fn reconcile(
    mirror: Arc<StoredMirror>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    // An error means that the process ends.
    let mut known = context.claims_known.subscribe();
    let _ = known.wait_for(|known| *known).await;
    let timer = context.metrics.reconcile(Kind::ImageMirror);
    let result = reconcile_newest(&mirror, &context).await;
    timer.finish(result.is_ok());
    if result.is_ok() {
        context.error_pauses.succeeded(&key(mirror.as_ref()));
    }
    result
}

async fn reconcile_newest(cached: &StoredMirror, context: &Context) -> Result<Action, Error> {
    let Some(namespace) = cached.namespace() else {
        return Ok(Action::await_change());
    };
    if let Some(action) = watched::at_rest(cached, &namespace, context) {
        return Ok(action);
    }
    let turn = context.turns.take().await;
    let api: Api<StoredMirror> = Api::namespaced(context.client.clone(), &namespace);
    // The cache may not have our own last status yet; a decision on an old one would repeat work.
    let Some(stored) = request(api.get_opt(&cached.name_any())).await? else {
        return Ok(Action::await_change());
    };
    let mirror = match stored {
        StoredMirror::Readable(mirror) => *mirror,
        StoredMirror::Unreadable(mirror) => {
            return unreadable::refuse(&mirror, context, &api).await;
        }
    };
    let runs = Runs::new(&context.client, &namespace);
    let pages = Pages::new(&context.client, &namespace);
    let reconciler = Reconciler {
        context,
        mirror,
        namespace,
        api,
        runs,
        pages,
        now: Timestamp::now(),
    };
    reconciler.run(turn).await
}

impl Reconciler<'_> {
    async fn run(mut self, turn: Turn<'_>) -> Result<Action, Error> {
        let jobs = match watched::jobs_of(&self.mirror, self.context) {
            Some(jobs) => jobs,
            None => self.runs.of_mirror(&self.mirror, self.now).await?,
        };
        let step = next_step(&self.mirror, jobs.newest.as_ref(), self.now);
        if let Some(job) = step.run(jobs.newest.as_ref())
            && run_record::is_unknown(job, &self.previous())
        {
            self.adopt(job).await?;
        }
        match step {
            Step::Rest => Ok(Action::await_change()),
            Step::Finalize => {
                // Registries may take their time.
                drop(turn);
                Box::pin(self.finalize()).await
            }
            Step::Wait(delay) => Ok(Action::requeue(delay)),
            Step::GiveUp { job } => {
                tracing::info!(
                    job,
                    "the spec has changed: stopping the run for the old one"
                );
                self.runs.stop(&job).await?;
                Ok(Action::requeue(GIVE_UP_PAUSE))
            }
            Step::Follow { job } => self.follow(&job).await,
            // The largest of the steps would make the others as large.
            Step::Scan(trigger) => Box::pin(self.scan(turn, trigger, &jobs)).await,
        }
    }

    /// Enters a run into the status that an operator before this one has started without saying so.
    async fn adopt(&mut self, job: &str) -> Result<(), Error> {
        let uid = self.mirror.uid().unwrap_or_default();
        if let Some(run) = self.runs.adopt(job, &uid).await? {
            let status = run_record::adopted(&self.previous(), run, self.now);
            self.write(&status).await?;
            self.mirror.status = Some(status);
        }
        Ok(())
    }

    /// Says how far a run is. What only counts on is not said more often than anybody would look.
    async fn follow(&self, job: &str) -> Result<Action, Error> {
        let state = self.runs.state(job).await?;
        let previous = self.previous();
        let status = status::while_following(&previous, &state);
        let key = key(&self.mirror);
        let is_progress_only = status.conditions == previous.conditions;
        if is_progress_only && let Some(wait) = self.context.status_pace.wait(&key) {
            return Ok(Action::requeue(wait));
        }
        self.write(&status).await?;
        Ok(Action::requeue(FOLLOW_PERIOD))
    }

    async fn scan(
        &self,
        turn: Turn<'_>,
        trigger: Trigger,
        jobs: &JobsOfMirror,
    ) -> Result<Action, Error> {
        let previous = self.previous();
        let wanted = match Wanted::new(&self.mirror.spec) {
            Ok(wanted) => wanted,
            Err(error) => {
                return self
                    .refuse(&previous, trigger, Duration::ZERO, &error)
                    .await;
            }
        };
        let converts = wanted.form.text.is_some();
        let result = match (trigger, &jobs.newest) {
            (Trigger::RunEnded, Some(run)) => Some(self.runs.result(&run.job, converts).await?),
            _ => None,
        };
        self.context.claims.enter(&self.mirror);
        self.keep_finalizer().await?;
        let registries = self
            .registries(&wanted.accesses().collect())
            .await?
            .with_verification(&self.secrets(), &wanted.form.options.verify)
            .await?;
        let Some((_turn, scan)) = turn.wait_for(registries.scan(&wanted)).await else {
            return Ok(Action::await_change());
        };
        let scan = match scan {
            Ok(scan) => scan,
            // The next tag that is pushed or deleted may make it possible again.
            Err(error) => {
                return self
                    .refuse(&previous, trigger, wanted.interval, &error)
                    .await;
            }
        };
        let reports = &previous.image_reports;
        let remembered = self.pages.read_named(&self.mirror, reports).await?;
        let fences = self.runs.fences(jobs).await?;
        let mut decision = decide::decide(&Situation {
            trigger,
            scan: &scan,
            ended_run: result.as_ref().map(|result| &result.ended),
            previous: remembered.as_deref().unwrap_or(&previous.images),
            drift: self.mirror.spec.drift,
            form: &wanted.form,
            shards: wanted.shards,
            owners: &self
                .context
                .claims
                .owners(&self.mirror, scan.destinations()),
            fences: &fences,
        });
        let ended_run = result.as_ref().map(|result| &result.ended);
        if decision.plan.is_some() && self.runs.of_mirror(&self.mirror, self.now).await? != *jobs {
            // There is a run that was not there, or not to be seen, when this began.
            return Ok(Action::requeue(GIVE_UP_PAUSE));
        }
        let pruned = self
            .prune(&wanted.prune, &scan, &decision, ended_run)
            .await?;
        let started = self.start(&mut decision, &wanted).await?;
        let ended = run_record::ended(
            &previous,
            trigger,
            jobs.newest.as_ref(),
            result.as_ref(),
            &decision.images,
            self.now,
        );
        let input = self.status_input(&previous, trigger, wanted.interval);
        let mut status = status::after_scan(&input, &decision);
        status.prune = pruned.status;
        status.next_scan_time = earlier(status.next_scan_time, pruned.next);
        status.history = run_record::history(&previous, ended.as_ref());
        status.run = started.or(ended).or_else(|| previous.run.clone());
        if status.images.len() < decision.images.len() {
            status.image_reports = self.remember(&decision, remembered.as_deref()).await?;
        }
        self.write(&status).await?;
        self.tell(&previous, &status, &decision, result.as_ref())
            .await;
        self.publish(&pruned.notices).await;
        Ok(self.until_next_scan(&status))
    }

    /// Keeps all images, and says where.
    async fn remember(
        &self,
        decision: &Decision,
        remembered: Option<&[ImageStatus]>,
    ) -> Result<Vec<String>, Error> {
        if remembered == Some(&decision.images[..]) {
            return Ok(self.previous().image_reports);
        }
        let written = self.pages.write(&self.mirror, &decision.images).await;
        Ok(written?)
    }

    /// Says that the spec cannot be acted upon. Without an interval nothing but a change of it can help.
    async fn refuse(
        &self,
        previous: &ImageMirrorStatus,
        trigger: Trigger,
        interval: Duration,
        error: &SpecError,
    ) -> Result<Action, Error> {
        let input = self.status_input(previous, trigger, interval);
        let status = status::for_invalid_spec(&input, error);
        self.write(&status).await?;
        Ok(match status.next_scan_time {
            None => Action::await_change(),
            Some(_) => self.until_next_scan(&status),
        })
    }

    fn until_next_scan(&self, status: &ImageMirrorStatus) -> Action {
        let wait = status
            .next_scan_time
            .as_ref()
            .and_then(|next| Duration::try_from(next.0.duration_since(self.now)).ok());
        Action::requeue(wait.unwrap_or(FOLLOW_PERIOD))
    }

    /// Starts the run that the decision wants. A run that the API server refuses turns into a
    /// failure of its images, so that the user sees why nothing moves.
    async fn start(
        &self,
        decision: &mut Decision,
        wanted: &Wanted,
    ) -> Result<Option<RunStatus>, Error> {
        let Some(plan) = &decision.plan else {
            return Ok(None);
        };
        let input = RunInput {
            mirror: &self.mirror,
            plan,
            timeout: wanted.timeout,
            worker: &self.context.worker,
            now: self.now,
        };
        let (Some(run), Some(uid)) = (Run::new(&input)?, self.mirror.uid()) else {
            return Ok(None);
        };
        match self.runs.start(&run, &uid).await {
            Ok(()) => Ok(Some(run_record::started(&run.name(), plan, self.now))),
            Err(error @ StartError::NameTaken { .. }) => {
                decision.fail_run(&error.to_string());
                Ok(None)
            }
            Err(StartError::Request(error)) => {
                let Some(refusal) = error.refusal() else {
                    return Err(error.into());
                };
                decision.fail_run(&format!("the API server refused the worker Job: {refusal}"));
                Ok(None)
            }
        }
    }

    fn status_input<'a>(
        &'a self,
        previous: &'a ImageMirrorStatus,
        trigger: Trigger,
        interval: Duration,
    ) -> StatusInput<'a> {
        StatusInput {
            previous,
            generation: self.mirror.metadata.generation,
            requested_at: requested_at(&self.mirror),
            trigger,
            interval,
            jitter: self.jitter(),
            now: self.now,
        }
    }

    /// A number in 0..1 from the identity of the mirror and the time: different for each mirror and
    /// each scan, without a random number generator.
    fn jitter(&self) -> f64 {
        let seed = format!(
            "{}{}",
            self.mirror.uid().unwrap_or_default(),
            self.now.as_second()
        );
        let digest = Digest::sha256(seed.as_bytes());
        let byte = digest.as_str().get("sha256:".len().."sha256:".len() + 2);
        byte.and_then(|byte| u8::from_str_radix(byte, 16).ok())
            .map_or(0.5, |byte| f64::from(byte) / 255.0)
    }

    /// The registries that are reached with the rights that are named.
    async fn registries(
        &self,
        accesses: &BTreeSet<AccessReference>,
    ) -> Result<Registries, RequestError> {
        let pool = Arc::clone(&self.context.registries);
        let creation_times = Arc::clone(&self.context.creation_times);
        Registries::open(&self.secrets(), accesses, pool, creation_times).await
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.context.client.clone(), &self.namespace)
    }

    fn previous(&self) -> ImageMirrorStatus {
        self.mirror.status.clone().unwrap_or_default()
    }

    /// Writes the status if it says something new.
    async fn write(&self, status: &ImageMirrorStatus) -> Result<(), RequestError> {
        if self.mirror.status.as_ref() == Some(status) {
            return Ok(());
        }
        write_status(&self.api, &self.mirror.name_any(), status).await?;
        self.context.status_pace.written(&key(&self.mirror));
        Ok(())
    }

    /// Events, log lines and metrics about what has changed.
    async fn tell(
        &self,
        previous: &ImageMirrorStatus,
        status: &ImageMirrorStatus,
        decision: &Decision,
        result: Option<&RunResult>,
    ) {
        if let Some(result) = result {
            let failed = result.ended.job_failure.is_some() || !result.ended.failures.is_empty();
            self.context
                .metrics
                .run_finished(!failed, result.counts.bytes);
        }
        self.publish(&notices::notices(previous, status, decision))
            .await;
    }
}

/// The earlier of two times, while there is one to wait for at all.
fn earlier(planned: Option<Time>, other: Option<Timestamp>) -> Option<Time> {
    match (planned, other) {
        (Some(planned), Some(other)) => Some(Time(planned.0.min(other))),
        (planned, _) => planned,
    }
}
