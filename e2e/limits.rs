//! How much a worker does at once, and how fast.

use serde_json::json;

use crate::harness::{Cluster, Mirror, OneLayerImage};

const LAYER_BYTES: usize = 8 << 20;
const IMAGES: [&str; 3] = ["one", "two", "three"];

#[tokio::test]
async fn a_worker_copies_so_many_images_at_once_and_no_faster_than_it_may() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("limits");
    let host = &cluster.plain.host;
    let mut sources = Vec::new();
    for (number, name) in (1_u8..).zip(IMAGES) {
        let image = OneLayerImage::new(vec![number; LAYER_BYTES]);
        let repository = format!("{}/{name}", namespace.name);
        cluster.plain.push_image(&image, &repository, "1").await;
        sources.push(json!({"image": format!("{host}/{repository}:1"), "insecure": true}));
    }
    let spec = json!({
        "limits": {"parallelImages": 1, "bandwidth": "1Mi"},
        "sources": sources,
        "destinations": [{
            "prefix": format!("{}/{}", cluster.secure.host, namespace.name), "path": "to/{repository}",
            "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
        }],
    });
    let log = cluster.secure.access_log();
    let mirror = Mirror::apply(&cluster, &namespace, "limited", &spec);

    // A worker tells how far it is every ten seconds: one without a limit would be done before that.
    let under_way = mirror
        .wait_until("a part of the run", |mirror| {
            let run = mirror
                .status
                .as_ref()
                .and_then(|status| status.run.as_ref());
            let run = run.ok_or("no run")?;
            assert_eq!(
                run.completion_time, None,
                "over before it told anything: {run:?}"
            );
            if run.bytes > 0 {
                Ok(())
            } else {
                Err("nothing is told yet".to_owned())
            }
        })
        .await;
    let all = i64::try_from(IMAGES.len() * LAYER_BYTES).unwrap();
    let run = under_way.status.unwrap().run.unwrap();
    assert!(run.bytes < all && run.images_copied < 3, "{run:?}");
    let run = mirror.wait_ready().await.status.unwrap().run.unwrap();
    assert!(run.bytes > all && run.images_copied == 3, "{run:?}");

    // One after the other: what is written to one repository comes in one piece.
    let path = format!("/v2/{}/to/{}/", namespace.name, namespace.name);
    let mut repositories: Vec<String> = log
        .lines_with(&[&path])
        .iter()
        .filter(|line| line.contains("\"POST ") || line.contains("\"PUT "))
        .map(|line| {
            let (_, rest) = line.split_once(&path).unwrap();
            rest.split('/').next().unwrap().to_owned()
        })
        .collect();
    repositories.dedup();
    let mut once_each = repositories.clone();
    once_each.sort();
    assert_eq!(once_each, ["one", "three", "two"], "{repositories:?}");
}
