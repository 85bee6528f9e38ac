//! Whatever is killed or restarted in the middle of a copy: the mirror converges by itself, and no
//! destination tag ever points at an incomplete image.

use std::future::Future;

use kube::ResourceExt as _;
use serde_json::json;

use crate::harness::{
    BIG_IMAGE, BIG_LAYER_BYTES, Cluster, Mirror, Namespace, OPERATOR_NAMESPACE, eventually,
    find_process, incomplete_tag, kill, peak_resident_bytes, push_big_image, run,
};

/// The big image on its way into the secure registry.
struct Transfer<'a> {
    cluster: &'a Cluster,
    namespace: &'a Namespace,
    repository: String,
    mirror: Mirror<'a>,
}

impl<'a> Transfer<'a> {
    async fn start(cluster: &'a Cluster, namespace: &'a Namespace) -> Self {
        push_big_image(&cluster.plain).await;
        let repository = format!("{}/big", namespace.name);
        let spec = json!({
            "interval": "15s",
            "sources": [{"image": format!("{}/{BIG_IMAGE}", cluster.plain.host), "insecure": true}],
            "destinations": [{
                "prefix": format!("{}/{}", cluster.secure.host, namespace.name), "path": "big",
                "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
            }],
        });
        let mirror = Mirror::apply(cluster, namespace, "big", &spec);
        Self {
            cluster,
            namespace,
            repository,
            mirror,
        }
    }

    /// Waits until the layer is half-way.
    async fn wait_half_way(&self) {
        eventually("a layer on its way", || async {
            let bytes = self.cluster.secure.uploading_bytes(&self.repository);
            if bytes > BIG_LAYER_BYTES / 64 {
                Ok(())
            } else {
                Err(format!("{bytes} bytes so far"))
            }
        })
        .await;
        assert_eq!(
            self.cluster
                .secure
                .manifest(&format!("{}:1", self.repository)),
            None,
            "it was too fast"
        );
    }

    /// Interrupts the transfer while watching the tag, then waits until all is well.
    async fn survives(&self, interrupt: impl Future<Output = ()>) {
        let story = async {
            self.wait_half_way().await;
            interrupt.await;
            self.mirror.wait_ready().await;
        };
        tokio::select! {
            () = story => {}
            missing = incomplete_tag(&self.cluster.secure, &self.repository, "1") => {
                panic!("the tag pointed at an image without {missing}");
            }
        }
        let name = format!("{}:1", self.repository);
        assert_eq!(
            self.cluster.secure.manifest(&name),
            self.cluster.plain.manifest(BIG_IMAGE)
        );
        self.cluster.secure.read_completely(&name);
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_in_the_middle_of_a_layer() {
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("killed-worker");
    let transfer = Transfer::start(&cluster, &namespace).await;
    let sessions = format!("/v2/{}/blobs/uploads/", transfer.repository);
    let asked_for_offset = ["\"GET ", &sessions];
    let log = cluster.secure.access_log();
    transfer
        .survives(async {
            let (_, uid) = transfer.mirror.worker_pod().await;
            assert_eq!(log.lines_with(&asked_for_offset), [""; 0]);
            kill(find_process(&uid, "worker").expect("a worker"));
        })
        .await;
    assert_eq!(namespace.jobs().len(), 1, "the same Job goes on");
    let restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let restarts = namespace.kubectl(&["get", "pods", "--output", restarts]);
    assert_eq!(restarts, "1", "the same pod starts its container again");
    // Who asks has found the state that the killed process left in the pod's volume.
    assert_ne!(log.lines_with(&asked_for_offset), [""; 0]);
}

#[tokio::test]
async fn a_registry_that_restarts_in_the_middle_of_a_layer() {
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("restarted-registry");
    let transfer = Transfer::start(&cluster, &namespace).await;
    transfer
        .survives(async {
            run(&[&cluster.script, "registry", "restart", "secure"]);
        })
        .await;
}

#[tokio::test]
async fn a_job_that_is_deleted_in_the_middle_of_a_layer() {
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("deleted-job");
    let transfer = Transfer::start(&cluster, &namespace).await;
    transfer
        .survives(async {
            transfer
                .namespace
                .kubectl(&["delete", "jobs", "--all", "--wait=false"]);
        })
        .await;
}

#[tokio::test]
async fn a_leader_that_is_killed_in_the_middle_of_a_copy() {
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("killed-leader");
    let transfer = Transfer::start(&cluster, &namespace).await;
    let leader = Cluster::leader().await;
    transfer
        .survives(async {
            let uid = run(&[
                "kubectl",
                "get",
                "pod",
                &leader,
                "--namespace",
                OPERATOR_NAMESPACE,
                "--output",
                "jsonpath={.metadata.uid}",
            ]);
            kill(find_process(&uid, "controller").expect("the leader"));
        })
        .await;
    assert_eq!(
        namespace.jobs().len(),
        1,
        "whoever leads finds the run that has been started"
    );
}

#[tokio::test]
async fn a_spec_that_changes_in_the_middle_of_a_copy() {
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("changed-spec");
    let transfer = Transfer::start(&cluster, &namespace).await;
    transfer.wait_half_way().await;
    let before = transfer.mirror.get().await.status.unwrap().run.unwrap().job;
    let source = json!({"spec": {"sources": [{"image": format!("{}/library/busybox:1", cluster.plain.host), "insecure": true}]}});
    namespace.kubectl(&[
        "patch",
        "imir",
        "big",
        "--type=merge",
        "--patch",
        &source.to_string(),
    ]);

    let ready = transfer.mirror.wait_ready().await;

    assert_ne!(ready.status.unwrap().run.unwrap().job, before);
    let busybox = cluster.plain.manifest("library/busybox:1");
    assert_eq!(
        cluster
            .secure
            .manifest(&format!("{}:1", transfer.repository)),
        busybox
    );
    assert!(!namespace.jobs().contains(&before));
}

#[tokio::test]
async fn a_layer_of_a_gibibyte_needs_little_memory() {
    const LIMIT: u64 = 64 << 20;
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("memory");
    let transfer = Transfer::start(&cluster, &namespace).await;
    transfer.wait_half_way().await;
    let (pod, uid) = transfer.mirror.worker_pod().await;
    let worker = find_process(&uid, "worker").expect("a worker");
    let mut sampled = 0;
    while let Some(bytes) = peak_resident_bytes(worker) {
        sampled = sampled.max(bytes);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let ready = transfer.mirror.wait_ready().await;

    assert!(
        ready
            .status
            .as_ref()
            .unwrap()
            .run
            .as_ref()
            .unwrap()
            .bytes
            .unsigned_abs()
            > BIG_LAYER_BYTES,
        "{:?}",
        ready.uid()
    );
    let log = namespace.kubectl(&["logs", &pod]);
    let finished = log
        .lines()
        .find(|line| line.contains("run finished"))
        .expect("a last line");
    let finished: serde_json::Value = serde_json::from_str(finished).unwrap();
    let reported = finished["peak_resident_bytes"].as_u64().unwrap();
    assert!(
        sampled > 0 && sampled <= reported + (1 << 20),
        "sampled {sampled}, reported {reported}"
    );
    assert!(reported < LIMIT, "{reported} bytes at the peak");
}
