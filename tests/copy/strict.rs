//! Runs that move no tag unless every image could be written.

use axum::http::Method;
use rstest::rstest;
use transship::copy::{Effect, FailurePolicy, ImageOutcome, Options, TagPolicy};
use transship::oci::Digest;
use transship::reason::Reason;

use super::scene::{Scene, Wish, wish};
use crate::support::registry::{Action, Endpoint, Recorded, Rule};

fn strict() -> Options {
    Options {
        failure_policy: FailurePolicy::Strict,
        ..Options::default()
    }
}

/// Three images for repositories of their own, of which each has something else under the tag.
async fn three() -> (Scene, [Wish; 3]) {
    let scene = Scene::start().await;
    let wishes = [("one", "m/one"), ("two", "m/two"), ("three", "m/three")];
    let wishes = wishes.map(|(from, to)| {
        scene.seed_index(from, "v1", &[b"base"]);
        scene.destination.seed_image(to, Some("v1"), &[b"earlier"]);
        wish(from, to, "v1")
    });
    (scene, wishes)
}

fn reasons(outcomes: &[ImageOutcome]) -> Vec<Option<Reason>> {
    let results = outcomes.iter().flatten();
    results
        .map(|result| result.as_ref().err().map(|failure| failure.reason))
        .collect()
}

/// Whether a request writes a manifest under a tag of an image.
fn moves_a_tag(request: &Recorded) -> bool {
    is_put(request) && request.path.ends_with("/v1")
}

fn is_put(request: &Recorded) -> bool {
    request.method == Method::PUT && request.endpoint == Endpoint::Manifest
}

fn moved_tags(scene: &Scene) -> usize {
    let requests = scene.destination.requests();
    requests.iter().filter(|it| moves_a_tag(it)).count()
}

#[tokio::test]
async fn one_image_that_is_denied_holds_back_the_tags_of_all() {
    let (scene, wishes) = three().await;
    let denied = Rule::on(Endpoint::Manifest, Action::status(403)).method(Method::PUT);
    let denied = denied.when(|asked| asked.path.starts_with("/v2/m/two/"));
    scene.destination.add(denied);
    let (outcomes, _) = scene.copy_with(&wishes, strict()).await;
    let held_back = Some(Reason::HeldBack);
    assert_eq!(
        reasons(&outcomes),
        [held_back, Some(Reason::PushDenied), held_back]
    );
    let message = &outcomes[0][0].as_ref().unwrap_err().message;
    let first = format!(
        "1 of 3 copies failed; the first: {}/two:v1",
        scene.source.host()
    );
    assert!(message.contains(&first), "{message}");
    assert_eq!(moved_tags(&scene), 0);

    // What was written waits for the next run.
    scene.destination.clear_rules();
    let (outcomes, counts) = scene.copy_with(&wishes, strict()).await;
    assert_eq!(reasons(&outcomes), [None; 3]);
    assert_eq!(counts.sent, 0, "the blobs were there");
    assert!(wishes.iter().all(|wish| scene.is_in_place(wish)));
    scene.destination.assert_never_incomplete();
}

#[tokio::test]
async fn an_image_that_the_source_lacks_holds_back_the_others_and_what_is_in_place_stays() {
    let (scene, mut wishes) = three().await;
    scene.copy(&wishes[..1]).await;
    let moved = moved_tags(&scene);
    wishes[1].from.1 = "absent".to_owned();
    let (outcomes, _) = scene.copy_with(&wishes, strict()).await;
    assert_eq!(outcomes[0][0].as_ref().unwrap().effect, Effect::Unchanged);
    let rest = [Some(Reason::SourceNotFound), Some(Reason::HeldBack)];
    assert_eq!(reasons(&outcomes)[1..], rest);
    assert_eq!(moved_tags(&scene), moved);
}

#[tokio::test]
async fn tags_move_when_everything_else_is_written() {
    let (scene, wishes) = three().await;
    let (outcomes, _) = scene.copy_with(&wishes, strict()).await;
    assert_eq!(reasons(&outcomes), [None; 3]);
    assert!(wishes.iter().all(|wish| scene.is_in_place(wish)));
    let puts: Vec<bool> = scene
        .destination
        .requests()
        .iter()
        .filter(|request| is_put(request))
        .map(moves_a_tag)
        .collect();
    assert_eq!(puts.iter().filter(|moves| **moves).count(), 3);
    assert!(puts.is_sorted(), "a tag moved too early: {puts:?}");
    scene.destination.assert_never_incomplete();
}

/// Who reads the tag in the moment when it moves finds the signature.
#[tokio::test]
async fn signatures_are_there_before_the_tag_moves() {
    let (scene, wishes) = three().await;
    let image = scene.source.manifest("one", "v1").unwrap();
    let tag = Digest::sha256(&image.bytes).as_str().replace(':', "-") + ".sig";
    scene.source.seed_image("one", Some(&tag), &[b"signature"]);
    let (outcomes, _) = scene.copy_with(&wishes, strict()).await;
    assert_eq!(reasons(&outcomes), [None; 3]);
    let requests = scene.destination.requests();
    let signed = requests
        .iter()
        .position(|it| is_put(it) && it.path.ends_with(&tag));
    let moved = requests.iter().position(moves_a_tag);
    assert!(signed.unwrap() < moved.unwrap());
}

/// A registry may remove what no tag points at.
#[rstest]
#[case::the_image(Method::GET, 404, "MANIFEST_UNKNOWN")]
#[case::a_part_of_it(Method::PUT, 404, "MANIFEST_UNKNOWN")]
#[case::a_blob_of_it(Method::PUT, 400, "MANIFEST_BLOB_UNKNOWN")]
#[tokio::test]
async fn an_image_that_is_forgotten_before_it_has_its_tag_is_written_anew(
    #[case] method: Method,
    #[case] status: u16,
    #[case] code: &str,
) {
    let (scene, wishes) = three().await;
    let by_tag = method == Method::PUT;
    let forgotten = Action::Answer {
        status,
        headers: Vec::new(),
        body: format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#),
    };
    let forgotten = Rule::on(Endpoint::Manifest, forgotten).method(method);
    let forgotten = forgotten.when(move |asked| asked.path.ends_with("/v1") == by_tag);
    scene.destination.add(forgotten.times(1));
    let (outcomes, _) = scene.copy_with(&wishes, strict()).await;
    assert_eq!(reasons(&outcomes), [None; 3]);
    assert!(wishes.iter().all(|wish| scene.is_in_place(wish)));
    scene.destination.assert_never_incomplete();
}

#[tokio::test]
async fn a_tag_that_may_not_be_moved_is_found_before_any_other_is() {
    let (mut scene, wishes) = three().await;
    scene.existing = TagPolicy::Fail;
    let (outcomes, _) = scene.copy_with(&wishes, strict()).await;
    assert_eq!(reasons(&outcomes), [Some(Reason::TagExists); 3]);
    assert_eq!(scene.destination.writes(), 0);
}
