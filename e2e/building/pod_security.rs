//! Which level of Pod Security a pod needs, by what the API server says to it.

use serde_json::{Value, json};

use crate::harness::{Cluster, Namespace, run_with_input};

/// The levels that refuse anything, the strictest first.
const LEVELS: [&str; 2] = ["restricted", "baseline"];

/// A namespace for each level.
pub(super) struct PodSecurity([Namespace; 2]);

impl PodSecurity {
    pub(super) fn open(cluster: &Cluster) -> Self {
        Self(LEVELS.map(|level| cluster.namespace_with(level, level)))
    }

    /// The strictest level that admits the pod, which is not created.
    pub(super) fn strictest(&self, pod: &Value) -> &'static str {
        let mut levels = LEVELS.iter().zip(&self.0);
        let found = levels.find(|(level, namespace)| admits(level, namespace, pod));
        found.map_or("privileged", |(level, _)| level)
    }
}

fn admits(level: &str, namespace: &Namespace, pod: &Value) -> bool {
    let mut spec = pod["spec"].clone();
    // The scheduler's.
    spec.as_object_mut().unwrap().remove("nodeName");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "admitted", "namespace": namespace.name}, "spec": spec,
    });
    let create = ["kubectl", "create", "--dry-run=server", "--filename", "-"];
    match run_with_input(&create, &pod.to_string()) {
        Ok(_) => true,
        // It is refused for nothing else.
        Err(message) if message.contains(&format!("violates PodSecurity \"{level}:")) => false,
        Err(message) => panic!("{message}"),
    }
}
