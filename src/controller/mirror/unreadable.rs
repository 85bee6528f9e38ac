//! What becomes of a mirror that this version cannot read, because it was stored under another definition: it
//! stalls with the field named, and can be deleted. A run that it has is left to end by itself.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::Error;
use super::cleanup::{has_finalizer, set_finalizer};
use super::status::{StatusInput, for_invalid_spec};
use super::step::Trigger;
use super::wanted::SpecError;
use crate::api::{FIELD_MANAGER, ImageMirrorStatus};
use crate::controller::Context;
use crate::controller::events::{Notice, Severity};
use crate::controller::request::{RequestError, request};
use crate::controller::stored::{StoredMirror, UnreadableMirror};
use crate::reason::Reason;

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
    match write(api, name, &previous, &status).await {
        Ok(()) => {}
        // The API server may check the whole object, and refuse to store it with any status.
        Err(error) if error.refusal().is_some() => {
            let notice = Notice::new(
                Severity::Warning,
                Reason::InvalidSpec,
                mirror.problem.clone(),
            );
            context.events.publish(&reference(mirror), &notice).await;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Action::await_change())
}

fn reference(mirror: &UnreadableMirror) -> ObjectReference {
    StoredMirror::Unreadable(Box::new(mirror.clone())).object_ref(&())
}

/// Not by server-side apply, for which the API server would have to understand the spec.
async fn write(
    api: &Api<StoredMirror>,
    name: &str,
    previous: &ImageMirrorStatus,
    status: &ImageMirrorStatus,
) -> Result<(), RequestError> {
    let patch = json!({"status": replacement(&json!(previous), json!(status))});
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    request(api.patch_status(name, &parameters, &Patch::Merge(&patch))).await?;
    Ok(())
}

/// A merge patch that leaves nothing of what was there before.
fn replacement(previous: &Value, mut next: Value) -> Value {
    if let (Some(previous), Some(next)) = (previous.as_object(), next.as_object_mut()) {
        for name in previous.keys() {
            next.entry(name).or_insert(Value::Null);
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_status_before_is_left() {
        let previous = json!({"run": {"job": "a"}, "present": 7});
        let next = replacement(&previous, json!({"present": 0, "conditions": []}));
        assert_eq!(next, json!({"run": null, "present": 0, "conditions": []}));
    }
}
