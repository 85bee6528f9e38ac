//! Whether waiting for a mirror is over. Pure.

use super::overview::{current_run, is_observed};
use crate::api::{
    ConditionType, ImageMirror, ImageMirrorStatus, find_condition, requested_reconcile,
};
use crate::reason::Reason;

/// What is known now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The result.
    Over(End),
    /// Not known yet; with what it hangs on.
    Waiting(String),
}

/// How waiting ended, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What was waited for is there.
    Done(String),
    /// Images cannot be copied.
    Failed(String),
    /// It will not come, and not because of images.
    Hopeless(String),
}

/// Whether a mirror is ready for its newest spec, or cannot become ready by itself.
pub(super) fn readiness(mirror: Option<&ImageMirror>) -> Verdict {
    let (status, standing) = match observed(mirror) {
        Ok(observed) => observed,
        Err(verdict) => return verdict,
    };
    match standing {
        Standing::Ready(message) => Verdict::Over(End::Done(message)),
        Standing::Stalled(message) => Verdict::Over(End::Failed(message)),
        Standing::Other(message) => Verdict::Waiting(progress(status, &message)),
    }
}

/// Whether the request `value` was handled, and what came of it. A run that tries again what failed
/// before is waited for, although the mirror has stalled until it ends.
pub(super) fn request(mirror: Option<&ImageMirror>, value: &str) -> Verdict {
    if let Some(verdict) = mirror.and_then(|mirror| unhandled(mirror, value)) {
        return verdict;
    }
    let (status, standing) = match observed(mirror) {
        Ok(observed) => observed,
        Err(verdict) => return verdict,
    };
    match standing {
        Standing::Ready(message) | Standing::Stalled(message) | Standing::Other(message)
            if !is_at_rest(status) =>
        {
            Verdict::Waiting(progress(status, &message))
        }
        Standing::Ready(message) => Verdict::Over(End::Done(message)),
        Standing::Stalled(message) | Standing::Other(message) => {
            Verdict::Over(End::Failed(message))
        }
    }
}

/// What the conditions of the newest spec say, with reason and message.
enum Standing {
    Ready(String),
    Stalled(String),
    Other(String),
}

/// The status, if it is about the newest spec; otherwise what follows from that.
fn observed(mirror: Option<&ImageMirror>) -> Result<(&ImageMirrorStatus, Standing), Verdict> {
    if let Some(end) = obstacle(mirror) {
        return Err(Verdict::Over(end));
    }
    let observed = mirror
        .filter(|mirror| is_observed(mirror))
        .and_then(|mirror| Some((mirror.metadata.generation, mirror.status.as_ref()?)));
    let Some((generation, status)) = observed else {
        let text = "the operator has not acted upon its newest spec yet";
        return Err(Verdict::Waiting(text.to_owned()));
    };
    let find = |type_| {
        find_condition(&status.conditions, type_)
            .filter(|condition| condition.observed_generation == generation)
    };
    let text = find(ConditionType::Ready).map_or_else(
        || "its status has no condition Ready".to_owned(),
        |ready| format!("{}: {}", ready.reason, ready.message),
    );
    let is_true = |type_| find(type_).is_some_and(|condition| condition.status == "True");
    let standing = if is_true(ConditionType::Stalled) {
        Standing::Stalled(text)
    } else if is_true(ConditionType::Ready) {
        Standing::Ready(text)
    } else {
        Standing::Other(text)
    };
    Ok((status, standing))
}

/// Why waiting is of no use, whatever the status says.
fn obstacle(mirror: Option<&ImageMirror>) -> Option<End> {
    let text = match mirror {
        None => "it is gone",
        Some(mirror) if mirror.metadata.deletion_timestamp.is_some() => "it is being deleted",
        Some(mirror) if mirror.spec.suspend => {
            "it is suspended, and nothing moves before it is resumed"
        }
        Some(_) => return None,
    };
    Some(End::Hopeless(text.to_owned()))
}

/// What follows when no scan has begun since the request was made. Somebody may have asked again
/// meanwhile.
fn unhandled(mirror: &ImageMirror, value: &str) -> Option<Verdict> {
    let requested = requested_reconcile(&mirror.metadata);
    let status = mirror.status.as_ref();
    let is_handled = status
        .and_then(|status| status.last_handled_reconcile_at.as_deref())
        .is_some_and(|handled| handled == value || Some(handled) == requested);
    if is_handled {
        return None;
    }
    if let Some(end) = obstacle(Some(mirror)) {
        return Some(Verdict::Over(end));
    }
    Some(if requested.is_none() {
        let text = "somebody took the request away before it was handled";
        Verdict::Over(End::Hopeless(text.to_owned()))
    } else {
        Verdict::Waiting("the operator has not handled the request yet".to_owned())
    })
}

/// Whether everything that follows from the last scan is done.
fn is_at_rest(status: &ImageMirrorStatus) -> bool {
    // A spec that means nothing is not scanned again.
    let is_invalid = find_condition(&status.conditions, ConditionType::Ready)
        .is_some_and(|ready| Reason::from_name(&ready.reason) == Some(Reason::InvalidSpec));
    status.next_scan_time.is_some() || is_invalid
}

fn progress(status: &ImageMirrorStatus, message: &str) -> String {
    match current_run(status) {
        Some(run) => format!("{message} (Job {})", run.job),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
