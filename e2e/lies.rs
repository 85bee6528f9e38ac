//! What others write to our objects, and objects of theirs with names of ours: the status says what the destination
//! holds, and nothing is adopted.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use transship::api::ImageMirror;

use crate::harness::{Cluster, Mirror, Namespace, conditions, eventually, run, run_with_input};

/// A mirror whose worker waits for a node with a label that none has yet.
struct Held<'a> {
    cluster: &'a Cluster,
    namespace: &'a Namespace,
    mirror: Mirror<'a>,
    label: String,
}

impl<'a> Held<'a> {
    async fn start(cluster: &'a Cluster, namespace: &'a Namespace, timeout: &str) -> Self {
        let label = format!("transship.test/{}", namespace.name);
        let spec = json!({
            "interval": "15s", "timeout": timeout, "pod": {"nodeSelector": {&label: "open"}},
            "sources": [{"image": format!("{}/library/busybox:1", cluster.plain.host), "insecure": true}],
            "destinations": [{
                "prefix": format!("{}/{}", cluster.plain.host, namespace.name), "path": "copy", "insecure": true,
            }],
        });
        let held = Self {
            cluster,
            namespace,
            mirror: Mirror::apply(cluster, namespace, "held", &spec),
            label,
        };
        held.mirror
            .wait_until("a run", |mirror| {
                job_of(mirror).map(|_| ()).ok_or_else(|| "none".to_owned())
            })
            .await;
        held
    }

    async fn job(&self) -> String {
        job_of(&self.mirror.get().await).unwrap()
    }

    fn let_go(&self) {
        let label = format!("{}=open", self.label);
        run(&["kubectl", "label", "nodes", "--all", "--overwrite", &label]);
    }

    fn at_destination(&self) -> Option<String> {
        self.cluster
            .plain
            .manifest(&format!("{}/copy:1", self.namespace.name))
    }

    fn patch_status(&self, kind: &str, name: &str, status: &Value) {
        let patch = json!({"status": status}).to_string();
        self.namespace.kubectl(&[
            "patch",
            kind,
            name,
            "--subresource=status",
            "--type=merge",
            "--patch",
            &patch,
        ]);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        run(&[
            "kubectl",
            "label",
            "nodes",
            "--all",
            &format!("{}-", self.label),
        ]);
    }
}

/// The Job of a run that goes on.
fn job_of(mirror: &ImageMirror) -> Option<String> {
    let run = mirror.status.as_ref()?.run.as_ref()?;
    run.completion_time.is_none().then(|| run.job.clone())
}

fn claims_ready(mirror: &ImageMirror) -> bool {
    conditions(mirror)
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[tokio::test]
async fn a_status_that_somebody_else_has_written_does_not_stay() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("lying-status");
    // Its destination takes no connection, so that there is nothing to be ready about.
    let spec = json!({
        "interval": "1h",
        "sources": [{"image": format!("{}/library/busybox:1", cluster.plain.host), "insecure": true}],
        "destinations": [{"prefix": "nowhere.registry.test/mirror"}],
    });
    let mirror = Mirror::apply(&cluster, &namespace, "lied-about", &spec);
    let failed = mirror.wait_failed("RegistryUnreachable", false).await;
    let lie = json!({"status": {
        "observedGeneration": failed.metadata.generation, "summary": "7/7", "desired": 7, "present": 7, "failed": 0,
        "pending": 0, "images": [], "run": null, "nextScanTime": "2999-01-01T00:00:00Z",
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Succeeded", "message": "all is well",
            "observedGeneration": failed.metadata.generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }});
    let patch = lie.to_string();
    namespace.kubectl(&[
        "patch",
        "imir",
        "lied-about",
        "--subresource=status",
        "--type=merge",
        "--patch",
        &patch,
    ]);
    let status = mirror
        .wait_failed("RegistryUnreachable", false)
        .await
        .status
        .unwrap();
    assert_eq!((status.summary.as_str(), status.failed), ("0/1", 1));
}

#[tokio::test]
async fn a_job_that_somebody_has_called_complete_is_not_believed() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("lying-job");
    let held = Held::start(&cluster, &namespace, "10m").await;
    let job = held.job().await;
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let condition = |type_: &str| {
        json!({
            "type": type_, "status": "True", "reason": "CompletionsReached",
            "lastTransitionTime": now, "lastProbeTime": now,
        })
    };
    held.patch_status(
        "job",
        &job,
        &json!({
            "conditions": [condition("SuccessCriteriaMet"), condition("Complete")], "completionTime": now,
            "succeeded": 1, "active": 0, "ready": 0, "terminating": 0, "completedIndexes": "0",
        }),
    );
    // It is noticed that nothing has arrived, and another run is started.
    held.mirror
        .wait_until("another run", |mirror| {
            assert!(!claims_ready(mirror), "{mirror:?}");
            match job_of(mirror) {
                Some(other) if other != job => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    assert_eq!(held.at_destination(), None);
    held.let_go();
    held.mirror.wait_ready().await;
    assert_eq!(
        held.at_destination(),
        cluster.plain.manifest("library/busybox:1")
    );
}

#[tokio::test]
async fn a_plan_that_is_deleted_is_made_again() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("lost-plan");
    let held = Held::start(&cluster, &namespace, "20s").await;
    let job = held.job().await;
    namespace.kubectl(&["delete", "configmap", &job]);
    held.let_go();
    let ready = held.mirror.wait_ready().await;
    assert_ne!(ready.status.unwrap().run.unwrap().job, job);
    assert_eq!(
        held.at_destination(),
        cluster.plain.manifest("library/busybox:1")
    );
}

/// The object without what the API server has given it, as somebody else's.
fn foreign(namespace: &Namespace, kind: &str, name: &str) -> Value {
    let object = namespace.kubectl(&["get", kind, name, "--output", "json"]);
    let mut object: Value = serde_json::from_str(&object).unwrap();
    object["metadata"] =
        json!({"name": name, "namespace": namespace.name, "labels": {"whose": "theirs"}});
    object.as_object_mut().unwrap().remove("status");
    if kind == "job" {
        object["spec"]["selector"] = json!(null);
        object["spec"]["suspend"] = json!(true);
        object["spec"]["template"]["metadata"] = json!({"labels": {"whose": "theirs"}});
    }
    object
}

#[tokio::test]
async fn objects_of_others_with_our_names_are_left_alone() {
    let cluster = Cluster::alone().await;
    for kind in ["configmap", "job"] {
        let namespace = cluster.namespace(&format!("taken-{kind}"));
        let held = Held::start(&cluster, &namespace, "10m").await;
        let name = held.job().await;
        let theirs = foreign(&namespace, kind, &name);
        // While nobody looks, somebody puts an object of theirs where the same decision puts ours.
        Cluster::scale(0);
        namespace.kubectl(&["delete", "job", &name, "--cascade=foreground"]);
        namespace.kubectl(&["delete", "configmap", &name, "--ignore-not-found"]);
        run_with_input(
            &["kubectl", "create", "--filename", "-"],
            &theirs.to_string(),
        )
        .unwrap();
        held.patch_status(
            "imir",
            "held",
            &json!({"observedGeneration": -1, "run": null, "history": null}),
        );
        Cluster::scale(2);

        let failed = held.mirror.wait_failed("RunFailed", false).await;
        let message = conditions(&failed)[0]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        let expected = format!("an object named {name} exists that does not belong to this mirror");
        assert!(message.contains(&expected), "{message}");
        let left = namespace.kubectl(&["get", kind, &name, "--output", "json"]);
        let left: Value = serde_json::from_str(&left).unwrap();
        assert_eq!(left["metadata"]["labels"]["whose"], "theirs");
        assert_eq!(left["metadata"]["ownerReferences"], json!(null));

        namespace.kubectl(&["delete", kind, &name]);
        held.let_go();
        held.mirror.wait_ready().await;
        // What was theirs had no part in it.
        eventually("a Job of ours", || async {
            let jobs = namespace.kubectl(&["get", "jobs", "--output", "json"]);
            let jobs: Value = serde_json::from_str(&jobs).unwrap();
            let jobs: Vec<Job> = serde_json::from_value(jobs["items"].clone()).unwrap();
            if jobs.iter().all(|job| job.owner_references().len() == 1) {
                Ok(())
            } else {
                Err(format!("{jobs:?}"))
            }
        })
        .await;
    }
}
