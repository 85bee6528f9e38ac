//! What becomes of a mirror that this version cannot read, because it was stored under another definition: it
//! stalls with the field named, and can be deleted. A run that it has is left to end by itself.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use kube::api::Api;
use kube::runtime::controller::Action;

use super::Error;
use super::cleanup::{has_finalizer, set_finalizer};
use super::spec_error::SpecError;
use super::status::{StatusInput, for_invalid_spec};
use super::step::Trigger;
use crate::controller::Context;
use crate::controller::events::{Notice, Severity};
use crate::controller::request::RequestError;
use crate::controller::stored::{StoredMirror, UnreadableMirror, write_status};
use crate::reason::Reason;

/// How long to wait before a status is written again that the API server has refused.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_hours(1);

/// Says in the status what cannot be read. One that is deleted is let go with what it wrote.
pub(super) async fn refuse(
    mirror: &UnreadableMirror,
    context: &Context,
    api: &Api<StoredMirror>,
) -> Result<Action, Error> {
    let metadata = &mirror.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    // What it wants is not known, so that it keeps nothing from others.
    context.claims.forget(namespace, name);
    if metadata.deletion_timestamp.is_some() {
        if has_finalizer(metadata) {
            let message = format!(
                "what this mirror wrote is left behind, as its spec cannot be read: {}",
                mirror.problem
            );
            let notice = Notice::new(Severity::Warning, Reason::PruneFailed, message);
            set_finalizer(api, metadata, false).await?;
            context.events.publish(&reference(mirror), &notice).await;
        }
        return Ok(Action::await_change());
    }
    let previous = mirror.status.clone().unwrap_or_default();
    let input = StatusInput {
        previous: &previous,
        generation: metadata.generation,
        requested_at: previous.last_handled_reconcile_at.as_deref(),
        trigger: Trigger::SpecChanged,
        // Nothing but a change of the object can help.
        interval: Duration::ZERO,
        jitter: 0.0,
        now: Timestamp::now(),
    };
    let status = for_invalid_spec(&input, &SpecError::Unreadable(mirror.problem.clone()));
    if mirror.status.as_ref() == Some(&status) {
        return Ok(Action::await_change());
    }
    match write_status(api, name, &status).await {
        Ok(()) => Ok(Action::await_change()),
        // With a value of another type it cannot evaluate its rules, and stores no status.
        Err(RequestError::Kubernetes(kube::Error::Api(_))) => {
            let problem = mirror.problem.clone();
            let notice = Notice::new(Severity::Warning, Reason::InvalidSpec, problem);
            context.events.publish(&reference(mirror), &notice).await;
            Ok(Action::requeue(PAUSE_AFTER_REFUSAL))
        }
        Err(error) => Err(error.into()),
    }
}

fn reference(mirror: &UnreadableMirror) -> ObjectReference {
    StoredMirror::Unreadable(Box::new(mirror.clone())).object_ref(&())
}
