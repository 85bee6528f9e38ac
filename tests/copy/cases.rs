//! What single registries and images do, one case each, through the whole engine.

use axum::http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use transship::copy::Effect;
use transship::oci::{Digest, Manifest, MediaType};
use transship::reason::Reason;

use super::scene::{Scene, wish};
use crate::support::registry::{Action, Endpoint, Rule};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Copies `app:v1` and asserts that it arrived complete and unchanged.
async fn arrives(scene: &Scene) {
    let wishes = [wish("app", "m/app", "v1")];
    let (outcomes, _) = scene.copy(&wishes).await;
    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    assert!(wishes.iter().all(|wish| scene.is_in_place(wish)));
    scene.destination.assert_never_incomplete();
}

fn descriptor(scene: &Scene, media_type: &str, content: &[u8]) -> Value {
    let digest = scene.source.seed_blob("app", content);
    json!({"mediaType": media_type, "digest": digest, "size": content.len()})
}

/// The entry of an index for a manifest that the source has.
fn entry(scene: &Scene, digest: &Digest) -> Value {
    let stored = scene.source.manifest("app", digest.as_str()).unwrap();
    json!({"mediaType": stored.media_type, "digest": digest, "size": stored.bytes.len()})
}

fn seed_index(scene: &Scene, tag: Option<&str>, manifests: &[Value]) -> Digest {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    scene.source.seed_manifest("app", tag, &index)
}

#[rstest]
#[case::case_30_the_session_is_lost(Endpoint::Session, Action::LoseSession)]
#[case::case_30_the_blob_is_acknowledged_and_forgotten(Endpoint::Session, Action::Forget)]
#[case::case_76_the_connection_ends_before_the_answer(Endpoint::Session, Action::LoseAnswer)]
#[case::case_76_the_connection_ends_in_the_upload(Endpoint::Session, Action::CutRequest(3))]
#[case::case_77_a_blob_is_seen_late(Endpoint::Session, Action::ShowLater(3))]
#[case::case_77_a_manifest_is_seen_late(Endpoint::Manifest, Action::ShowLater(2))]
#[case::case_48_garbage_is_collected_before_the_manifest(
    Endpoint::Manifest,
    Action::CollectGarbage
)]
#[case::case_17_the_server_fails(Endpoint::Uploads, Action::status(500))]
#[tokio::test]
async fn a_fault_of_the_destination_that_passes(
    #[case] endpoint: Endpoint,
    #[case] action: Action,
) {
    let scene = Scene::start().await;
    scene.seed_index("app", "v1", &[b"base"]);
    let fault = Rule::on(endpoint, action).times(1);
    scene.destination.add(
        fault.when(|request| matches!(request.method, Method::PUT | Method::POST | Method::PATCH)),
    );
    arrives(&scene).await;
}

#[tokio::test]
async fn case_6_content_at_another_origin_is_read_there() {
    let scene = Scene::start().await;
    let store = crate::support::registry::Registry::start().await;
    scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    store.seed_image("app", None, &[b"layer"]);
    let elsewhere = Action::RedirectTo(format!("http://{}", store.host()));
    scene
        .source
        .add(Rule::on(Endpoint::Blob, elsewhere).method(Method::GET));
    arrives(&scene).await;
    assert_eq!(store.count(&Method::GET, Endpoint::Blob), 2);
}

#[tokio::test]
async fn case_25_a_body_that_is_too_large_for_the_destination_is_reported() {
    let scene = Scene::start().await;
    scene.source.seed_image("app", Some("v1"), &[&[0; 4096]]);
    scene
        .destination
        .add(Rule::on(Endpoint::Session, Action::MaxBody(1024)));
    let (outcomes, _) = scene.copy(&[wish("app", "m/app", "v1")]).await;
    let failure = outcomes[0][0].as_ref().unwrap_err();
    assert!(failure.message.contains("413"), "{failure}");
    assert!(scene.destination.manifest("m/app", "v1").is_none());
}

#[tokio::test]
async fn case_35_one_content_can_be_config_and_layer() {
    let scene = Scene::start().await;
    let image = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(&scene, CONFIG, b"{}"),
        "layers": [descriptor(&scene, LAYER, b"{}")],
    });
    scene.source.seed_manifest("app", Some("v1"), &image);
    arrives(&scene).await;
    assert_eq!(scene.destination.duplicate_uploads(), []);
}

#[tokio::test]
async fn case_42_an_index_in_an_index_is_copied() {
    let scene = Scene::start().await;
    let image = scene.source.seed_image("app", None, &[b"layer"]);
    let inner = seed_index(&scene, None, &[entry(&scene, &image)]);
    seed_index(&scene, Some("v1"), &[entry(&scene, &inner)]);
    arrives(&scene).await;
}

#[tokio::test]
async fn cases_44_and_45_an_index_may_list_blobs_and_name_no_platform() {
    let scene = Scene::start().await;
    let image = scene.source.seed_image("app", None, &[b"layer"]);
    let cache = descriptor(&scene, LAYER, b"a layer of a build cache");
    seed_index(&scene, Some("v1"), &[entry(&scene, &image), cache]);
    arrives(&scene).await;
}

#[tokio::test]
async fn case_63_an_immutable_tag_is_not_moved_and_not_tried_again() {
    let scene = Scene::start().await;
    scene.source.seed_image("app", Some("v1"), &[b"new"]);
    scene.destination.seed_image("m/app", Some("v1"), &[b"old"]);
    let immutable = Rule::on(Endpoint::Manifest, Action::status(409)).method(Method::PUT);
    scene.destination.add(immutable);
    let (outcomes, _) = scene.copy(&[wish("app", "m/app", "v1")]).await;
    let failure = outcomes[0][0].as_ref().unwrap_err();
    assert_eq!(failure.reason, Reason::TagImmutable, "{failure}");
    assert_eq!(scene.destination.count(&Method::PUT, Endpoint::Manifest), 1);
}

#[tokio::test]
async fn case_63_an_immutable_tag_that_is_right_is_left_alone() {
    let scene = Scene::start().await;
    scene.source.seed_image("app", Some("v1"), &[b"same"]);
    scene
        .destination
        .seed_image("m/app", Some("v1"), &[b"same"]);
    let immutable = Rule::on(Endpoint::Manifest, Action::status(409)).method(Method::PUT);
    scene.destination.add(immutable);
    arrives(&scene).await;
}

#[tokio::test]
async fn case_80_layers_that_are_elsewhere_stay_there() {
    let scene = Scene::start().await;
    let foreign = json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": Digest::sha256(b"elsewhere"),
        "size": 9,
        "urls": ["https://layers.example.test/9"],
    });
    let image = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(&scene, CONFIG, b"{}"),
        "layers": [foreign, descriptor(&scene, LAYER, b"here")],
    });
    scene.source.seed_manifest("app", Some("v1"), &image);
    arrives(&scene).await;
    assert_eq!(scene.source.count(&Method::GET, Endpoint::Blob), 2);
}

#[tokio::test]
async fn case_59_a_destination_whose_list_never_ends_is_copied_to() {
    let scene = Scene::start().await;
    scene.seed_index("app", "v1", &[b"base"]);
    scene.destination.seed_image("m/app", Some("v0"), &[b"old"]);
    let endless = Rule::on(Endpoint::Tags, Action::EndlessPages);
    scene.destination.add(endless.times(20));
    arrives(&scene).await;
}

#[tokio::test]
async fn case_38_content_that_a_proxy_compressed_is_refused() {
    let scene = Scene::start().await;
    scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    scene.source.add(Rule::on(Endpoint::Blob, Action::Compress));
    let (outcomes, _) = scene.copy(&[wish("app", "m/app", "v1")]).await;
    let failure = outcomes[0][0].as_ref().unwrap_err();
    assert!(
        failure.message.contains("compressed for transport"),
        "{failure}"
    );
    assert!(scene.destination.manifest("m/app", "v1").is_none());
}

#[tokio::test]
async fn case_37_an_upload_that_is_damaged_on_its_way_gets_no_tag() {
    let scene = Scene::start().await;
    scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let damage = Rule::on(Endpoint::Session, Action::FlipReceivedBit(0));
    scene.destination.add(damage.times(1));
    let (outcomes, _) = scene.copy(&[wish("app", "m/app", "v1")]).await;
    let failure = outcomes[0][0].as_ref().unwrap_err();
    assert!(failure.message.contains("DIGEST_INVALID"), "{failure}");
    assert!(scene.destination.manifest("m/app", "v1").is_none());
    arrives(&scene).await;
}

#[tokio::test]
async fn case_54_referrers_come_in_pages() {
    let scene = Scene::start().await;
    let image = scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let empty = descriptor(&scene, "application/vnd.oci.empty.v1+json", b"{}");
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": empty,
        "layers": [empty],
        "subject": entry(&scene, &image),
    });
    let signature = scene.source.seed_manifest("app", None, &signature);
    let path = format!("/v2/app/referrers/{image}");
    // The first page lists the image itself, the second the signature.
    let page = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
        "mediaType": MANIFEST, "digest": image, "size": entry(&scene, &image)["size"],
    }]});
    let first = Action::Answer {
        status: 200,
        headers: vec![
            ("content-type", INDEX.to_owned()),
            ("link", format!("<{path}?page=2>; rel=\"next\"")),
        ],
        body: page.to_string(),
    };
    let rule = Rule::on(Endpoint::Referrers, first).times(1);
    scene
        .source
        .add(rule.when(move |request| request.path == path));
    arrives(&scene).await;
    let there = scene.destination.manifest("m/app", signature.as_str());
    assert_eq!(there, scene.source.manifest("app", signature.as_str()));
}

#[tokio::test]
async fn case_66_a_manifest_that_does_not_name_its_type_keeps_the_one_it_was_served_with() {
    let scene = Scene::start().await;
    let config = descriptor(&scene, CONFIG, b"{}");
    let image = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
    let client = crate::support::client(scene.source.host(), &crate::support::plain());
    let image = Manifest::new(image.into(), MediaType::new(MANIFEST));
    let (app, tag) = (crate::support::repository("app"), "v1".parse().unwrap());
    client.put_manifest(&app, &image, Some(&tag)).await.unwrap();
    arrives(&scene).await;
}

#[tokio::test]
async fn case_87_a_tag_that_is_copied_to_another_of_its_repository_sends_nothing() {
    let scene = Scene::start().await;
    scene
        .source
        .seed_image("app", Some("v1"), &[b"one", b"two"]);
    let outcome = scene.copy_within_source("app", "v1", "v2").await;
    assert_eq!(outcome.unwrap().effect, Effect::Written);
    let bytes = |tag| scene.source.manifest("app", tag).unwrap().bytes;
    assert_eq!(bytes("v1"), bytes("v2"));
    assert_eq!(scene.source.count(&Method::POST, Endpoint::Uploads), 0);
    assert_eq!(scene.source.count(&Method::GET, Endpoint::Blob), 0);
    // Onto itself it is in place.
    let outcome = scene.copy_within_source("app", "v1", "v1").await;
    assert_eq!(outcome.unwrap().effect, Effect::Unchanged);
}

#[tokio::test]
async fn case_19_the_destination_does_not_hear_where_an_image_comes_from() {
    let scene = Scene::start().await;
    for repository in ["secret/one", "secret/two"] {
        scene
            .source
            .seed_image(repository, Some("v1"), &[b"layer", repository.as_bytes()]);
    }
    let wishes = [
        wish("secret/one", "m/one", "v1"),
        wish("secret/two", "m/two", "v1"),
    ];
    let (outcomes, counts) = scene.copy(&wishes).await;

    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    assert!(counts.mounted > 0, "it is mounted within the destination");
    for asked in scene.destination.requests() {
        let everything = format!("{asked:?}");
        assert!(!everything.contains("secret"), "{everything}");
    }
}

#[tokio::test]
async fn case_90_two_that_write_one_tag_leave_a_complete_image() {
    let scene = Scene::start().await;
    scene.seed_index("app", "v1", &[b"one"]);
    scene.seed_index("app", "v2", &[b"two"]);
    let wishes = ["v1", "v2"].map(|tag| {
        let mut wish = wish("app", "m/app", "latest");
        wish.from.1 = tag.to_owned();
        wish
    });
    let (first, second) = tokio::join!(scene.copy(&wishes[..1]), scene.copy(&wishes[1..]));

    for (outcomes, _) in [first, second] {
        assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    }
    let in_place = wishes.iter().filter(|wish| scene.is_in_place(wish));
    assert_eq!(in_place.count(), 1);
    scene.destination.assert_never_incomplete();
}
