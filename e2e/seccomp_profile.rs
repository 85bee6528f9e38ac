//! The profile of builders on nodes, brought there by the commands of `docs/builders.md`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{CHART, Cluster, OPERATOR_NAMESPACE, eventually, run, upgrade_chart};

const GUIDE: &str = include_str!("../docs/builders.md");
/// The namespace of the `DaemonSet` in the guide.
const NAMESPACE: &str = "transship-nodes";
/// Where the profile is, below the kubelet's directory of profiles.
pub(crate) const PROFILE: &str = "transship/build.json";

/// The kubelet's root directory on each node. That of one that is gone may still be there.
pub(crate) fn kubelet_directories() -> Vec<PathBuf> {
    let state = PathBuf::from(std::env::var("TRANSSHIP_E2E_STATE").unwrap());
    let names = "jsonpath={.items[*].metadata.name}";
    let nodes = run(&["kubectl", "get", "nodes", "--output", names]);
    let nodes = nodes.split_whitespace();
    nodes.map(|node| state.join(node).join("kubelet")).collect()
}

/// The `DaemonSet` on every node, and an operator that knows of it, until this is dropped. The file stays on the nodes.
pub(crate) struct DaemonSet;

impl DaemonSet {
    /// Runs the commands of the guide. Our kubelets are not where others are: that is told them as well.
    pub(crate) fn install() -> Self {
        let [kubelet] = &kubelet_directories()[..] else {
            panic!("one node: a DaemonSet has one directory for all");
        };
        let directory = format!("seccompProfile.kubeletDirectory={}", kubelet.display());
        let installed = Self;
        let (_, section) = GUIDE.split_once("## Nodes with a filter").unwrap();
        let commands = section.lines().filter_map(|line| line.strip_prefix("    "));
        let mut count = 0;
        for command in commands {
            let words = command.split_whitespace();
            let words = words.map(|word| {
                if word == "charts/transship" {
                    CHART
                } else {
                    word
                }
            });
            let mut command: Vec<&str> = words.collect();
            if command.starts_with(&["helm"]) {
                command.extend(["--set", &directory]);
            }
            run(&command);
            count += 1;
        }
        assert_eq!(count, 4, "the commands of the guide");
        wait_for_operator();
        installed
    }
}

impl Drop for DaemonSet {
    fn drop(&mut self) {
        upgrade_chart(&["--set", "seccompProfile.install=None"]);
        run(&[
            "kubectl",
            "delete",
            "namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--timeout=90s",
        ]);
        wait_for_operator();
    }
}

/// Until all replicas of the operator have their new settings.
fn wait_for_operator() {
    let deployment = ["deployment/transship", "--namespace", OPERATOR_NAMESPACE];
    let status = ["kubectl", "rollout", "status", "--timeout=90s"];
    run(&[&status[..], &deployment[..]].concat());
}

/// A pod with the profile, in a namespace that enforces `restricted`.
fn pod(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "early", "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "pause", "image": "localhost/transship/probe:1", "imagePullPolicy": "Never",
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                    "seccompProfile": {"type": "Localhost", "localhostProfile": PROFILE},
                },
            }],
        },
    })
}

#[tokio::test]
async fn every_node_gets_the_profile_and_pods_that_came_before_go_on() {
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("profiles");
    let files: Vec<_> = kubelet_directories()
        .iter()
        .map(|kubelet| kubelet.join("seccomp").join(PROFILE))
        .collect();
    for file in files.iter().filter(|file| file.exists()) {
        std::fs::remove_file(file).unwrap();
    }
    namespace.apply(&pod(&namespace.name));
    let state = |expected: &'static str| {
        let path = [
            "get",
            "pod",
            "early",
            "--output",
            "jsonpath={.status.containerStatuses[0].state}",
        ];
        let state = namespace.kubectl(&path);
        if state.contains(expected) {
            Ok(())
        } else {
            Err(state)
        }
    };
    eventually("a pod without its profile", || async {
        state("CreateContainerError")
    })
    .await;

    let _daemon_set = DaemonSet::install();
    let expected = std::fs::read(format!("{CHART}/files/seccomp/build.json")).unwrap();
    for file in files {
        assert_eq!(std::fs::read(&file).unwrap(), expected);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }
    eventually("the pod with its profile", || async { state("running") }).await;
}
