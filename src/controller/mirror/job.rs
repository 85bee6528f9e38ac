//! The Kubernetes objects of a run: the plan in an immutable `ConfigMap`, and the Job whose pods carry
//! it out. Pure: specs in, objects out.
//!
//! The pod template is closed: nothing of it comes from the mirror but names of Secrets to mount.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use crate::api::ImageMirror;
use crate::copy::{AccessReference, Plan};
use crate::oci::Digest;
use crate::packed::{self, PackError};
use crate::worker::{self, EXIT_COPIES_FAILED};

/// Label with the UID of the mirror, by which its Jobs are found.
pub(crate) const MIRROR_UID_LABEL: &str = "transship.dev/mirror-uid";
/// Annotation with the generation of the mirror that a run was planned for.
pub(super) const GENERATION_ANNOTATION: &str = "transship.dev/generation";
/// Tells Argo CD that changes of a child are no reason to look at the whole application again.
pub(super) const ARGOCD_IGNORE_UPDATES_ANNOTATION: &str =
    "argocd.argoproj.io/ignore-resource-updates";
/// The container of the pods, by which its termination message is found.
pub(super) const CONTAINER: &str = "worker";
/// How long a finished Job and its logs stay, in seconds.
const KEEP_FINISHED_SECONDS: u32 = 3600;
/// How often a pod that was killed is replaced within one run.
const REPLACEMENTS: u32 = 3;
/// Most characters of a Job's name, so that the names of its pods stay DNS labels.
const MAX_NAME_LENGTH: usize = 52;
/// The volume for the state of open uploads: files of less than 64 KiB, as many as blobs in flight.
const STATE_SIZE: &str = "8Mi";
/// The user of the image, of no rights on any node.
const USER: i64 = 65532;

/// The exit code of a process that was killed with SIGKILL, by the out-of-memory killer for instance.
const EXIT_KILLED: u8 = 137;

/// How pods of workers are made in this cluster.
#[derive(Clone, Debug)]
pub(crate) struct WorkerPods {
    /// The image reference, as the operator was told by its own deployment.
    pub(crate) image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub(crate) pull_policy: String,
    /// Whether the API server knows rules for the restart of a container.
    pub(crate) restart_rules: bool,
}

impl WorkerPods {
    /// Whether a server of this version takes restart rules: since 1.34 it does, or drops them while its
    /// feature gate is off (the default before 1.35). An older one refuses the pod (KEP-5307).
    pub(crate) fn has_restart_rules(
        version: &k8s_openapi::apimachinery::pkg::version::Info,
    ) -> bool {
        // Some providers write "34+".
        let number = |text: &str| {
            text.trim_end_matches('+')
                .parse::<u32>()
                .unwrap_or_default()
        };
        (number(&version.major), number(&version.minor)) >= (1, 34)
    }
}

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
    pub(super) timeout: std::time::Duration,
    pub(super) worker: &'a WorkerPods,
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
            "metadata": metadata(input.mirror, &name, &owner),
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
    let prefix: String = mirror
        .name_any()
        .replace('.', "-")
        .chars()
        .take(MAX_NAME_LENGTH - suffix.len() - 1)
        .collect();
    format!("{}-{suffix}", prefix.trim_end_matches('-'))
}

fn metadata(mirror: &ImageMirror, name: &str, owner: &OwnerReference) -> Value {
    json!({
        "name": name,
        "namespace": mirror.metadata.namespace,
        "labels": owned_labels(mirror),
        "annotations": {
            GENERATION_ANNOTATION: mirror.metadata.generation.unwrap_or_default().to_string(),
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
        "metadata": metadata(input.mirror, name, owner),
        "spec": {
            "completionMode": "Indexed",
            "completions": 1,
            "parallelism": 1,
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
            "template": {
                "metadata": {
                    "labels": owned_labels(input.mirror),
                    "annotations": {ARGOCD_IGNORE_UPDATES_ANNOTATION: "true"},
                },
                "spec": pod(input, name),
            },
        },
    })
}

fn pod(input: &RunInput<'_>, name: &str) -> Value {
    let mut volumes = vec![
        json!({"name": "plan", "configMap": {"name": name}}),
        json!({"name": "state", "emptyDir": {"sizeLimit": STATE_SIZE}}),
    ];
    let mut mounts = vec![
        json!({"name": "plan", "mountPath": worker::PLAN_DIRECTORY, "readOnly": true}),
        json!({"name": "state", "mountPath": worker::STATE_DIRECTORY}),
    ];
    let names = |name: fn(&AccessReference) -> Option<&String>| -> BTreeSet<&String> {
        input.plan.accesses().filter_map(name).collect()
    };
    let secrets = [
        (
            "credentials",
            worker::CREDENTIALS_DIRECTORY,
            names(|access| access.credentials.as_ref()),
        ),
        (
            "certificates",
            worker::CERTIFICATES_DIRECTORY,
            names(|access| access.certificates.as_ref()),
        ),
    ];
    for (kind, directory, names) in secrets {
        for (index, secret) in names.into_iter().enumerate() {
            let volume = format!("{kind}-{index}");
            // The group of the pod may read, nobody else.
            volumes.push(
                json!({"name": volume, "secret": {"secretName": secret, "defaultMode": 0o440}}),
            );
            mounts.push(json!({"name": volume, "mountPath": format!("{directory}/{secret}"), "readOnly": true}));
        }
    }
    json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(input.worker, &mounts)],
        "volumes": volumes,
    })
}

fn container(worker: &WorkerPods, mounts: &[Value]) -> Value {
    // In the same pod the state of uploads is still there; a new pod would begin large layers again.
    let restart_rules = worker.restart_rules.then(
        || json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [EXIT_KILLED]}}]),
    );
    json!({
        "name": CONTAINER,
        "image": worker.image,
        "imagePullPolicy": worker.pull_policy,
        "args": [
            "worker",
            "--log-format=json",
            format!("--state-directory={}", worker::STATE_DIRECTORY),
        ],
        "volumeMounts": mounts,
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi", "ephemeral-storage": "16Mi"},
            "limits": {"memory": "128Mi", "ephemeral-storage": "64Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "restartPolicy": restart_rules.as_ref().map(|_| "Never"),
        "restartPolicyRules": restart_rules,
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::version::Info;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1", "33", false)]
    #[case("1", "34", true)]
    #[case("1", "34+", true)]
    #[case("1", "36", true)]
    #[case("2", "0", true)]
    #[case("", "", false)]
    #[case("1", "x", false)]
    fn servers_of_1_34_take_restart_rules(
        #[case] major: &str,
        #[case] minor: &str,
        #[case] expected: bool,
    ) {
        let version = Info {
            major: major.to_owned(),
            minor: minor.to_owned(),
            ..Info::default()
        };
        assert_eq!(WorkerPods::has_restart_rules(&version), expected);
    }

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
            images: Vec::new(),
        };
        let run = Run::new(&RunInput {
            mirror: &mirror,
            plan: &plan,
            timeout: std::time::Duration::from_mins(1),
            worker: &WorkerPods {
                image: "registry.test/transship:1".to_owned(),
                pull_policy: "IfNotPresent".to_owned(),
                restart_rules: true,
            },
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

    #[rstest]
    #[case(false, Value::Null, Value::Null)]
    #[case(true, json!("Never"), json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [137]}}]))]
    fn only_who_was_killed_is_started_again_in_the_same_pod(
        #[case] restart_rules: bool,
        #[case] policy: Value,
        #[case] rules: Value,
    ) {
        let worker = WorkerPods {
            image: "registry.test/transship:1".to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
            restart_rules,
        };
        let container = container(&worker, &[]);
        assert_eq!(container["restartPolicy"], policy);
        assert_eq!(container["restartPolicyRules"], rules);
    }
}
