//! What of the pods of workers can be chosen: a closed list, never a pod template.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::secret_reference::NAME;

/// Where and as whom the worker pods run.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerPod {
    /// The service account of the pods, for example `mirror`: its image pull secrets, and what admission grants
    /// to it. Its token is not mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME))]
    pub service_account_name: Option<String>,

    /// Labels that a node must have, for example `{"topology.kubernetes.io/zone": "a"}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "node_labels")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that the pods tolerate.
    // Atomic: two tolerations of one key may differ in effect or value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<WorkerToleration>,

    /// What a worker may use. Without it: 64 MiB of memory requested and 128 MiB allowed, 0.1 CPU requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<WorkerResources>,

    /// The name of a `PriorityClass`, for example `batch-low`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME))]
    pub priority_class_name: Option<String>,
}

/// A taint that is tolerated.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.key) || self.operator == 'Exists'").message("without a key the operator must be Exists"),
    validation = Rule::new("!has(self.value) || self.operator == 'Equal'").message("value needs operator Equal"),
    validation = Rule::new("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')").message("tolerationSeconds needs effect NoExecute")
)]
pub struct WorkerToleration {
    /// The key of the taint, for example `dedicated`; every key without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 316))]
    pub key: Option<String>,
    /// Whether the value matters.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// The value of the taint, for example `mirrors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// The effect of the taint; every effect without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// How long a worker stays on a node that gets the taint, in seconds, for example `300`; for ever without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub toleration_seconds: Option<i64>,
}

/// Whether the value of a taint matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum TolerationOperator {
    /// The taint has this value.
    #[default]
    Equal,
    /// Any value will do.
    Exists,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum TaintEffect {
    /// They are not placed on the node.
    NoSchedule,
    /// They are placed on other nodes where that is possible.
    PreferNoSchedule,
    /// They are removed from the node.
    NoExecute,
}

/// What a worker may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerResources {
    /// What its node must have free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceQuantities>,
    /// What it may not exceed. A worker that exceeds its memory is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceQuantities>,
}

/// Amounts of what a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceQuantities {
    /// Processor time, for example `500m` for half a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = QUANTITY))]
    pub cpu: Option<String>,
    /// Memory, for example `256Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = QUANTITY))]
    pub memory: Option<String>,
    /// Disk of the node, for example `1Gi`. Layers that are recompressed lie there until they are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = QUANTITY))]
    pub ephemeral_storage: Option<String>,
}

/// A positive Kubernetes quantity.
const QUANTITY: &str = r"^([0-9]+|[0-9]+\.[0-9]+)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$";

/// Keys and values of labels. The API server checks their form when it makes the pod.
fn node_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}
