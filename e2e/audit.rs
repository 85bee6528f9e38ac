//! The rights of the operator are those that it uses: the audit log of the API server beside the rules of the chart.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Build, Cluster, Mirror, Namespace, eventually};

const RENDERED: &str = include_str!("../tests/chart/rbac.golden.yaml");
/// The roles that the operator is bound to.
const ROLES: [&str; 2] = ["transship", "transship-lease"];

/// `group/resource verb`, for everything that the roles grant.
fn granted() -> BTreeSet<String> {
    let (_, rendered) = RENDERED
        .split_once("# With the values of default:\n")
        .unwrap();
    let (rendered, _) = rendered
        .split_once("# With the values of namespaced:\n")
        .unwrap();
    let mut granted = BTreeSet::new();
    for document in rendered
        .split("---\n")
        .filter(|text| !text.trim().is_empty())
    {
        let role: Value = serde_saphyr::from_str(document).unwrap();
        let is_role = role["kind"] == "ClusterRole" || role["kind"] == "Role";
        if !is_role || !ROLES.iter().any(|name| role["metadata"]["name"] == *name) {
            continue;
        }
        for rule in role["rules"].as_array().unwrap() {
            let words = |field: &str| -> Vec<String> {
                let words = rule[field].as_array().unwrap().iter();
                words
                    .map(|word| word.as_str().unwrap().to_owned())
                    .collect()
            };
            for group in words("apiGroups") {
                for resource in words("resources") {
                    let verbs = words("verbs").into_iter();
                    granted.extend(verbs.map(|verb| format!("{group}/{resource} {verb}")));
                }
            }
        }
    }
    granted
}

/// What the operator has asked for since the cluster was started, and what of it was refused for want of rights.
fn used() -> (BTreeSet<String>, Vec<String>) {
    let state = PathBuf::from(std::env::var_os("TRANSSHIP_E2E_STATE").unwrap());
    let log = std::fs::read_to_string(state.join("logs/audit.log")).unwrap();
    let (mut used, mut denied) = (BTreeSet::new(), Vec::new());
    for line in log.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            // The last line may be on its way.
            continue;
        };
        let object = &event["objectRef"];
        let Some(resource) = object["resource"].as_str() else {
            // The version of the API server, which everybody may ask for.
            continue;
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let subresource = object["subresource"]
            .as_str()
            .map(|name| format!("/{name}"));
        let request = format!(
            "{}/{resource}{} {}",
            text(&object["apiGroup"]),
            subresource.unwrap_or_default(),
            text(&event["verb"]),
        );
        // Admission refuses with the same code.
        if event["annotations"]["authorization.k8s.io/decision"] == "forbid" {
            denied.push(line.to_owned());
        }
        used.insert(request);
    }
    (used, denied)
}

fn spec(cluster: &Cluster, namespace: &Namespace, tags: &str) -> Value {
    let repository = format!("{}/{}/source", cluster.plain.host, namespace.name);
    json!({
        "interval": "15s", "deletionPolicy": "Delete", "prune": {"mode": "Delete", "grace": "0s", "maxPercent": 100},
        "format": "OCI",
        "sources": [{"repository": repository, "insecure": true, "tags": {"include": [tags]}}],
        "destinations": [{
            "prefix": format!("{}/{}", cluster.secure.host, namespace.name), "path": "copy",
            "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
        }],
    })
}

/// Builds with a builder that is none: the first build is forgotten with its pod and its plan when the second has
/// ended.
async fn build_twice(cluster: &Cluster) {
    let namespace = cluster.namespace_with("rights-build", "baseline");
    let spec = json!({
        "source": {"inline": {"dockerfile": "FROM scratch"}},
        "builder": {"image": format!("{}/library/busybox:1", cluster.plain.host)},
        "output": {"repository": format!("{}/{}/app", cluster.plain.host, namespace.name), "insecure": true},
        "retry": {"limit": 0},
        "history": {"successful": 0, "failed": 0},
    });
    let build = Build::apply(cluster, &namespace, "app", &spec);
    for number in 1..=2 {
        build
            .wait_until("the end of a build", |status| {
                let build = status.build.as_ref().ok_or("none")?;
                let ended = build.number == number && build.completion_time.is_some();
                ended.then_some(()).ok_or_else(|| "goes on".to_owned())
            })
            .await;
        build.request();
    }
}

#[tokio::test]
async fn the_operator_has_the_rights_that_it_uses_and_no_others() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("rights");
    // A registry may be unable to remove one of two tags of the same content.
    for (tag, image) in [("1", "library/busybox:1"), ("2", "library/debian:12")] {
        let source = format!("{}/source:{tag}", namespace.name);
        cluster.plain.copy(image, &source);
    }
    // A run that is given up: its worker waits for a node that does not exist.
    let mut held = spec(&cluster, &namespace, "*");
    held["pod"] = json!({"nodeSelector": {"transship.test/none": "such"}});
    let mirror = Mirror::apply(&cluster, &namespace, "all", &held);
    mirror
        .wait_until("a run", |mirror| {
            let run = mirror
                .status
                .as_ref()
                .and_then(|status| status.run.as_ref());
            run.map(|_| ()).ok_or_else(|| "none".to_owned())
        })
        .await;
    // A run that converts, whose log says what it made.
    Mirror::apply(
        &cluster,
        &namespace,
        "all",
        &spec(&cluster, &namespace, "*"),
    )
    .wait_ready()
    .await;
    // A tag that is not selected any more is removed.
    let mirror = Mirror::apply(
        &cluster,
        &namespace,
        "all",
        &spec(&cluster, &namespace, "1"),
    );
    mirror.wait_ready().await;
    eventually("a pruned tag", || async {
        match cluster
            .secure
            .manifest(&format!("{}/copy:2", namespace.name))
        {
            None => Ok(()),
            Some(_) => Err("it is still there".to_owned()),
        }
    })
    .await;
    namespace.kubectl(&["delete", "imir", "all", "--timeout=60s"]);
    build_twice(&cluster).await;

    let granted = granted();
    assert!(
        granted.contains("/secrets get") && granted.contains("coordination.k8s.io/leases create")
    );
    eventually("every right in the audit log", || async {
        let (used, denied) = used();
        assert_eq!(denied, Vec::<String>::new());
        let unknown: Vec<_> = used.difference(&granted).collect();
        assert!(unknown.is_empty(), "not granted: {unknown:?}");
        let unused: Vec<_> = granted.difference(&used).collect();
        if unused.is_empty() {
            Ok(())
        } else {
            Err(format!("never used: {unused:?}"))
        }
    })
    .await;
}
