//! What operators of the operator look at and do.

use kube::ResourceExt as _;
use serde_json::{Value, json};
use transship::api::ImageMirror;

use crate::harness::{Cluster, Mirror, Namespace, OPERATOR_NAMESPACE, eventually, run, try_run};

fn spec(cluster: &Cluster, namespace: &Namespace) -> Value {
    json!({
        "sources": [{"image": format!("{}/library/busybox:1", cluster.plain.host), "insecure": true}],
        "destinations": [{
            "prefix": format!("{}/{}", cluster.secure.host, namespace.name), "path": "busybox",
            "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
        }],
    })
}

#[tokio::test]
async fn a_suspended_mirror_rests_until_it_is_resumed() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("suspend");
    let mut suspended = spec(&cluster, &namespace);
    suspended["suspend"] = json!(true);
    let mirror = Mirror::apply(&cluster, &namespace, "resting", &suspended);
    // Another mirror that is created later is done: the first was looked at, and left alone.
    let mut other = spec(&cluster, &namespace);
    other["destinations"][0]["path"] = json!("other");
    Mirror::apply(&cluster, &namespace, "other", &other)
        .wait_ready()
        .await;
    let resting = mirror.get().await;
    assert_eq!(resting.status.unwrap().observed_generation, Some(-1));
    assert_eq!(
        cluster
            .secure
            .manifest(&format!("{}/busybox:1", namespace.name)),
        None
    );

    namespace.kubectl(&[
        "patch",
        "imir",
        "resting",
        "--type=merge",
        "--patch",
        r#"{"spec":{"suspend":false}}"#,
    ]);
    mirror.wait_ready().await;
}

#[tokio::test]
async fn a_deleted_mirror_takes_its_jobs_and_plans_along_and_leaves_the_images() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("deletion");
    let mirror = Mirror::apply(&cluster, &namespace, "deleted", &spec(&cluster, &namespace));
    mirror.wait_ready().await;
    assert_eq!(namespace.jobs().len(), 1);
    namespace.kubectl(&["delete", "imir", "deleted", "--timeout=30s"]);
    eventually("nothing left", || async {
        let left = namespace.kubectl(&[
            "get",
            "jobs,pods,configmaps",
            "--selector",
            "transship.dev/mirror-uid",
            "--output",
            "name",
        ]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    let kept = cluster
        .secure
        .manifest(&format!("{}/busybox:1", namespace.name));
    assert_eq!(kept, cluster.plain.manifest("library/busybox:1"));
}

#[tokio::test]
async fn workers_have_no_token_and_no_rights() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("worker-pod");
    // Pod Security is enforced here: a pod that asks for nothing special is refused.
    let ordinary = try_run(&[
        "kubectl",
        "run",
        "ordinary",
        "--image=scratch.test/none",
        "--namespace",
        &namespace.name,
    ]);
    assert!(ordinary.is_err_and(|message| message.contains("violates PodSecurity \"restricted")));
    let mirror = Mirror::apply(&cluster, &namespace, "pods", &spec(&cluster, &namespace));
    let uid = mirror.wait_ready().await.uid().unwrap();
    let selector = format!("transship.dev/mirror-uid={uid}");
    let pods = namespace.kubectl(&["get", "pods", "--selector", &selector, "--output", "json"]);
    let pods: Value = serde_json::from_str(&pods).unwrap();
    let pod = &pods["items"][0]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    let volumes = pod["volumes"].as_array().unwrap();
    // A token would be a projected volume; the one that is empty at first holds the state of uploads.
    let harmless = ["configMap", "secret", "emptyDir"];
    assert!(
        volumes
            .iter()
            .all(|volume| harmless.iter().any(|kind| volume[kind].is_object())),
        "{volumes:?}"
    );
    assert_eq!(
        pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"],
        true
    );
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let plan = namespace.kubectl(&[
        "get",
        "configmaps",
        "--selector",
        &selector,
        "--output",
        "json",
    ]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["items"][0]["immutable"], true);
    assert_eq!(
        plan["items"][0]["metadata"]["ownerReferences"][0]["kind"],
        "Job"
    );
}

#[tokio::test]
async fn the_operator_tells_its_health_and_its_metrics() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("metrics");
    Mirror::apply(&cluster, &namespace, "counted", &spec(&cluster, &namespace))
        .wait_ready()
        .await;
    let pods = run(&[
        "kubectl",
        "get",
        "pods",
        "--namespace",
        OPERATOR_NAMESPACE,
        "--selector",
        "app.kubernetes.io/name=transship",
        "--output",
        "jsonpath={.items[*].metadata.name}",
    ]);
    let mut leaders = 0;
    for pod in pods.split_whitespace() {
        assert_eq!(Cluster::answer_of(pod, "/healthz").unwrap(), "ok");
        assert_eq!(Cluster::answer_of(pod, "/readyz").unwrap(), "ok");
        let metrics = Cluster::answer_of(pod, "/metrics").unwrap();
        if metrics.contains("transship_leader 1\n") {
            leaders += 1;
            assert!(
                metrics.contains("transship_run_total{outcome=\"success\"}"),
                "{metrics}"
            );
            assert!(
                metrics.contains("transship_images{state=\"present\"}"),
                "{metrics}"
            );
        }
        assert!(!metrics.contains(&namespace.name), "names are no labels");
    }
    assert_eq!(leaders, 1);
}

#[tokio::test]
async fn a_new_leader_counts_the_images_of_mirrors_that_it_leaves_alone() {
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("new-leader");
    let mut spec = spec(&cluster, &namespace);
    spec["interval"] = json!("24h");
    let mirror = Mirror::apply(&cluster, &namespace, "idle", &spec);
    let before = mirror.wait_ready().await;
    let old = Cluster::leader().await;
    run(&[
        "kubectl",
        "delete",
        "pod",
        &old,
        "--namespace",
        OPERATOR_NAMESPACE,
    ]);
    eventually("every image counted", || async {
        let new = Cluster::leader().await;
        if new == old {
            return Err(format!("{old} still leads"));
        }
        let all = "jsonpath={.items[*].status.present}";
        let present = run(&[
            "kubectl",
            "get",
            "imir",
            "--all-namespaces",
            "--output",
            all,
        ]);
        let present: i64 = present
            .split_whitespace()
            .map(|count| count.parse::<i64>().unwrap())
            .sum();
        let line = format!("transship_images{{state=\"present\"}} {present}\n");
        let metrics = Cluster::answer_of(&new, "/metrics")?;
        if present > 0 && metrics.contains(&line) {
            Ok(())
        } else {
            Err(format!("{present} are present: {metrics}"))
        }
    })
    .await;
    let scanned = |mirror: ImageMirror| mirror.status.unwrap().last_scan_time;
    assert_eq!(scanned(mirror.get().await), scanned(before));
}

#[tokio::test]
async fn the_operator_may_read_a_secret_by_name_and_list_none() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("rights");
    let user = &format!("--as=system:serviceaccount:{OPERATOR_NAMESPACE}:transship");
    let may = |verb: &str, resource: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let subresource = format!("--subresource={subresource}");
        let asked = [
            "kubectl",
            "auth",
            "can-i",
            verb,
            resource,
            &subresource,
            user,
            "--namespace",
            &namespace.name,
        ];
        try_run(&asked).is_ok_and(|answer| answer.trim() == "yes")
    };
    for (verb, resource) in [
        ("get", "secrets"),
        ("create", "jobs.batch"),
        ("create", "pods"),
        ("patch", "imagemirrors.transship.dev/status"),
    ] {
        assert!(may(verb, resource), "{verb} {resource}");
    }
    for (verb, resource) in [
        ("list", "secrets"),
        ("watch", "secrets"),
        ("create", "pods/exec"),
        ("delete", "configmaps"),
        ("create", "imagemirrors.transship.dev"),
        ("update", "imagemirrors.transship.dev"),
        ("delete", "imagemirrors.transship.dev"),
        ("impersonate", "users"),
        ("update", "roles.rbac.authorization.k8s.io"),
    ] {
        assert!(!may(verb, resource), "{verb} {resource}");
    }
}

#[tokio::test]
async fn a_leader_that_is_asked_to_stop_gives_the_lease_back() {
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("hand-over");
    let leader = Cluster::leader().await;
    run(&[
        "kubectl",
        "delete",
        "pod",
        &leader,
        "--namespace",
        OPERATOR_NAMESPACE,
        "--wait=false",
    ]);
    let last_renewal = std::cell::Cell::new(None);
    let taken_over = eventually("another holder", || async {
        let lease = Cluster::lease();
        match lease.holder_identity.as_deref() {
            Some(holder) if holder == leader => {
                last_renewal.set(lease.renew_time);
                Err(format!("{leader} holds the Lease"))
            }
            None | Some("") => Err("nobody holds the Lease".to_owned()),
            Some(_) => Ok(lease.acquire_time.unwrap().0),
        }
    })
    .await;
    // A Lease that is not given back has to expire first.
    let expiry = jiff::SignedDuration::from_secs(15);
    if let Some(renewal) = last_renewal.take() {
        assert!(
            taken_over.duration_since(renewal.0) < expiry,
            "{renewal:?} to {taken_over}"
        );
    }
    Mirror::apply(&cluster, &namespace, "after", &spec(&cluster, &namespace))
        .wait_ready()
        .await;
}

#[tokio::test]
async fn the_operator_image_is_small_and_has_no_root() {
    const LIMIT: u64 = 60_000_000;
    let cluster = Cluster::shared().await;
    let image = run(&[
        "kubectl",
        "get",
        "deployment",
        "transship",
        "--namespace",
        OPERATOR_NAMESPACE,
        "--output",
        "jsonpath={.spec.template.spec.containers[0].image}",
    ]);
    let name = image
        .strip_prefix(&format!("{}/", cluster.plain.host))
        .unwrap();
    let manifest: Value = serde_json::from_str(&cluster.plain.manifest(name).unwrap()).unwrap();
    let sizes = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["size"].as_u64().unwrap());
    let size: u64 = sizes.sum();
    assert!(size > 0 && size < LIMIT, "{size} bytes");
    let pod = run(&[
        "kubectl",
        "get",
        "deployment",
        "transship",
        "--namespace",
        OPERATOR_NAMESPACE,
        "--output",
        "jsonpath={.spec.template.spec}",
    ]);
    let pod: Value = serde_json::from_str(&pod).unwrap();
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"],
        true
    );
}
