//! The operator: elects a leader, watches the custom resources and reconciles them.
//!
//! It talks to registries only for small things; layers are moved by workers in Jobs.

mod admin;
mod build;
mod cache;
mod creation_times;
mod error_pause;
mod events;
mod lease;
mod metrics;
mod mirror;
mod plans;
mod registries;
mod request;
mod resources;
mod silence;
mod spec;
mod standing;
mod status_pace;
mod stored;
mod turns;
mod unreadable;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::controller::{Action, Config as ControllerConfig, Controller};
use kube::runtime::reflector::Store;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Client, Config};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::admin::Readiness;
use self::build::{Builders, UserNamespaces};
use self::cache::KnownJobs;
use self::creation_times::KnownCreationTimes;
use self::error_pause::ErrorPauses;
use self::events::Events;
use self::lease::{Candidate, Timing};
use self::metrics::Metrics;
pub(crate) use self::mirror::Wanted;
use self::mirror::{Claims, WorkerPods};
use self::status_pace::StatusPace;
use self::stored::{StoredBuild, StoredMirror};
use self::turns::Turns;
use crate::api::BuilderType;
use crate::builder::SeccompFilter;
use crate::copy::ClientPool;

/// Reconciles that may have begun, those that wait for a registry among them: more than there are registries
/// that do not answer, where anything works at all.
const MAX_BEGUN: u16 = 1024;
/// Objects of one page of a list: a page is in memory as a whole, and a mirror has up to 256 KiB.
const PAGE_SIZE: u32 = 100;

/// Tells Argo CD that changes of a child are no reason to look at the whole application again.
const ARGOCD_IGNORE_UPDATES_ANNOTATION: &str = "argocd.argoproj.io/ignore-resource-updates";

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub metrics_address: SocketAddr,
    /// The image of the worker pods: the operator's own.
    pub worker_image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub worker_image_pull_policy: String,
    /// The Lease that the replicas compete for.
    pub lease_name: String,
    /// The namespace of the Lease.
    pub lease_namespace: String,
    /// The name of this replica, different from that of every other.
    pub identity: String,
    /// The namespaces to watch; all when empty.
    pub watch_namespaces: Vec<String>,
    /// Objects that are reconciled at once, not counting those that wait for a registry.
    pub concurrency: u16,
    /// The images of the builders, for builds that name none.
    pub builder_images: BTreeMap<BuilderType, String>,
    /// The image of what finds out what is in an image, for builds that want a bill of materials.
    pub scanner_image: Option<String>,
    /// The filter of system calls for builders that mount.
    pub builder_seccomp: SeccompFilter,
}

/// What every reconcile needs.
struct Context {
    client: Client,
    worker: WorkerPods,
    builders: Builders,
    user_namespaces: UserNamespaces,
    metrics: Arc<Metrics>,
    events: Events,
    error_pauses: ErrorPauses,
    known_jobs: KnownJobs,
    registries: Arc<ClientPool>,
    turns: Turns,
    status_pace: StatusPace,
    creation_times: Arc<KnownCreationTimes>,
    claims: Claims,
    /// Whether what all mirrors want is known.
    claims_known: watch::Sender<bool>,
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to the API server, or it refuses.
    #[error("cannot use the API server")]
    Client(#[source] kube::Error),
    /// Neither a service account nor a kubeconfig was found.
    #[error("cannot find out how to reach the API server")]
    Config(#[source] kube::config::InferConfigError),
    /// The metrics cannot be set up.
    #[error("cannot set up metrics")]
    Metrics(#[source] prometheus::Error),
    /// The address for probes and metrics cannot be used.
    #[error("cannot serve probes and metrics")]
    Admin(#[source] std::io::Error),
    /// Leadership ended; Kubernetes starts the process again as a standby.
    #[error("leadership lost: {0}")]
    LeadershipLost(String),
}

/// Runs the operator until `cancel` is triggered or leadership is lost.
pub async fn run(options: Options, cancel: CancellationToken) -> Result<(), Error> {
    let metrics = Arc::new(Metrics::new().map_err(Error::Metrics)?);
    let readiness = Readiness::default();
    let served = admin::serve(
        options.metrics_address,
        Arc::clone(&metrics),
        readiness.clone(),
    );
    tokio::select! {
        served = served => served.map_err(Error::Admin),
        operated = operate(&options, metrics, readiness, &cancel) => operated,
    }
}

async fn operate(
    options: &Options,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let client = client().await?;
    // The first answer of the API server: from now on this replica can lead or stand by.
    let version = client.apiserver_version().await.map_err(Error::Client)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        kubernetes = version.git_version,
        "started"
    );
    readiness.set_ready();
    let candidate = Candidate {
        api: Api::namespaced(client.clone(), &options.lease_namespace),
        lease_name: options.lease_name.clone(),
        identity: options.identity.clone(),
        timing: Timing::default(),
    };
    let context = Arc::new(Context {
        events: Events::new(client.clone(), options.identity.clone()),
        client,
        worker: WorkerPods {
            image: options.worker_image.clone(),
            pull_policy: options.worker_image_pull_policy.clone(),
            restart_rules: WorkerPods::has_restart_rules(&version),
        },
        builders: Builders {
            images: options.builder_images.clone(),
            scanner: options.scanner_image.clone(),
            seccomp: options.builder_seccomp.clone(),
        },
        user_namespaces: UserNamespaces::default(),
        metrics,
        error_pauses: ErrorPauses::default(),
        known_jobs: KnownJobs::default(),
        registries: Arc::new(ClientPool::new(registries::scan_patience())),
        turns: Turns::new(options.concurrency, cancel.clone()),
        status_pace: StatusPace::default(),
        creation_times: Arc::default(),
        claims: Claims::default(),
        claims_known: watch::Sender::new(false),
    });
    let led = candidate
        .run_while_leading(cancel, reconcile_all(options, &context, cancel))
        .await;
    context.metrics.leading(false);
    led.map(|_| ())
        .map_err(|lost| Error::LeadershipLost(lost.to_string()))
}

/// A client that does not repeat requests by itself: reconciles are repeated as a whole.
async fn client() -> Result<Client, Error> {
    let mut config = Config::infer().await.map_err(Error::Config)?;
    config.default_retry = false;
    Client::try_from(config).map_err(Error::Client)
}

/// Reconciles the mirrors of every watched namespace until `cancel` is triggered; reconciles that
/// have begun are finished.
async fn reconcile_all(options: &Options, context: &Arc<Context>, cancel: &CancellationToken) {
    context.metrics.leading(true);
    let namespaces: Vec<Option<&str>> = if options.watch_namespaces.is_empty() {
        vec![None]
    } else {
        options
            .watch_namespaces
            .iter()
            .map(|namespace| Some(namespace.as_str()))
            .collect()
    };
    let mut stores = Vec::new();
    let controllers = namespaces.iter().map(|namespace| {
        let controller = controller(context, *namespace);
        stores.push(controller.store());
        controller
            .graceful_shutdown_on(cancel.clone().cancelled_owned())
            .run(mirror::reconcile, pause_after_error, Arc::clone(context))
            .for_each(|result| {
                report(context, &result);
                std::future::ready(())
            })
    });
    let controllers: Vec<_> = controllers.collect();
    let knowing = know_claims(context, &stores);
    let mut build_stores = Vec::new();
    let builds = namespaces.iter().map(|namespace| {
        let controller = build_controller(context, *namespace);
        build_stores.push(controller.store());
        controller
            .graceful_shutdown_on(cancel.clone().cancelled_owned())
            .run(
                build::reconcile,
                pause_build_after_error,
                Arc::clone(context),
            )
            .for_each(|result| {
                report_build(context, &result);
                std::future::ready(())
            })
    });
    let builds: Vec<_> = builds.collect();
    futures::join!(
        unless_blind(cancel, &stores, futures::future::join_all(controllers)),
        unless_blind(cancel, &build_stores, futures::future::join_all(builds)),
        knowing
    );
}

/// Runs controllers to their end. One that has never seen its objects, as their definition is not installed, does
/// not end by itself when it is told to.
async fn unless_blind<K>(
    cancel: &CancellationToken,
    stores: &[Store<K>],
    controllers: impl Future<Output = Vec<()>>,
) where
    K: kube::runtime::reflector::Lookup<DynamicType = ()> + Clone + 'static,
{
    let blind = async {
        cancel.cancelled().await;
        let sees = |store: &Store<K>| store.wait_until_ready().now_or_never().is_some();
        if stores.iter().all(sees) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = controllers => {}
        () = blind => {}
    }
}

/// Waits until every mirror was seen once, before any is acted upon: one that is looked at first is not the
/// first that wants a tag.
async fn know_claims(context: &Context, stores: &[Store<StoredMirror>]) {
    for store in stores {
        // An error means that the controller has ended.
        if store.wait_until_ready().await.is_err() {
            return;
        }
    }
    context.claims_known.send_replace(true);
}

/// What watches the mirrors of one namespace, or of all, and their Jobs.
fn controller(context: &Arc<Context>, namespace: Option<&str>) -> Controller<StoredMirror> {
    let mirrors: Api<StoredMirror> = scoped(&context.client, namespace);
    let (kept, keep) = reflector::store();
    let noting = Arc::clone(context);
    let mirrors = watcher(mirrors, watcher::Config::default().page_size(PAGE_SIZE))
        .inspect_ok(move |event| note(&noting, event))
        .modify(cache::trim_mirror)
        .reflect(keep)
        .applied_objects();
    let jobs: Api<Job> = scoped(&context.client, namespace);
    let ours = watcher::Config::default()
        .page_size(PAGE_SIZE)
        .labels(mirror::MIRROR_UID_LABEL);
    let (knowing, scope) = (
        Arc::clone(context),
        namespace.unwrap_or_default().to_owned(),
    );
    let jobs = watcher(jobs, ours)
        .modify(cache::trim_job)
        .inspect_ok(move |event| knowing.known_jobs.observe(&scope, event))
        .touched_objects();
    Controller::for_stream(mirrors, kept)
        .owns_stream(jobs)
        .with_config(ControllerConfig::default().concurrency(MAX_BEGUN))
}

/// What watches the builds of one namespace, or of all, and their pods.
fn build_controller(context: &Arc<Context>, namespace: Option<&str>) -> Controller<StoredBuild> {
    let builds: Api<StoredBuild> = scoped(&context.client, namespace);
    let (kept, keep) = reflector::store();
    let noting = Arc::clone(context);
    let builds = watcher(builds, watcher::Config::default().page_size(PAGE_SIZE))
        .inspect_ok(move |event| note_build(&noting, event))
        .modify(cache::trim_build)
        .reflect(keep)
        .applied_objects();
    let pods: Api<Pod> = scoped(&context.client, namespace);
    let ours = watcher::Config::default()
        .page_size(PAGE_SIZE)
        .labels(crate::api::BUILD_UID_LABEL);
    let pods = watcher(pods, ours).touched_objects();
    Controller::for_stream(builds, kept)
        .owns_stream(pods)
        .with_config(ControllerConfig::default().concurrency(MAX_BEGUN))
}

/// Takes note of what mirrors want and how they stand, before most of it is left out of what is kept of them.
fn note(context: &Context, event: &watcher::Event<StoredMirror>) {
    match event {
        watcher::Event::Apply(mirror) | watcher::Event::InitApply(mirror) => {
            context.metrics.observe(&key(mirror), mirror);
            if let Some(mirror) = mirror.readable() {
                context.claims.enter(mirror);
            }
        }
        watcher::Event::Delete(mirror) => context.metrics.forget(&key(mirror)),
        watcher::Event::Init | watcher::Event::InitDone => {}
    }
}

/// Takes note of how builds stand, before most of it is left out of what is kept of them.
fn note_build(context: &Context, event: &watcher::Event<StoredBuild>) {
    let builds = &context.metrics.builds;
    match event {
        watcher::Event::Apply(build) | watcher::Event::InitApply(build) => {
            builds.observe(&key(build), build);
        }
        watcher::Event::Delete(build) => builds.forget(&key(build)),
        watcher::Event::Init | watcher::Event::InitDone => {}
    }
}

/// Logs what went wrong with a reconcile, and forgets objects that are gone.
fn report<T>(context: &Context, result: &Result<T, ControllerError>) {
    match result {
        Ok(_) => {}
        Err(kube::runtime::controller::Error::ObjectNotFound(object)) => {
            let key = key_of(object.namespace.as_deref(), &object.name);
            context.metrics.forget(&key);
            context.error_pauses.succeeded(&key);
            context.status_pace.forget(&key);
            let namespace = object.namespace.as_deref().unwrap_or_default();
            context.claims.forget(namespace, &object.name);
        }
        Err(error) => tracing::warn!(error = %with_causes(error), "reconcile failed"),
    }
}

/// Logs what went wrong with a reconcile, and forgets objects that are gone.
fn report_build<T>(context: &Context, result: &Result<T, BuildControllerError>) {
    match result {
        Ok(_) => {}
        Err(kube::runtime::controller::Error::ObjectNotFound(object)) => {
            let key = key_of(object.namespace.as_deref(), &object.name);
            context.metrics.builds.forget(&key);
            context.error_pauses.succeeded(&build::object_key(&key));
        }
        Err(error) => tracing::warn!(error = %with_causes(error), "reconcile failed"),
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

type BuildControllerError = kube::runtime::controller::Error<build::Error, watcher::Error>;
type ControllerError = kube::runtime::controller::Error<mirror::Error, watcher::Error>;

/// How an object is called in what is remembered about it.
fn key(object: &impl kube::ResourceExt) -> String {
    key_of(object.namespace().as_deref(), &object.name_any())
}

fn key_of(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{name}", namespace.unwrap_or_default())
}

/// `delay` after `now`, or the end of time.
fn later(now: Timestamp, delay: Duration) -> Timestamp {
    now.checked_add(delay).unwrap_or(Timestamp::MAX)
}

/// The API for one namespace, or for all.
fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is that of kube's error policy"
)]
fn pause_after_error(
    mirror: Arc<StoredMirror>,
    _error: &mirror::Error,
    context: Arc<Context>,
) -> Action {
    Action::requeue(context.error_pauses.failed(&key(mirror.as_ref())))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is that of kube's error policy"
)]
fn pause_build_after_error(
    object: Arc<StoredBuild>,
    _error: &build::Error,
    context: Arc<Context>,
) -> Action {
    let key = build::object_key(&key(object.as_ref()));
    Action::requeue(context.error_pauses.failed(&key))
}
