//! What is not wanted any more is removed, and nothing that somebody else has put there.

use serde_json::{Value, json};

use crate::harness::{Cluster, Mirror, Namespace, eventually};

fn spec(cluster: &Cluster, namespace: &Namespace, fields: &Value) -> Value {
    let host = &cluster.plain.host;
    let mut spec = json!({
        "sources": [{"repository": format!("{host}/{}/source", namespace.name), "insecure": true}],
        "destinations": [{
            "prefix": format!("{host}/{}", namespace.name), "path": "destination", "insecure": true,
        }],
    });
    for (name, value) in fields.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

/// Two images at the source, and one of somebody else at the destination.
fn push(cluster: &Cluster, namespace: &Namespace) {
    let name = |repository: &str, tag: &str| format!("{}/{repository}:{tag}", namespace.name);
    cluster
        .plain
        .copy("library/busybox:1", &name("source", "small"));
    cluster
        .plain
        .copy("library/debian:12", &name("source", "large"));
    cluster
        .plain
        .copy("library/debian:12-docker", &name("destination", "foreign"));
}

fn at_destination(cluster: &Cluster, namespace: &Namespace, tag: &str) -> Option<String> {
    cluster
        .plain
        .manifest(&format!("{}/destination:{tag}", namespace.name))
}

#[tokio::test]
async fn a_tag_that_its_source_lost_is_planned_and_then_removed() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("prune");
    push(&cluster, &namespace);
    let prune = |mode: &str, percent: i32| json!({"prune": {"mode": mode, "grace": "0s", "maxPercent": percent}});
    let planned = spec(&cluster, &namespace, &prune("Plan", 50));
    let mirror = Mirror::apply(&cluster, &namespace, "prune", &planned);
    let status = mirror.wait_ready().await.status.unwrap();
    let prune_status = status.prune.unwrap();
    assert_eq!((prune_status.written, prune_status.unwanted), (2, 0));

    cluster
        .plain
        .delete(&format!("{}/source:small", namespace.name));
    mirror.scan().await;
    let status = mirror.scan().await.status.unwrap();
    let prune_status = status.prune.unwrap();
    assert_eq!((prune_status.written, prune_status.unwanted), (2, 1));
    let host = &cluster.plain.host;
    let reference = format!("{host}/{}/destination:small", namespace.name);
    assert_eq!(prune_status.tags[0].reference, reference);
    assert!(at_destination(&cluster, &namespace, "small").is_some());

    // Of two tags one is half: ten percent would be one, none at all is none.
    let blocked = spec(&cluster, &namespace, &prune("Delete", 0));
    let mirror = Mirror::apply(&cluster, &namespace, "prune", &blocked);
    mirror.wait_ready().await;
    let message = mirror
        .scan()
        .await
        .status
        .unwrap()
        .prune
        .unwrap()
        .message
        .unwrap();
    assert!(message.contains("maxPercent"), "{message}");
    assert!(at_destination(&cluster, &namespace, "small").is_some());

    // The record is what is believed, not the status.
    namespace.kubectl(&[
        "patch",
        "imir",
        "prune",
        "--subresource=status",
        "--type=merge",
        "--patch",
        r#"{"status":{"prune":null}}"#,
    ]);
    let wanted = spec(&cluster, &namespace, &prune("Delete", 50));
    let mirror = Mirror::apply(&cluster, &namespace, "prune", &wanted);
    eventually("the tag to be removed", || async {
        match at_destination(&cluster, &namespace, "small") {
            None => Ok(()),
            Some(_) => Err("it is still there".to_owned()),
        }
    })
    .await;
    assert!(at_destination(&cluster, &namespace, "large").is_some());
    assert!(at_destination(&cluster, &namespace, "foreign").is_some());
    let status = mirror.scan().await.status.unwrap();
    assert_eq!(status.summary, "1/1");
    assert_eq!(status.prune.unwrap().unwanted, 0);
    assert!(mirror.has_event("Pruned"));
}

#[tokio::test]
async fn a_deleted_mirror_takes_along_what_it_wrote_when_it_is_to() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("delete-images");
    push(&cluster, &namespace);
    let deleting = spec(&cluster, &namespace, &json!({"deletionPolicy": "Delete"}));
    let mirror = Mirror::apply(&cluster, &namespace, "deleted", &deleting);
    let ready = mirror.wait_ready().await;
    assert_eq!(
        ready.metadata.finalizers.unwrap(),
        ["transship.dev/remove-images"]
    );
    // What somebody has moved is not the mirror's any more.
    let moved = format!("{}/destination:large", namespace.name);
    cluster.plain.copy("library/debian:12-docker", &moved);

    namespace.kubectl(&["delete", "imir", "deleted", "--timeout=60s"]);
    assert_eq!(at_destination(&cluster, &namespace, "small"), None);
    assert!(at_destination(&cluster, &namespace, "large").is_some());
    assert!(at_destination(&cluster, &namespace, "foreign").is_some());
    assert!(
        cluster
            .plain
            .manifest(&format!("{}/source:small", namespace.name))
            .is_some()
    );
}

#[tokio::test]
async fn a_deleted_mirror_whose_policy_is_to_leave_images_has_no_finalizer_any_more() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("orphan-images");
    push(&cluster, &namespace);
    let deleting = spec(&cluster, &namespace, &json!({"deletionPolicy": "Delete"}));
    Mirror::apply(&cluster, &namespace, "changed", &deleting)
        .wait_ready()
        .await;
    let leaving = spec(&cluster, &namespace, &json!({"deletionPolicy": "Orphan"}));
    let mirror = Mirror::apply(&cluster, &namespace, "changed", &leaving);
    mirror
        .wait_until("no finalizer", |mirror| {
            match mirror.metadata.finalizers.as_deref().unwrap_or_default() {
                [] => Ok(()),
                left => Err(format!("{left:?}")),
            }
        })
        .await;
    namespace.kubectl(&["delete", "imir", "changed", "--timeout=30s"]);
    assert!(at_destination(&cluster, &namespace, "small").is_some());
}
