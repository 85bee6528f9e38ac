//! What GitOps tools do to a cluster: apply from Git again and again, and expect no difference.

use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::harness::{Cluster, Mirror, run, run_with_input};

const ARGOCD: &str = include_str!("../charts/transship/argocd/argocd-cm.yaml");
const EXAMPLE: &str = include_str!("../examples/argocd.yaml");
const GUIDE: &str = include_str!("../docs/gitops.md");

#[tokio::test]
async fn what_stands_in_git_is_never_found_changed() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("git");
    let in_git = json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
        "metadata": {
            "name": "web", "namespace": namespace.name,
            "labels": {"app.kubernetes.io/instance": "tracked-application"},
            "annotations": {"argocd.argoproj.io/tracking-id": "tracked-application"},
        },
        "spec": {
            "interval": "60m",
            "sources": [{"image": format!("{}/library/busybox:1", cluster.plain.host), "insecure": true}],
            "destinations": [{
                "prefix": format!("{}/{}", cluster.secure.host, namespace.name), "path": "busybox",
                "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
            }],
        },
    });
    let as_argo_cd_does = |verb: &str| {
        let manager = "--field-manager=argocd-controller";
        let command = ["kubectl", verb, "--server-side", manager, "--filename", "-"];
        run_with_input(&command, &in_git.to_string())
            .unwrap_or_else(|message| panic!("{verb}: {message}"))
    };
    as_argo_cd_does("apply");
    let mirror = Mirror::existing(&cluster, &namespace, "web");
    let ready = mirror.wait_ready().await;
    assert_eq!(as_argo_cd_does("diff"), "");
    as_argo_cd_does("apply");
    let again = mirror.get().await;
    assert_eq!(again.metadata.generation, ready.metadata.generation);
    // The operator owns nothing but the status.
    for owned in ready.managed_fields() {
        if owned.manager.as_deref() == Some("transship") {
            assert_eq!(owned.subresource.as_deref(), Some("status"), "{owned:?}");
        }
    }
    let children = namespace.kubectl(&["get", "jobs,pods,configmaps", "--output", "json"]);
    let children: Value = serde_json::from_str(&children).unwrap();
    let ours = children["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|child| child["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "transship");
    let mut count = 0;
    for child in ours {
        let metadata = child["metadata"].to_string();
        assert!(!metadata.contains("tracked-application"), "{metadata}");
        count += 1;
    }
    assert!(count >= 3, "a Job, its pod and its plan: {children}");
}

#[tokio::test]
async fn the_guide_adds_to_what_argocd_cm_has() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("argocd");
    namespace.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "namespace": namespace.name},
        "data": {"url": "https://argocd.example.com"},
    }));
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/charts/transship/argocd/argocd-cm.yaml"
    );
    let command = GUIDE
        .lines()
        .find_map(|line| line.strip_prefix("    kubectl "))
        .unwrap()
        .replace(
            "--namespace argocd",
            &format!("--namespace {}", namespace.name),
        )
        .replace("charts/transship/argocd/argocd-cm.yaml", file);
    let arguments: Vec<_> = ["kubectl"].into_iter().chain(command.split(' ')).collect();
    run(&arguments);
    let stored = namespace.kubectl(&["get", "configmap", "argocd-cm", "--output", "json"]);
    let stored: Value = serde_json::from_str(&stored).unwrap();
    let added: Value = serde_saphyr::from_str(ARGOCD).unwrap();
    let mut expected = added["data"].clone();
    expected["url"] = json!("https://argocd.example.com");
    assert_eq!(stored["data"], expected);
}

#[tokio::test]
async fn the_example_is_accepted() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("example");
    let command = [
        "kubectl",
        "apply",
        "--dry-run=server",
        "--namespace",
        &namespace.name,
        "--filename",
        "-",
    ];
    let accepted = run_with_input(&command, EXAMPLE).unwrap();
    assert_eq!(accepted.lines().count(), 2, "{accepted}");
    let stored = run(&[
        "kubectl",
        "get",
        "imir,deployments",
        "--namespace",
        &namespace.name,
    ]);
    assert_eq!(stored, "");
}
