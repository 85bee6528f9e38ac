//! The Kubernetes objects of a run: the plan in an immutable `ConfigMap`, and the Job whose pods carry
//! it out. Pure: specs in, objects out.
//!
//! `pod.rs` has the template of its pods.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::pod::{CONTAINER, WorkerPods, pod};
use crate::api::ImageMirror;
use crate::controller::{ARGOCD_IGNORE_UPDATES_ANNOTATION, later, plans};
use crate::copy::Plan;
use crate::oci::Digest;
use crate::packed::{self, PackError};
use crate::worker::{self, EXIT_COPIES_FAILED};

/// Label with the UID of the mirror, by which its Jobs are found.
pub(crate) const MIRROR_UID_LABEL: &str = "transship.dev/mirror-uid";
/// Annotation with the generation of the mirror that a run was planned for.
pub(super) const GENERATION_ANNOTATION: &str = "transship.dev/generation";
/// Annotation with the time after which the workers of a run write nothing any more.
pub(super) const DEADLINE_ANNOTATION: &str = "transship.dev/deadline";
/// How long a finished Job and its logs stay, in seconds.
const KEEP_FINISHED_SECONDS: u32 = 3600;
/// How often a pod that was killed is replaced within one run.
const REPLACEMENTS: u32 = 3;
/// Most characters of a Job's name, so that the names of its pods stay DNS labels.
const MAX_NAME_LENGTH: usize = 52;
/// The objects of one run; both have the same name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) config_map: ConfigMap,
    pub(super) job: Job,
}

/// Everything a run's objects are made from.
pub(super) struct RunInput<'a> {
    pub(super) mirror: &'a ImageMirror,
    pub(super) plan: &'a Plan,
    pub(super) timeout: Duration,
    pub(super) worker: &'a WorkerPods,
    /// The clock.
    pub(super) now: Timestamp,
}

impl RunInput<'_> {
    /// When the workers must have stopped. It is no part of what the run is named by, so that the same decision
    /// a moment later is the same run.
    pub(super) fn deadline(&self) -> Timestamp {
        later(self.now, self.timeout)
    }
}

impl Run {
    /// The name of both objects.
    pub(super) fn name(&self) -> String {
        self.job.name_any()
    }

    /// Builds both objects. `None` for a mirror that the API server has not stored.
    pub(super) fn new(input: &RunInput<'_>) -> Result<Option<Self>, PackError> {
        let Some(owner) = input.mirror.controller_owner_ref(&()) else {
            return Ok(None);
        };
        let plan = packed::pack(input.plan)?;
        let name = run_name(input.mirror, &plan);
        let config_map = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(input, &name, &owner),
            "immutable": true,
            "binaryData": {worker::PLAN_FILE: ByteString(plan)},
        }))?;
        let job = serde_json::from_value(job(input, &name, &owner))?;
        Ok(Some(Self { config_map, job }))
    }
}

/// A name that a second decision in the same situation makes again, so that no run starts twice:
/// it depends on the mirror, the plan and the run before.
fn run_name(mirror: &ImageMirror, plan: &[u8]) -> String {
    let run_before = mirror
        .status
        .as_ref()
        .and_then(|status| status.run.as_ref());
    let situation = format!(
        "{}\n{}\n{}\n{}",
        mirror.metadata.uid.as_deref().unwrap_or_default(),
        mirror.metadata.generation.unwrap_or_default(),
        run_before.map_or("", |run| &run.job),
        Digest::sha256(plan),
    );
    let digest = Digest::sha256(situation.as_bytes());
    let suffix: String = digest
        .as_str()
        .chars()
        .skip("sha256:".len())
        .take(10)
        .collect();
    plans::name(&mirror.name_any(), &suffix, MAX_NAME_LENGTH)
}

fn metadata(input: &RunInput<'_>, name: &str, owner: &OwnerReference) -> Value {
    let mirror = input.mirror;
    json!({
        "name": name,
        "namespace": mirror.metadata.namespace,
        "labels": owned_labels(mirror),
        "annotations": {
            GENERATION_ANNOTATION: mirror.metadata.generation.unwrap_or_default().to_string(),
            DEADLINE_ANNOTATION: input.deadline().to_string(),
            ARGOCD_IGNORE_UPDATES_ANNOTATION: "true",
        },
        "ownerReferences": [owner],
    })
}

/// Our own labels only, never the mirror's: a GitOps tool would take the child for one of its own.
pub(super) fn owned_labels(mirror: &ImageMirror) -> BTreeMap<String, String> {
    BTreeMap::from([
        (
            "app.kubernetes.io/managed-by".to_owned(),
            "transship".to_owned(),
        ),
        (
            MIRROR_UID_LABEL.to_owned(),
            mirror.metadata.uid.clone().unwrap_or_default(),
        ),
    ])
}

fn job(input: &RunInput<'_>, name: &str, owner: &OwnerReference) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(input, name, owner),
        "spec": {
            "completionMode": "Indexed",
            "completions": input.plan.shards,
            "parallelism": input.plan.shards,
            "backoffLimitPerIndex": REPLACEMENTS,
            "activeDeadlineSeconds": input.timeout.as_secs(),
            "ttlSecondsAfterFinished": KEEP_FINISHED_SECONDS,
            "podFailurePolicy": {"rules": [
                // The registry has refused something; another pod would be refused too.
                {"action": "FailIndex", "onExitCodes": {
                    "containerName": CONTAINER, "operator": "In", "values": [EXIT_COPIES_FAILED]}},
                // Evictions and drained nodes are not the run's fault.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]},
            "template": pod(input, name),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::PlannedOptions;

    /// A GitOps tool would take the children for objects of its own, and remove them.
    #[test]
    fn children_carry_no_label_and_no_annotation_of_the_mirror() {
        let labels = [
            "app.kubernetes.io/instance",
            "kustomize.toolkit.fluxcd.io/name",
        ];
        let annotations = [
            "argocd.argoproj.io/tracking-id",
            "argocd.argoproj.io/sync-wave",
            "kubectl.kubernetes.io/last-applied-configuration",
        ];
        let all = |keys: &[&str]| -> BTreeMap<String, String> {
            keys.iter()
                .map(|key| ((*key).to_owned(), "of-the-mirror".to_owned()))
                .collect()
        };
        let mirror = serde_json::from_value(json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {
                "name": "web", "namespace": "team", "uid": "1", "generation": 2,
                "labels": all(&labels), "annotations": all(&annotations),
            },
            "spec": {"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]},
        }))
        .unwrap();
        let plan = Plan {
            version: Plan::VERSION,
            options: PlannedOptions::default(),
            shards: 1,
            images: Vec::new(),
        };
        let run = Run::new(&RunInput {
            mirror: &mirror,
            plan: &plan,
            timeout: Duration::from_mins(1),
            worker: &WorkerPods {
                image: "registry.test/transship:1".to_owned(),
                pull_policy: "IfNotPresent".to_owned(),
                restart_rules: true,
            },
            now: Timestamp::UNIX_EPOCH,
        })
        .unwrap()
        .unwrap();
        let children = json!([run.config_map, run.job]).to_string();
        assert!(
            children.contains("\"transship.dev/mirror-uid\":\"1\""),
            "{children}"
        );
        assert!(!children.contains("of-the-mirror"), "{children}");
        for key in labels.iter().chain(&annotations) {
            assert!(!children.contains(key), "{key}: {children}");
        }
    }
}
