//! What a copy asks of registries: the figures that docs/adr/0009-requests-of-a-copy.md promises.

use axum::http::Method;
use transship::copy::Effect;

use super::scene::{Scene, Wish, wish};
use crate::support::registry::Endpoint;

const TAGS: usize = 12;

fn tags() -> Vec<Wish> {
    (0..TAGS)
        .map(|tag| wish("team/app", "mirror/app", &format!("v{tag}")))
        .collect()
}

/// Twelve tags of two platforms that share two layers.
async fn scene() -> Scene {
    let scene = Scene::start().await;
    for wish in tags() {
        scene.seed_index("team/app", &wish.from.1, &[b"base", b"runtime"]);
    }
    scene
}

#[tokio::test]
async fn new_tags_cost_their_manifests_and_two_requests_for_each_new_blob() {
    let scene = scene().await;
    let (outcomes, counts) = scene.copy(&tags()).await;

    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    assert!(tags().iter().all(|wish| scene.is_in_place(wish)));
    scene.destination.assert_never_incomplete();
    assert_eq!(scene.destination.duplicate_uploads(), []);
    // Each image has a layer and a config of its own.
    let blobs = 2 + TAGS * 2 * 2;
    assert_eq!(counts.sent, blobs as u64);
    let destination = |method, endpoint| scene.destination.count(&method, endpoint);
    assert_eq!(destination(Method::POST, Endpoint::Uploads), blobs);
    assert_eq!(destination(Method::PUT, Endpoint::Session), blobs);
    assert_eq!(destination(Method::PUT, Endpoint::Manifest), 3 * TAGS);
    assert_eq!(destination(Method::HEAD, Endpoint::Blob), 0);
    assert_eq!(destination(Method::HEAD, Endpoint::Manifest), 0);
    // Once before, to learn what is there, and once after, to see what arrived.
    assert_eq!(destination(Method::GET, Endpoint::Tags), 2);
    let source = |method, endpoint| scene.source.count(&method, endpoint);
    assert_eq!(source(Method::HEAD, Endpoint::Manifest), 0);
    assert_eq!(source(Method::GET, Endpoint::Manifest), 3 * TAGS);
    assert_eq!(source(Method::GET, Endpoint::Blob), blobs);
}

#[tokio::test]
async fn unchanged_tags_cost_one_look_on_each_side() {
    let scene = scene().await;
    scene.copy(&tags()).await;
    let before = (
        scene.source.requests().len(),
        scene.destination.requests().len(),
    );
    let (outcomes, counts) = scene.copy(&tags()).await;

    assert!(
        outcomes.iter().flatten().all(|outcome| outcome
            .as_ref()
            .is_ok_and(|done| done.effect == Effect::Unchanged)),
        "{outcomes:?}"
    );
    assert_eq!(counts.sent + counts.mounted + counts.existing, 0);
    let destination = &scene.destination.requests()[before.1..];
    let heads = destination
        .iter()
        .filter(|request| request.method == Method::HEAD);
    assert_eq!(heads.count(), TAGS);
    assert_eq!(destination.len(), TAGS + 1, "and one list of tags");
    let source = &scene.source.requests()[before.0..];
    let heads = source
        .iter()
        .filter(|request| request.method == Method::HEAD);
    assert_eq!(heads.count(), TAGS);
    assert!(
        source
            .iter()
            .all(|request| request.endpoint != Endpoint::Blob),
        "nothing is read"
    );
}

#[tokio::test]
async fn cases_15_and_29_a_blob_moves_once_and_is_mounted_into_every_other_repository() {
    let scene = Scene::start().await;
    let repositories = ["a", "b", "c", "d", "e", "f"];
    for repository in repositories {
        scene
            .source
            .seed_image(repository, Some("v1"), &[b"base", repository.as_bytes()]);
    }
    let wishes: Vec<_> = repositories
        .iter()
        .map(|repository| wish(repository, repository, "v1"))
        .collect();
    let (outcomes, counts) = scene.copy(&wishes).await;

    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    assert!(wishes.iter().all(|wish| scene.is_in_place(wish)));
    assert_eq!(scene.destination.duplicate_uploads(), []);
    assert_eq!(counts.mounted, 5);
    assert_eq!(counts.sent, 1 + 2 * 6);
}

#[tokio::test]
async fn several_tags_of_one_image_send_it_once() {
    let scene = Scene::start().await;
    scene.seed_index("app", "v1", &[b"base"]);
    let stored = scene.source.manifest("app", "v1").unwrap();
    let document = serde_json::from_slice(&stored.bytes).unwrap();
    for tag in ["v1.2", "latest"] {
        scene.source.seed_manifest("app", Some(tag), &document);
    }
    let wishes = ["v1", "v1.2", "latest"].map(|tag| wish("app", "app", tag));
    let (outcomes, _) = scene.copy(&wishes).await;

    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    assert!(wishes.iter().all(|wish| scene.is_in_place(wish)));
    assert_eq!(scene.destination.duplicate_uploads(), []);
    let manifests = scene.destination.count(&Method::PUT, Endpoint::Manifest);
    assert_eq!(
        manifests,
        2 + 3,
        "two platforms, and the index under each tag"
    );
}

#[tokio::test]
async fn case_48_an_image_of_which_the_destination_lost_a_part_is_made_whole() {
    let scene = Scene::start().await;
    scene.seed_index("app", "v1", &[b"base"]);
    scene.copy(&[wish("app", "app", "v1")]).await;
    let base = transship::oci::Digest::sha256(b"base");
    scene.destination.lose_blob("app", &base);
    // The children are there and hide what is missing, until the new index is refused.
    scene.seed_index("app", "v2", &[b"base"]);
    let wishes = [wish("app", "app", "v2")];
    let (outcomes, _) = scene.copy(&wishes).await;

    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    assert!(scene.is_in_place(&wishes[0]));
    assert!(scene.destination.blob("app", &base).is_some());
}
