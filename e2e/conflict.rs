//! Two mirrors that want the same destination tag: one keeps it, the other leaves it alone.

use serde_json::json;

use crate::harness::{Cluster, Mirror};

#[tokio::test]
async fn the_older_mirror_keeps_the_tag_and_nothing_flaps() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("conflict");
    let host = &cluster.plain.host;
    let spec = |image: &str| {
        json!({
            "sources": [{"image": format!("{host}/{image}"), "insecure": true}],
            "destinations": [{
                "prefix": format!("{host}/{}", namespace.name), "path": "kept", "tag": "1", "insecure": true,
            }],
        })
    };
    let name = format!("{}/kept:1", namespace.name);
    let old = Mirror::apply(&cluster, &namespace, "old", &spec("library/busybox:1"));
    old.wait_ready().await;
    let busybox = cluster.plain.manifest("library/busybox:1");
    assert_eq!(cluster.plain.manifest(&name), busybox);

    let young = Mirror::apply(&cluster, &namespace, "young", &spec("library/debian:12"));
    let refused = young.wait_failed("Conflict", true).await;
    let message = refused.status.unwrap().conditions[0].message.clone();
    assert!(message.contains("ImageMirror old"), "{message}");
    young.scan().await;
    old.scan().await;
    assert_eq!(cluster.plain.manifest(&name), busybox);
    old.wait_ready().await;
    assert!(!old.has_event("DriftDetected"));

    // When it is gone, the other one may.
    namespace.kubectl(&["delete", "imir", "old", "--timeout=30s"]);
    young.scan().await;
    young.wait_ready().await;
    assert_eq!(
        cluster.plain.manifest(&name),
        cluster.plain.manifest("library/debian:12")
    );
}
