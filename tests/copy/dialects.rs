//! Images to and from registries that behave like the big ones.

use axum::http::Method;
use rstest::rstest;
use serde_json::json;
use transship::copy::Effect;
use transship::reason::Reason;

use super::scene::{Scene, wish};
use crate::support::registry::{Dialect, Endpoint, Registry};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[derive(Clone, Copy, Debug)]
enum End {
    Source,
    Destination,
}

async fn scene(dialect: Dialect, end: End) -> Scene {
    let speaks = Registry::builder().dialect(dialect).start().await;
    let plain = Registry::start().await;
    match end {
        End::Source => Scene::between(speaks, plain),
        End::Destination => Scene::between(plain, speaks),
    }
}

/// A signature of the index `app:v1`, and the tag that lists it where there is no referrers API.
fn seed_signed_index(scene: &Scene, dialect: Dialect, end: End) {
    let index = scene.seed_index("app", "v1", &[b"base"]);
    let empty = scene.source.seed_blob("app", b"{}");
    let empty =
        json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2});
    let size = scene.source.manifest("app", "v1").unwrap().bytes.len();
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": empty,
        "layers": [empty],
        "subject": {
            "mediaType": "application/vnd.oci.image.index.v1+json", "digest": index, "size": size,
        },
    });
    let digest = scene
        .source
        .seed_manifest("app", Some("signature"), &signature);
    if matches!(end, End::Source) && !dialect.has_referrers() {
        let list = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": MANIFEST, "digest": digest, "size": signature.to_string().len(),
            }],
        });
        let tag = index.as_str().replace(':', "-");
        scene.source.seed_manifest("app", Some(&tag), &list);
    }
}

#[rstest]
#[tokio::test]
async fn a_signed_index_goes_through(
    #[values(
        Dialect::DockerHub,
        Dialect::Ghcr,
        Dialect::Ecr,
        Dialect::Gar,
        Dialect::Acr,
        Dialect::Quay,
        Dialect::Harbor,
        Dialect::Artifactory
    )]
    dialect: Dialect,
    #[values(End::Source, End::Destination)] end: End,
) {
    let scene = scene(dialect, end).await;
    seed_signed_index(&scene, dialect, end);
    for repository in ["m/app", "m/other"] {
        scene.destination.create_repository(repository);
    }
    let signature = scene.source.manifest("app", "signature").unwrap();
    let signature = transship::oci::Digest::sha256(&signature.bytes);
    let wishes = [wish("app", "m/app", "v1"), wish("app", "m/other", "v1")];
    let (outcomes, counts) = scene.copy(&wishes).await;

    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    scene.destination.assert_never_incomplete();
    for wish in &wishes {
        assert!(scene.is_in_place(wish));
        let referrer = scene.destination.manifest(wish.to.0, signature.as_str());
        assert_eq!(referrer, scene.source.manifest("app", signature.as_str()));
    }
    let mounts = matches!(end, End::Source) || dialect.mounts();
    assert_eq!(counts.mounted > 0, mounts);
    assert_eq!(scene.destination.duplicate_uploads().is_empty(), mounts);
    assert_eq!(scene.destination.open_sessions("m/other"), 0);
}

#[tokio::test]
async fn case_20_where_nothing_is_mounted_the_session_of_the_attempt_is_used() {
    let scene = scene(Dialect::Ecr, End::Destination).await;
    for repository in ["a", "b"] {
        scene.source.seed_image(repository, Some("v1"), &[b"base"]);
        scene.destination.create_repository(repository);
    }
    let (outcomes, counts) = scene
        .copy(&[wish("a", "a", "v1"), wish("b", "b", "v1")])
        .await;

    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    assert_eq!((counts.sent, counts.mounted), (4, 0));
    assert_eq!(scene.destination.count(&Method::POST, Endpoint::Uploads), 4);
    assert_eq!(scene.destination.count(&Method::PUT, Endpoint::Session), 4);
}

#[tokio::test]
async fn case_62_a_repository_that_must_exist_first_is_said_to_be_absent() {
    let scene = scene(Dialect::Ecr, End::Destination).await;
    scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let (outcomes, _) = scene.copy(&[wish("app", "m/app", "v1")]).await;

    let failure = outcomes[0][0].as_ref().unwrap_err();
    assert_eq!(failure.reason, Reason::RegistryError, "{failure}");
    for words in ["m/app", "NAME_UNKNOWN"] {
        assert!(failure.message.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn case_61_what_is_absent_may_be_forbidden() {
    let scene = scene(Dialect::Artifactory, End::Destination).await;
    scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let wishes = [wish("app", "m/app", "v1")];
    let (outcomes, _) = scene.copy(&wishes).await;

    assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
    assert!(scene.is_in_place(&wishes[0]));
}

#[tokio::test]
async fn case_59_pages_of_a_hundred_tags_are_all_read() {
    let scene = scene(Dialect::Harbor, End::Source).await;
    for tag in 0..250 {
        scene
            .source
            .seed_image("app", Some(&format!("v{tag}")), &[b"layer"]);
    }
    let client = crate::support::client(scene.source.host(), &crate::support::plain());
    let app = crate::support::repository("app");
    let list = client.list_tags(&app, 10_000).await.unwrap().unwrap();
    assert_eq!((list.tags.len(), list.truncated), (250, false));
    assert_eq!(scene.source.count(&Method::GET, Endpoint::Tags), 3);
}

#[tokio::test]
async fn case_73_an_unchanged_tag_costs_no_quota() {
    let scene = scene(Dialect::DockerHub, End::Source).await;
    scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let wishes = [wish("app", "m/app", "v1")];
    scene.copy(&wishes).await;
    let reads = scene.source.count(&Method::GET, Endpoint::Manifest);
    let (outcomes, _) = scene.copy(&wishes).await;

    assert!(
        outcomes[0][0]
            .as_ref()
            .is_ok_and(|copied| copied.effect == Effect::Unchanged)
    );
    assert_eq!(scene.source.count(&Method::GET, Endpoint::Manifest), reads);
}

#[tokio::test]
async fn case_52_a_type_that_the_destination_does_not_know_is_reported() {
    let scene = scene(Dialect::Quay, End::Destination).await;
    let blob = scene.source.seed_blob("app", b"content");
    let artifact = json!({
        "mediaType": "application/vnd.oci.artifact.manifest.v1+json",
        "artifactType": "application/vnd.example",
        "blobs": [{"mediaType": "application/octet-stream", "digest": blob, "size": 7}],
    });
    scene.source.seed_manifest("app", Some("v1"), &artifact);
    let (outcomes, _) = scene.copy(&[wish("app", "m/app", "v1")]).await;

    let failure = outcomes[0][0].as_ref().unwrap_err();
    assert_eq!(failure.reason, Reason::RegistryError, "{failure}");
    assert!(failure.message.contains("MANIFEST_INVALID"), "{failure}");
}
