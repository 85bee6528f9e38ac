//! What the pods of a run say of it. Pure: objects in, observations out.

use k8s_openapi::api::core::v1::{ContainerState, Pod};

use super::pod::CONTAINER;
use crate::copy::Report;

fn container_state(pod: &Pod) -> Option<&ContainerState> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses
        .iter()
        .find(|status| status.name == CONTAINER)?
        .state
        .as_ref()
}

/// The report of a worker that has ended.
pub(super) fn report(pod: &Pod) -> Option<Report> {
    let message = container_state(pod)?
        .terminated
        .as_ref()?
        .message
        .as_ref()?;
    serde_json::from_str(message).ok()
}

pub(super) fn is_running(pod: &Pod) -> bool {
    container_state(pod).is_some_and(|state| state.running.is_some())
}

/// What keeps a pod from running, in the words of the kubelet or the scheduler.
pub(super) fn obstacle(pod: &Pod) -> Option<String> {
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
