//! The pods of a run. Pure: specs in, objects out.
//!
//! The template is closed: nothing of it comes from the mirror but names of Secrets to mount and the fields of
//! `spec.pod`.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::version::Info;
use serde_json::{Value, json};

use super::job::{RunInput, owned_labels};
use crate::api::WorkerPod;
use crate::controller::{ARGOCD_IGNORE_UPDATES_ANNOTATION, resources};
use crate::copy::{AccessReference, VerificationSecrets};
use crate::worker;

/// The container of the pods, by which its termination message is found.
pub(super) const CONTAINER: &str = "worker";
/// The volume for the state of open uploads: files of less than 64 KiB, as many as blobs in flight.
const STATE_SIZE: &str = "8Mi";
/// Where layers lie that are recompressed, until they are sent.
const TEMPORARY_DIRECTORY: &str = "/tmp";
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
    pub(crate) fn has_restart_rules(version: &Info) -> bool {
        // Some providers write "34+".
        let number = |text: &str| {
            text.trim_end_matches('+')
                .parse::<u32>()
                .unwrap_or_default()
        };
        (number(&version.major), number(&version.minor)) >= (1, 34)
    }
}

/// The template of the pods of the Job `name`.
pub(super) fn pod(input: &RunInput<'_>, name: &str) -> Value {
    let chosen = &input.mirror.spec.pod;
    let (volumes, mounts) = volumes(input, name);
    let sharing = (input.plan.shards > 1).then(|| {
        json!([{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"batch.kubernetes.io/job-name": name}},
        }])
    });
    json!({
        "metadata": {
            "labels": owned_labels(input.mirror),
            "annotations": {ARGOCD_IGNORE_UPDATES_ANNOTATION: "true"},
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "serviceAccountName": chosen.service_account_name,
            "priorityClassName": chosen.priority_class_name,
            "nodeSelector": chosen.node_selector,
            "tolerations": chosen.tolerations,
            "topologySpreadConstraints": sharing,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 30,
            // The kubelet ends them by itself, when nobody else can reach its node.
            "activeDeadlineSeconds": input.timeout.as_secs(),
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container(input, &mounts)],
            "volumes": volumes,
        },
    })
}

/// The volumes of the pods, and where their container finds them.
fn volumes(input: &RunInput<'_>, name: &str) -> (Vec<Value>, Vec<Value>) {
    let mut volumes = vec![
        json!({"name": "plan", "configMap": {"name": name}}),
        json!({"name": "state", "emptyDir": {"sizeLimit": STATE_SIZE}}),
    ];
    let mut mounts = vec![
        json!({"name": "plan", "mountPath": worker::PLAN_DIRECTORY, "readOnly": true}),
        json!({"name": "state", "mountPath": worker::STATE_DIRECTORY}),
    ];
    if recompresses(input) {
        volumes.push(json!({"name": "temporary", "emptyDir": {}}));
        mounts.push(json!({"name": "temporary", "mountPath": TEMPORARY_DIRECTORY}));
    }
    let names = |name: fn(&AccessReference) -> Option<&String>| -> BTreeSet<&String> {
        input.plan.accesses().filter_map(name).collect()
    };
    let verification = VerificationSecrets::of(&input.plan.options.verify);
    let secrets = [
        (
            "verification",
            worker::VERIFICATION_DIRECTORY,
            verification.names(),
        ),
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
    (volumes, mounts)
}

fn recompresses(input: &RunInput<'_>) -> bool {
    input.plan.options.conversion.compression.is_some()
}

fn container(input: &RunInput<'_>, mounts: &[Value]) -> Value {
    let worker = input.worker;
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
            format!("--deadline={}", input.deadline()),
        ],
        "volumeMounts": mounts,
        "resources": resources(&input.mirror.spec.pod, recompresses(input)),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "restartPolicy": restart_rules.as_ref().map(|_| "Never"),
        "restartPolicyRules": restart_rules,
    })
}

fn resources(chosen: &WorkerPod, recompresses: bool) -> Value {
    if let Some(chosen) = resources::chosen(chosen) {
        return chosen;
    }
    // How large the layers of an image are nobody knows before.
    let storage = (!recompresses).then_some("64Mi");
    resources::without_nulls(json!({
        "requests": {"cpu": "100m", "memory": "64Mi", "ephemeral-storage": "16Mi"},
        "limits": {"memory": "128Mi", "ephemeral-storage": storage},
    }))
}

#[cfg(test)]
mod confinement;
#[cfg(test)]
mod tests;
