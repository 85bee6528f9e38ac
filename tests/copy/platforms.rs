//! Some platforms of an index: under the old index, or under a new one.

use axum::http::Method;
use serde_json::Value;
use transship::copy::{Effect, Options, Selection};
use transship::reason::Reason;

use super::scene::{Scene, wish};
use crate::support::registry::{Endpoint, Registry};

fn only_arm64(selection: fn(Vec<transship::oci::Platform>) -> Selection) -> Options {
    Options {
        platforms: selection(vec!["linux/arm64".parse().unwrap()]),
        ..Options::default()
    }
}

fn architectures(registry: &Registry, repository: &str, tag: &str) -> Vec<String> {
    let index = registry.manifest(repository, tag).unwrap();
    let index: Value = serde_json::from_slice(&index.bytes).unwrap();
    let entries = index.pointer("/manifests").unwrap().as_array().unwrap();
    entries
        .iter()
        .map(|entry| {
            entry
                .pointer("/platform/architecture")
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn a_new_index_names_the_wanted_platforms_and_nothing_else_is_sent() {
    let scene = Scene::start().await;
    scene.seed_index("app", "v1", &[b"base"]);
    let wishes = [wish("app", "m/app", "v1")];
    let (outcomes, counts) = scene
        .copy_with(&wishes, only_arm64(Selection::Rewrite))
        .await;

    let done = outcomes[0][0].as_ref().unwrap();
    assert_ne!(done.source, done.digest);
    assert_eq!(architectures(&scene.destination, "m/app", "v1"), ["arm64"]);
    assert_eq!(counts.sent, 3, "a config, the base and a layer");
    scene.destination.assert_never_incomplete();

    // The second run sees that the index which it would write is there.
    let (outcomes, counts) = scene
        .copy_with(&wishes, only_arm64(Selection::Rewrite))
        .await;
    assert_eq!(outcomes[0][0].as_ref().unwrap().effect, Effect::Unchanged);
    assert_eq!(counts.sent, 0);
}

#[tokio::test]
async fn one_image_is_copied_without_its_index() {
    let scene = Scene::start().await;
    scene.seed_index("app", "v1", &[b"base"]);
    let wishes = [wish("app", "m/app", "v1")];
    let options = only_arm64(|mut platforms| Selection::Image(platforms.remove(0)));
    let (outcomes, counts) = scene.copy_with(&wishes, options.clone()).await;

    let done = outcomes[0][0].as_ref().unwrap();
    let index = scene.source.manifest("app", "v1").unwrap();
    let index: Value = serde_json::from_slice(&index.bytes).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let arm64 = entries
        .iter()
        .find(|entry| entry["platform"]["architecture"] == "arm64")
        .unwrap();
    assert_eq!(arm64["digest"], done.digest.as_str());
    assert_ne!(done.source, done.digest);
    let written = scene.destination.manifest("m/app", "v1").unwrap();
    assert_eq!(transship::oci::Digest::sha256(&written.bytes), done.digest);
    assert_eq!(counts.sent, 3, "a config, the base and a layer");
    scene.destination.assert_never_incomplete();

    let (outcomes, counts) = scene.copy_with(&wishes, options).await;
    assert_eq!(outcomes[0][0].as_ref().unwrap().effect, Effect::Unchanged);
    assert_eq!(counts.sent, 0);
}

#[tokio::test]
async fn case_47_a_registry_that_wants_all_children_refuses_a_sparse_index() {
    let scene = Scene::start().await;
    scene.seed_index("app", "v1", &[b"base"]);
    let (outcomes, _) = scene
        .copy_with(&[wish("app", "m/app", "v1")], only_arm64(Selection::Sparse))
        .await;

    let failure = outcomes[0][0].as_ref().unwrap_err();
    assert_eq!(failure.reason, Reason::DestinationUnsupported);
    assert!(failure.message.contains("rewritten"), "{failure}");
    assert_eq!(scene.destination.manifest("m/app", "v1"), None);
    let blobs = scene.destination.count(&Method::PUT, Endpoint::Session);
    assert!(blobs >= 3, "the wanted platform was sent");
}
