//! Several workers share a run, where and as whom the mirror says.

use serde_json::json;
use transship::api::RunResult;

use crate::harness::{Cluster, Mirror};

/// A class that nothing else is in.
const PRIORITY: &str = "e2e-of-mirrors";

#[tokio::test]
async fn two_workers_share_a_run_on_the_nodes_that_were_chosen() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("sharing");
    let host = &cluster.plain.host;
    for name in ["one", "two", "three", "four"] {
        let source = format!("{}/source-{name}:1", namespace.name);
        cluster.plain.copy("library/busybox:1", &source);
    }
    namespace.kubectl(&["create", "serviceaccount", "mirror"]);
    namespace.apply(&json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": PRIORITY}, "value": -7,
    }));
    let source = |name: &str| json!({"image": format!("{host}/{}/source-{name}:1", namespace.name), "insecure": true});
    let spec = json!({
        "sources": [source("one"), source("two"), source("three"), source("four")],
        "destinations": [{
            "prefix": format!("{host}/{}/to", namespace.name), "path": "{repository}", "insecure": true,
        }],
        "limits": {"shards": 2, "parallelImages": 1},
        "pod": {
            "serviceAccountName": "mirror",
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "priorityClassName": PRIORITY,
            "tolerations": [
                {"key": "dedicated", "value": "mirrors", "effect": "NoSchedule"},
                {"key": "broken", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
            "resources": {
                "requests": {"memory": "32Mi", "cpu": "10m", "ephemeralStorage": "1Mi"},
                "limits": {"memory": "96Mi", "cpu": "2", "ephemeralStorage": "64Mi"},
            },
        },
    });
    let mirror = Mirror::apply(&cluster, &namespace, "shared", &spec);
    let status = mirror.wait_ready().await.status.unwrap();

    assert_eq!(status.summary, "4/4");
    let run = status.run.unwrap();
    assert_eq!(
        (run.images_planned, run.images_copied, run.images_failed),
        (4, 4, 0)
    );
    assert_eq!(run.result, Some(RunResult::Succeeded));
    assert_eq!(status.history, [run]);
    let field = |path: &str| {
        let output = format!("jsonpath={path}");
        namespace.kubectl(&["get", "jobs,pods", "--output", &output])
    };
    assert_eq!(field("{.items[0].spec.completions}"), "2");
    assert_eq!(field("{.items[0].status.succeeded}"), "2");
    let of_pods = |path: &str| field(&format!("{{range .items[1:]}}{{{path}}} {{end}}"));
    assert_eq!(of_pods(".spec.serviceAccountName"), "mirror mirror ");
    assert_eq!(
        of_pods(".spec.containers[0].resources"),
        [r#"{"limits":{"cpu":"2","ephemeral-storage":"64Mi","memory":"96Mi"},"requests":{"cpu":"10m","ephemeral-storage":"1Mi","memory":"32Mi"}} "#; 2].concat()
    );
    assert_eq!(of_pods(".spec.priority"), "-7 -7 ");
    let tolerations = of_pods(".spec.tolerations[0:2]");
    let [first, second] = [
        r#"{"effect":"NoSchedule","key":"dedicated","operator":"Equal","value":"mirrors"}"#,
        r#"{"effect":"NoExecute","key":"broken","operator":"Exists","tolerationSeconds":300}"#,
    ];
    assert_eq!(tolerations, format!("{first} {second} {first} {second} "));
    assert_eq!(
        of_pods(".spec.nodeSelector"),
        r#"{"kubernetes.io/os":"linux"} {"kubernetes.io/os":"linux"} "#
    );
    assert_eq!(of_pods(".spec.volumes[*].name"), "plan state plan state ");
}
