//! What the watches show of a mirror, where that is enough to know what to do. It costs no request.
//!
//! What they show may be old. It is good for doing nothing, as what they do not show yet comes as an event, and for
//! looking at registries. Whoever starts a run asks the API server for others before.

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::job_state::JobsOfMirror;
use super::step::{Step, next_step};
use crate::api::ImageMirror;
use crate::controller::Context;
use crate::controller::stored::StoredMirror;

/// What to do when there is nothing to be done now.
pub(super) fn at_rest(cached: &StoredMirror, namespace: &str, context: &Context) -> Option<Action> {
    let cached = cached.readable()?;
    let uid = cached.metadata.uid.as_deref()?;
    let now = Timestamp::now();
    let jobs = JobsOfMirror::new(&context.known_jobs.of_mirror(namespace, uid)?, uid, now);
    match next_step(cached, jobs.newest.as_ref(), now) {
        Step::Rest => Some(Action::await_change()),
        Step::Wait(delay) => Some(Action::requeue(delay)),
        Step::Finalize | Step::Follow { .. } | Step::GiveUp { .. } | Step::Scan(_) => None,
    }
}

/// The runs of a mirror, if it has none: no Job is seen, and its status, which must be the newest, waits for none.
pub(super) fn jobs_of(mirror: &ImageMirror, context: &Context) -> Option<JobsOfMirror> {
    let status = mirror.status.as_ref();
    let waits = status
        .and_then(|status| status.run.as_ref())
        .is_some_and(|run| run.completion_time.is_none());
    let uid = mirror.metadata.uid.as_deref()?;
    let jobs = context.known_jobs.of_mirror(&mirror.namespace()?, uid)?;
    (jobs.is_empty() && !waits).then(JobsOfMirror::default)
}
