//! Sources move, and people move destination tags: the mirror follows the one and mends the other.

use serde_json::json;

use crate::harness::{Cluster, Mirror, Namespace};

/// Source and destination repositories of a test, both in the plain registry.
struct Setting {
    cluster: Cluster,
    namespace: Namespace,
    source: String,
    destination: String,
}

impl Setting {
    async fn new(purpose: &str) -> Self {
        let cluster = Cluster::shared().await;
        let namespace = cluster.namespace(purpose);
        let source = format!("{}/source:1", namespace.name);
        let destination = format!("{}/destination:1", namespace.name);
        cluster.plain.copy("library/debian:12", &source);
        Self {
            cluster,
            namespace,
            source,
            destination,
        }
    }

    fn mirror(&self) -> Mirror<'_> {
        self.mirror_with("Correct")
    }

    fn mirror_with(&self, drift: &str) -> Mirror<'_> {
        let host = &self.cluster.plain.host;
        let spec = json!({
            "drift": drift,
            "sources": [{"image": format!("{host}/{}", self.source), "insecure": true}],
            "destinations": [{
                "prefix": format!("{host}/{}", self.namespace.name), "path": "destination", "insecure": true,
            }],
        });
        Mirror::apply(&self.cluster, &self.namespace, "drift", &spec)
    }

    fn assert_in_place(&self) {
        let source = self.cluster.plain.manifest(&self.source);
        assert!(source.is_some());
        assert_eq!(self.cluster.plain.manifest(&self.destination), source);
        self.cluster.plain.read_completely(&self.destination);
    }
}

#[tokio::test]
async fn a_moved_source_tag_is_followed() {
    let setting = Setting::new("moved-source").await;
    let mirror = setting.mirror();
    mirror.wait_ready().await;
    setting
        .cluster
        .plain
        .copy("library/debian:12-docker", &setting.source);
    mirror.scan().await;
    mirror.wait_ready().await;
    setting.assert_in_place();
    assert!(!mirror.has_event("DriftDetected"));
}

#[tokio::test]
async fn a_destination_tag_that_was_moved_by_hand_is_put_back() {
    let setting = Setting::new("moved-destination").await;
    let mirror = setting.mirror();
    mirror.wait_ready().await;
    setting
        .cluster
        .plain
        .copy("library/busybox:1", &setting.destination);
    mirror.scan().await;
    mirror.wait_ready().await;
    setting.assert_in_place();
    assert!(mirror.has_event("DriftDetected"));
}

#[tokio::test]
async fn a_deleted_destination_tag_returns() {
    let setting = Setting::new("deleted-destination").await;
    let mirror = setting.mirror();
    mirror.wait_ready().await;
    setting.cluster.plain.delete(&setting.destination);
    assert_eq!(setting.cluster.plain.manifest(&setting.destination), None);
    mirror.scan().await;
    mirror.wait_ready().await;
    setting.assert_in_place();
    assert!(mirror.has_event("DriftDetected"));
}

#[tokio::test]
async fn a_tag_that_was_moved_is_reported_and_left_when_that_is_wanted() {
    let setting = Setting::new("reported-drift").await;
    let mirror = setting.mirror_with("Report");
    mirror.wait_ready().await;
    let plain = &setting.cluster.plain;
    plain.copy("library/busybox:1", &setting.destination);
    let moved = plain.manifest(&setting.destination);
    mirror.scan().await;
    let status = mirror
        .wait_failed("DriftDetected", true)
        .await
        .status
        .unwrap();
    assert_eq!((status.drifted, status.pending, status.failed), (1, 0, 0));
    let message = &status.conditions[0].message;
    assert!(message.starts_with("1 of 1 image drifted: "), "{message}");
    assert_eq!(plain.manifest(&setting.destination), moved);
    assert!(mirror.has_event("DriftDetected"));

    let mirror = setting.mirror_with("Correct");
    mirror.wait_ready().await;
    setting.assert_in_place();
}

#[tokio::test]
async fn the_interval_alone_brings_a_change() {
    let setting = Setting::new("interval").await;
    let mirror = setting.mirror();
    mirror.wait_ready().await;
    setting.namespace.kubectl(&[
        "patch",
        "imir",
        "drift",
        "--type=merge",
        "--patch",
        r#"{"spec":{"interval":"10s"}}"#,
    ]);
    mirror.wait_ready().await;
    let start = mirror.get().await.status.unwrap().last_scan_time.unwrap().0;
    setting
        .cluster
        .plain
        .copy("library/busybox:1", &setting.source);
    mirror
        .wait_until("a scan of its own", |mirror| {
            let status = mirror.status.clone().unwrap();
            let synced = status.last_sync_time.is_some_and(|time| time.0 > start);
            if synced {
                Ok(())
            } else {
                Err("not synced again".to_owned())
            }
        })
        .await;
    setting.assert_in_place();
}
