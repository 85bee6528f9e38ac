//! What containers may use, as Kubernetes is told of it. Pure.

use serde_json::{Value, json};

use crate::api::{ResourceQuantities, WorkerPod};

/// What somebody chose. It is taken as a whole: a part of it and a part of ours may contradict each other.
pub(super) fn chosen(pod: &WorkerPod) -> Option<Value> {
    let chosen = pod.resources.as_ref()?;
    let quantities = |quantities: &Option<ResourceQuantities>| {
        quantities.as_ref().map(|quantities| {
            json!({
                "cpu": quantities.cpu,
                "memory": quantities.memory,
                "ephemeral-storage": quantities.ephemeral_storage,
            })
        })
    };
    Some(without_nulls(json!({
        "requests": quantities(&chosen.requests),
        "limits": quantities(&chosen.limits),
    })))
}

/// What is not set is not sent.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        other => other,
    }
}
