//! Base images that are taken from where mirrors have them, and images that are mirrored when they are built.

use rstest::rstest;
use serde_json::json;

use super::workshop::Workshop;
use crate::harness::{Build, Mirror};

const DOCKERFILE: &str = "ARG BASE\nFROM ${BASE}\nRUN touch /done\n";

#[rstest]
#[case::buildkit("BuildKit")]
#[case::buildah("Buildah")]
#[tokio::test]
async fn a_build_waits_for_its_base_image_and_its_image_is_mirrored_in_turn(#[case] builder: &str) {
    let workshop = Workshop::open("building-mirrored").await;
    let (cluster, namespace) = (&workshop.cluster, &workshop.namespace);
    // No builder can pull it from there: it speaks no TLS.
    let base = format!("{}/bases/busybox:1", cluster.plain.host);
    let mut spec = workshop.spec("app", DOCKERFILE);
    spec["buildArgs"] = json!([{"name": "BASE", "value": base}]);
    spec["baseImages"] = json!("Mirrored");
    spec["builder"] = json!({"type": builder});
    let build = Build::apply(cluster, namespace, "app", &spec);
    build
        .wait_until("the wait for the mirror", |status| {
            let failure = status.last_failure.as_ref().ok_or("no failure")?;
            let waits = failure.reason == "BaseImageNotMirrored" && failure.message.contains(&base);
            waits.then_some(()).ok_or_else(|| failure.message.clone())
        })
        .await;

    let secure = json!({
        "prefix": format!("{}/{}", cluster.secure.host, namespace.name), "path": "base",
        "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
    });
    let source = json!({"image": base, "insecure": true});
    let before = json!({"sources": [source], "destinations": [secure]});
    Mirror::apply(cluster, namespace, "before", &before)
        .wait_ready()
        .await;
    let status = build.wait_ready().await;
    let mirrored = cluster.secure.digest(&format!("{}/base:1", namespace.name));
    let [known] = &status.base_images[..] else {
        panic!("{:?}", status.base_images);
    };
    assert_eq!(known.from, base);
    assert_eq!(Some(&known.digest), mirrored.as_ref());

    let built = format!("{}/{}:main", cluster.plain.host, workshop.image("app"));
    let mut after = before.clone();
    after["sources"] = json!([{"image": built, "insecure": true}]);
    after["destinations"][0]["path"] = json!("app");
    Mirror::apply(cluster, namespace, "after", &after)
        .wait_ready()
        .await;
    let copied = cluster
        .secure
        .digest(&format!("{}/app:main", namespace.name));
    assert_eq!(copied, Some(status.image.unwrap().digest));
}
