//! Images of every shape: what is sent of them, and what is not.

use axum::http::Method;
use serde_json::{Value, json};
use transship::oci::Digest;
use transship::reason::Reason;

use super::scene::{Scene, wish};
use crate::support::registry::Endpoint;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(content), "size": content.len()})
}

fn image(config: &Value, layers: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
}

/// Puts an image with these layers and an empty config into the source as `app:v1`.
fn seed(scene: &Scene, config: &Value, layers: &[Value]) {
    scene
        .source
        .seed_manifest("app", Some("v1"), &image(config, layers));
}

#[tokio::test]
async fn cases_33_and_36_content_in_the_descriptor_is_pushed_and_not_asked_for() {
    let scene = Scene::start().await;
    let mut config = descriptor("application/vnd.oci.empty.v1+json", b"{}");
    config["data"] = json!("e30=");
    scene.source.seed_blob("app", b"{}");
    seed(&scene, &config, &[]);
    let wishes = [wish("app", "m/app", "v1")];
    let (outcomes, counts) = scene.copy(&wishes).await;

    assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
    assert!(scene.is_in_place(&wishes[0]));
    assert_eq!(counts.sent, 1);
    assert_eq!(scene.source.count(&Method::GET, Endpoint::Blob), 0);
}

#[tokio::test]
async fn case_34_a_layer_that_is_there_twice_is_sent_once() {
    let scene = Scene::start().await;
    scene
        .source
        .seed_image("app", Some("v1"), &[b"same", b"same"]);
    let wishes = [wish("app", "m/app", "v1")];
    let (outcomes, counts) = scene.copy(&wishes).await;

    assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
    assert!(scene.is_in_place(&wishes[0]));
    assert_eq!(counts.sent, 2, "the config and the layer");
    assert_eq!(scene.destination.duplicate_uploads(), []);
}

#[tokio::test]
async fn case_32_an_empty_layer_is_a_layer() {
    let scene = Scene::start().await;
    scene.source.seed_image("app", Some("v1"), &[b"", b"other"]);
    let wishes = [wish("app", "m/app", "v1")];
    let (outcomes, _) = scene.copy(&wishes).await;

    assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
    assert!(scene.is_in_place(&wishes[0]));
}

#[tokio::test]
async fn case_50_a_tag_that_the_source_lost_fails_alone() {
    let scene = Scene::start().await;
    scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let wishes = [wish("app", "m/app", "v1"), wish("app", "m/app", "gone")];
    let (outcomes, _) = scene.copy(&wishes).await;

    assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
    let failure = outcomes[1][0].as_ref().unwrap_err();
    assert_eq!(failure.reason, Reason::SourceNotFound);
    assert!(failure.message.contains("gone"), "{failure}");
}

#[tokio::test]
async fn case_51_an_artifact_is_copied_without_looking_into_it() {
    let scene = Scene::start().await;
    let chart = b"not a tar file at all";
    scene.source.seed_blob("app", b"not even json");
    scene.source.seed_blob("app", chart);
    seed(
        &scene,
        &descriptor("application/vnd.cncf.helm.config.v1+json", b"not even json"),
        &[descriptor(
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            chart,
        )],
    );
    let wishes = [wish("app", "m/app", "v1")];
    let (outcomes, _) = scene.copy(&wishes).await;

    assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
    assert!(scene.is_in_place(&wishes[0]));
}

#[tokio::test]
async fn case_86_an_encrypted_layer_is_copied_as_it_is() {
    let scene = Scene::start().await;
    let layer = format!("{LAYER}+gzip+encrypted");
    scene.source.seed_blob("app", b"config");
    scene.source.seed_blob("app", b"ciphertext");
    seed(
        &scene,
        &descriptor(CONFIG, b"config"),
        &[descriptor(&layer, b"ciphertext")],
    );
    let wishes = [wish("app", "m/app", "v1")];
    let (outcomes, _) = scene.copy(&wishes).await;

    assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
    assert!(scene.is_in_place(&wishes[0]));
}
