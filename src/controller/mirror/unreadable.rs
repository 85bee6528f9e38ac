//! What becomes of a mirror that this version cannot read, because it was stored under another definition: it
//! stalls with the field named, and can be deleted. A run that it has is left to end by itself.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::Api;
use kube::runtime::controller::Action;

use super::Error;
use super::cleanup::{has_finalizer, set_finalizer};
use super::spec_error::SpecError;
use super::status::{StatusInput, for_invalid_spec};
use super::step::Trigger;
use crate::api::ImageMirror;
use crate::controller::Context;
use crate::controller::events::{Notice, Severity};
use crate::controller::stored::{StoredMirror, UnreadableMirror};
use crate::controller::unreadable;
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
            let reference = unreadable::reference::<ImageMirror>(mirror);
            context.events.publish(&reference, &notice).await;
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
    Ok(unreadable::tell(mirror, &status, api, &context.events).await?)
}
