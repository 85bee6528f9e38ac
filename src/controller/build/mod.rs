//! The reconciler of `ImageBuild`: observe, decide, apply, write the status once.
//!
//! | file | what it is | I/O |
//! |---|---|---|
//! | `step.rs` | what to do first | none |
//! | `wanted.rs`, `spec_error.rs` | the spec as checked values, or why it is none | none |
//! | `source.rs` | what the source is now | Git servers, registries, API server |
//! | `inputs.rs` | what an image is made from, as a hash | none |
//! | `decide.rs` | whether there is something to build | none |
//! | `tags.rs` | the tags of an image | none |
//! | `pod.rs` | the objects of an attempt | none |
//! | `isolation.rs` | how builders are kept apart from nodes | none |
//! | `attempts.rs` | finds, starts, stops and reads attempts | API server |
//! | `observation.rs` | what pods say | none |
//! | `outcome.rs` | why a build failed | none |
//! | `unstarted.rs` | ends what never starts | API server |
//! | `registry.rs` | what registries hold | registries |
//! | `provenance.rs` | what is said of how an image was built | none |
//! | `attestation.rs` | attaches that to the image | registries, API server |
//! | `secrets.rs` | Secrets that have to be there, and must not be shown | API server |
//! | `status.rs` | conditions, history | none |
//! | `standing.rs` | what of an object metrics count | none |
//! | `surroundings.rs` | what is asked of all of these | the above |
//! | `start.rs`, `collect.rs` | begin an attempt, and end it | all of the above |

mod attempts;
mod attestation;
mod collect;
mod decide;
mod inputs;
mod isolation;
mod observation;
mod outcome;
mod pod;
mod provenance;
mod registry;
mod secrets;
mod source;
mod spec_error;
mod standing;
mod start;
mod status;
mod step;
mod surroundings;
mod tags;
mod unstarted;
mod wanted;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt as _};

pub(crate) use self::isolation::{Builders, UserNamespaces};
pub(super) use self::standing::BuildStanding;

use self::attempts::Attempts;
use self::decide::{Decision, Situation};
use self::spec_error::SpecError;
use self::status::StatusInput;
use self::step::{Cause, Step, next_step, requested_at};
use self::tags::{TagContext, tags};
use self::wanted::Wanted;
use super::events::{Notice, Severity};
use super::metrics::Kind;
use super::registries::Registries;
use super::request::{RequestError, request};
use super::stored::{StoredBuild, Unreadable, write_status};
use super::{Context, key, later, unreadable};
use crate::api::{BuildTrigger, ImageBuild, ImageBuildStatus, SourceStatus};
use crate::build::{BuildFailure, FailureClass};
use crate::oci::{Digest, Tag};
use crate::packed::PackError;
use crate::reason::Reason;

/// How often a build is looked at when no event of its pod comes.
const FOLLOW_PERIOD: Duration = Duration::from_secs(15);
/// How long after a failure outside a build everything is looked at again, where no trigger says so.
const FAILURE_PERIOD: Duration = Duration::from_mins(1);
/// How long a status waits that has just been written by ourselves.
const NEXT_STEP: Duration = Duration::from_secs(1);

/// Why a reconcile could not be finished; it is tried again with growing pauses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The objects of an attempt could not be made.
    #[error("cannot build the objects of a build")]
    Build(#[from] PackError),
    /// A provenance could not be written as JSON.
    #[error("cannot write the provenance of an image")]
    Provenance(#[source] serde_json::Error),
}

/// One build with what is needed to act for it.
struct Reconciler<'a> {
    context: &'a Context,
    object: ImageBuild,
    uid: String,
    api: Api<StoredBuild>,
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    attempts: Attempts,
    /// What of the spec makes a difference to the image.
    spec_inputs: Digest,
    /// What an attempt of now is started for.
    started_for: Digest,
    now: Timestamp,
}

/// Brings one build a step closer to what its spec asks for.
pub(super) async fn reconcile(
    cached: Arc<StoredBuild>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let timer = context.metrics.reconcile(Kind::ImageBuild);
    let result = Box::pin(reconcile_newest(&cached, &context)).await;
    timer.finish(result.is_ok());
    if result.is_ok() {
        context
            .error_pauses
            .succeeded(&object_key(&key(cached.as_ref())));
    }
    result
}

/// How a build is called in what is remembered about objects; a mirror may have the same name.
pub(super) fn object_key(key: &str) -> String {
    format!("ImageBuild {key}")
}

async fn reconcile_newest(cached: &StoredBuild, context: &Context) -> Result<Action, Error> {
    let Some(namespace) = cached.namespace() else {
        return Ok(Action::await_change());
    };
    let turn = context.turns.take().await;
    let api: Api<StoredBuild> = Api::namespaced(context.client.clone(), &namespace);
    // The cache may not have our own last status yet; a decision on an old one would repeat work.
    let Some(stored) = request(api.get_opt(&cached.name_any())).await? else {
        return Ok(Action::await_change());
    };
    let object = match stored {
        StoredBuild::Readable(object) => *object,
        StoredBuild::Unreadable(object) => {
            return refuse_unreadable(&object, context, &api).await;
        }
    };
    let client = &context.client;
    let spec_inputs = inputs::of_spec(&object.spec);
    let reconciler = Reconciler {
        context,
        uid: object.uid().unwrap_or_default(),
        started_for: inputs::started_for(&spec_inputs, &object.spec.source),
        spec_inputs,
        object,
        secrets: Api::namespaced(client.clone(), &namespace),
        config_maps: Api::namespaced(client.clone(), &namespace),
        attempts: Attempts::new(client, &namespace),
        api,
        now: Timestamp::now(),
    };
    // Registries and Git servers may take their time.
    let Some((_turn, action)) = turn.wait_for(Box::pin(reconciler.run())).await else {
        return Ok(Action::await_change());
    };
    action
}

/// Says what cannot be read of the spec. A build that goes on is left to end by itself.
async fn refuse_unreadable(
    object: &Unreadable<ImageBuildStatus>,
    context: &Context,
    api: &Api<StoredBuild>,
) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let previous = object.status.clone().unwrap_or_default();
    let input = StatusInput {
        previous: &previous,
        generation: object.metadata.generation,
        requested_at: previous.last_handled_reconcile_at.as_deref(),
        now: Timestamp::now(),
    };
    let failure = invalid_spec(object.problem.clone());
    let status = input.not_started(&failure, false);
    Ok(unreadable::tell(object, &status, api, &context.events).await?)
}

fn invalid_spec(message: String) -> BuildFailure {
    BuildFailure {
        class: FailureClass::Source,
        reason: Reason::InvalidSpec,
        message,
    }
}

impl Reconciler<'_> {
    async fn run(&self) -> Result<Action, Error> {
        let pods = self.attempts.of_object(&self.uid).await?;
        let observed = observation::attempts(&pods, &self.uid);
        let build = self
            .object
            .status
            .as_ref()
            .and_then(|status| status.build.as_ref());
        let order = build.map_or((0, 0), |build| (build.number, build.attempt));
        let current = observation::of_attempt(&pods, &self.uid, order);
        match next_step(&self.object, &observed, self.started_for.as_str(), self.now) {
            Step::Rest => Ok(Action::await_change()),
            Step::Wait(delay) => Ok(Action::requeue(delay)),
            Step::Adopt(attempt) => {
                let pods = observation::of_attempt(&pods, &self.uid, attempt.order());
                self.attempts.adopt(&pods, &self.uid).await?;
                let previous = self.previous();
                let status = ImageBuildStatus {
                    build: Some(attempt.build),
                    source: attempt.source.or(previous.source),
                    builder: attempt.builder.or(previous.builder),
                    ..previous
                };
                self.write(&status).await?;
                Ok(Action::requeue(NEXT_STEP))
            }
            Step::Discard(order) => {
                let pods = observation::of_attempt(&pods, &self.uid, order);
                self.attempts.remove_all(&pods, &self.uid).await?;
                Ok(Action::requeue(NEXT_STEP))
            }
            Step::Follow => self.follow(&current).await,
            Step::Collect => Box::pin(self.collect(&current)).await,
            Step::Lose => self.lose(&current).await,
            Step::Cancel { asked } => self.cancel(&current, asked).await,
            Step::Retry => Box::pin(self.retry()).await,
            Step::Check(cause) => Box::pin(self.check(cause)).await,
        }
    }

    /// Says how far a build is.
    async fn follow(&self, pods: &[&Pod]) -> Result<Action, Error> {
        if let Some(action) = self.leave_user_namespace(pods).await? {
            return Ok(action);
        }
        if let Some(action) = self.give_up(pods).await? {
            return Ok(action);
        }
        let previous = self.previous();
        let number = previous.build.as_ref().map_or(0, |build| build.number);
        let doing = observation::activity(pods);
        let input = self.input(&previous);
        let status = input.building(&format!("build {number}: {doing}"));
        self.write(&input.nothing_handled(status)).await?;
        let left = unstarted::time_left(pods, self.now);
        Ok(Action::requeue(
            left.map_or(FOLLOW_PERIOD, |left| left.min(FOLLOW_PERIOD)),
        ))
    }

    /// Sees whether there is something to build.
    async fn check(&self, cause: Cause) -> Result<Action, Error> {
        let previous = self.previous();
        let wanted = match Wanted::new(&self.object.spec) {
            Ok(wanted) => wanted,
            Err(error) => return self.refuse(&previous, &error).await,
        };
        let registries = self.registries(&wanted).await?;
        let source = match self.source(&wanted, &registries).await? {
            Ok(source) => source,
            Err(failure) => return self.not_possible(&previous, &wanted, cause, &failure).await,
        };
        let base_images = self.base_images(&wanted, &registries, &previous).await?;
        let hash = inputs::of(&self.spec_inputs, &source.status, &base_images);
        let image_there = match self.image_there(&previous, &wanted, &registries).await {
            Ok(there) => there,
            Err(failure) => return self.not_possible(&previous, &wanted, cause, &failure).await,
        };
        let decision = decide::decide(&Situation {
            status: &previous,
            cause,
            source: &source.status,
            inputs_hash: hash.as_str(),
            base_replaced: base_images != previous.base_images,
            image_there,
        });
        match decision {
            Decision::Build(trigger) => {
                self.begin(&previous, &wanted, &source, hash.as_str(), trigger, cause)
                    .await
            }
            Decision::UpToDate => self.up_to_date(&wanted, &registries, cause).await,
            Decision::FailedBefore => {
                let mut status = self.input(&previous).failed_before();
                self.plan_next(&mut status, &wanted, cause);
                self.write(&status).await?;
                Ok(self.until_next(&status))
            }
        }
    }

    /// The image is there. Only its tags may have to be moved.
    async fn up_to_date(
        &self,
        wanted: &Wanted,
        registries: &Registries,
        cause: Cause,
    ) -> Result<Action, Error> {
        let mut previous = self.previous();
        let source = previous.source.clone().unwrap_or_default();
        let number = previous.build.as_ref().map_or(0, |build| build.number);
        let tags = match self.tags(&source, number) {
            Ok(tags) => tags,
            Err(error) => return self.refuse(&previous, &error).await,
        };
        if let Some(image) = &mut previous.image {
            let Ok(digest) = image.digest.parse::<Digest>() else {
                return Ok(Action::await_change());
            };
            let moved = registry::move_tags(registries, wanted, &digest, &tags).await;
            if let Err(failure) = moved {
                return self.not_possible(&previous, wanted, cause, &failure).await;
            }
            image.tags = tags.iter().map(ToString::to_string).collect();
        }
        let mut status = self.input(&previous).ready();
        self.plan_next(&mut status, wanted, cause);
        self.write(&status).await?;
        Ok(self.until_next(&status))
    }

    /// The spec cannot be acted upon.
    async fn refuse(
        &self,
        previous: &ImageBuildStatus,
        error: &SpecError,
    ) -> Result<Action, Error> {
        let failure = invalid_spec(error.to_string());
        let mut status = self.input(previous).not_started(&failure, false);
        status.next_check_time = None;
        status.next_schedule_time = None;
        self.write(&status).await?;
        Ok(Action::await_change())
    }

    /// Nothing can be built now. What keeps it from that may be mended outside the object, so it is looked at again.
    async fn not_possible(
        &self,
        previous: &ImageBuildStatus,
        wanted: &Wanted,
        cause: Cause,
        failure: &BuildFailure,
    ) -> Result<Action, Error> {
        let mut status = self
            .input(previous)
            .not_started(failure, status::may_pass(failure));
        self.plan_next(&mut status, wanted, cause);
        status::look_again(&mut status, self.later(FAILURE_PERIOD));
        if previous.conditions != status.conditions {
            self.tell(Severity::Warning, failure.reason, failure.message.clone())
                .await;
        }
        self.write(&status).await?;
        Ok(self.until_next(&status))
    }

    /// When triggers are looked at next.
    fn plan_next(&self, status: &mut ImageBuildStatus, wanted: &Wanted, cause: Cause) {
        let interval = wanted.check_interval();
        status.next_check_time = interval.map(|interval| Time(self.later(interval)));
        let next = wanted.next_scheduled(self.now).map(Time);
        // What stands for later stays, so that a change of the spec does not skip a time.
        let planned = status.next_schedule_time.take();
        status.next_schedule_time = match planned {
            Some(planned) if cause != Cause::SpecChanged && planned.0 > self.now => Some(planned),
            _ => next,
        };
    }

    fn until_next(&self, status: &ImageBuildStatus) -> Action {
        let times = [&status.next_check_time, &status.next_schedule_time];
        let next = times.into_iter().flatten().map(|time| time.0).min();
        next.map_or_else(Action::await_change, |next| {
            let wait = Duration::try_from(next.duration_since(self.now)).unwrap_or_default();
            Action::requeue(wait)
        })
    }

    /// The tags of the image of a build.
    fn tags(&self, source: &SourceStatus, number: i64) -> Result<BTreeSet<Tag>, SpecError> {
        let context = TagContext { source, number };
        tags(&self.object.spec.output.tags, &context)
    }

    /// `delay` from now.
    fn later(&self, delay: Duration) -> Timestamp {
        later(self.now, delay)
    }

    fn input<'b>(&'b self, previous: &'b ImageBuildStatus) -> StatusInput<'b> {
        StatusInput {
            previous,
            generation: self.object.metadata.generation,
            requested_at: requested_at(&self.object),
            now: self.now,
        }
    }

    fn previous(&self) -> ImageBuildStatus {
        self.object.status.clone().unwrap_or_default()
    }

    /// Writes the status if it says something new.
    async fn write(&self, status: &ImageBuildStatus) -> Result<(), RequestError> {
        if self.object.status.as_ref() == Some(status) {
            return Ok(());
        }
        write_status(&self.api, &self.object.name_any(), status).await
    }

    async fn tell(&self, severity: Severity, reason: Reason, message: String) {
        let notice = Notice::new(severity, reason, message);
        let reference = self.object.object_ref(&());
        self.context.events.publish(&reference, &notice).await;
    }
}

/// Why a build was started, in words.
const fn because(trigger: BuildTrigger) -> &'static str {
    match trigger {
        BuildTrigger::Spec => "the object is new or was changed",
        BuildTrigger::GitCommit => "there is another commit",
        BuildTrigger::BaseImage => "a base image was replaced",
        BuildTrigger::Source => "the source was changed",
        BuildTrigger::Schedule => "it stands in the schedule",
        BuildTrigger::Request => "somebody asked for it",
        BuildTrigger::ImageLost => "the registry does not have the image any more",
    }
}
