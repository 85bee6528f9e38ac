//! The moment when a tag is written: answers that get lost, tags that others move, engines that do the
//! same at once.

use axum::http::Method;
use futures::future::join_all;
use rstest::rstest;
use transship::copy::{Effect, ImageOutcome};
use transship::oci::Digest;
use transship::reason::Reason;

use super::referrers::seed_referrer;
use super::scene::{Scene, Wish, wish};
use crate::support::registry::{Action, Dialect, Endpoint, Registry, Rule};

/// Acts on what is written under this tag.
fn on_tag(tag: &'static str, action: Action) -> Rule {
    Rule::on(Endpoint::Manifest, action)
        .method(Method::PUT)
        .when(move |asked| asked.path.ends_with(tag))
}

/// Tags enough for the destination to be asked for a list of them, all of which point at something
/// else there.
async fn outdated() -> (Scene, Vec<Wish>, Digest) {
    let scene = Scene::start().await;
    let earlier = scene.destination.seed_image("m/app", None, &[b"earlier"]);
    let mut wishes = Vec::new();
    for tag in ["v1", "v2", "v3", "v4"] {
        scene.source.seed_image("app", Some(tag), &[tag.as_bytes()]);
        scene
            .destination
            .seed_image("m/app", Some(tag), &[b"earlier"]);
        wishes.push(wish("app", "m/app", tag));
    }
    (scene, wishes, earlier)
}

fn reasons(outcomes: &[ImageOutcome]) -> Vec<Option<Reason>> {
    let results = outcomes.iter().flatten();
    results
        .map(|result| result.as_ref().err().map(|failure| failure.reason))
        .collect()
}

#[tokio::test]
async fn a_tag_whose_answer_was_lost_is_written_once_more_and_right() {
    let scene = Scene::start().await;
    scene.seed_index("app", "v1", &[b"base"]);
    scene
        .destination
        .add(on_tag("/v1", Action::LoseAnswer).times(2));
    let wishes = [wish("app", "m/app", "v1")];
    let (outcomes, _) = scene.copy(&wishes).await;
    assert_eq!(reasons(&outcomes), [None]);
    assert!(scene.is_in_place(&wishes[0]));
    assert!(scene.destination.duplicate_uploads().is_empty());
    scene.destination.assert_never_incomplete();
}

/// A list of tags would show all of them: what they point at has to be looked at.
#[tokio::test]
async fn a_tag_that_was_there_is_read_back() {
    let (scene, wishes, _) = outdated().await;
    scene
        .destination
        .add(on_tag("/v3", Action::Forget).times(1));
    let (outcomes, _) = scene.copy(&wishes).await;
    assert_eq!(reasons(&outcomes), [None; 4]);
    assert!(wishes.iter().all(|wish| scene.is_in_place(wish)));
}

#[rstest]
#[case::once(1, None)]
#[case::always(usize::MAX, Some(Reason::DestinationMismatch))]
#[tokio::test]
async fn a_tag_that_somebody_else_moves_is_noticed(
    #[case] times: usize,
    #[case] expected: Option<Reason>,
) {
    let (scene, wishes, earlier) = outdated().await;
    scene
        .destination
        .add(on_tag("/v2", Action::MoveTag(earlier)).times(times));
    let (outcomes, _) = scene.copy(&wishes).await;
    assert_eq!(reasons(&outcomes), [None, expected, None, None]);
    assert_eq!(scene.is_in_place(&wishes[1]), expected.is_none());
    scene.destination.assert_never_incomplete();
}

#[tokio::test]
async fn new_tags_are_read_back_with_one_list() {
    let scene = Scene::start().await;
    let tags = ["v1", "v2", "v3", "v4"];
    let wishes = tags.map(|tag| {
        scene.source.seed_image("app", Some(tag), &[tag.as_bytes()]);
        wish("app", "m/app", tag)
    });
    let (outcomes, _) = scene.copy(&wishes).await;
    assert_eq!(reasons(&outcomes), [None; 4]);
    let destination = &scene.destination;
    assert_eq!(destination.count(&Method::HEAD, Endpoint::Manifest), 0);
    assert_eq!(destination.count(&Method::GET, Endpoint::Tags), 2);
}

#[tokio::test]
async fn engines_that_do_the_same_at_once_end_with_the_same() {
    let scene = Scene::start().await;
    scene.seed_index("app", "v1", &[b"base", b"first"]);
    scene.seed_index("app", "v2", &[b"base", b"second"]);
    let wishes = ["v1", "v2"].map(|tag| wish("app", "m/app", tag));
    for (outcomes, _) in join_all((0..5).map(|_| scene.copy(&wishes))).await {
        assert_eq!(reasons(&outcomes), [None; 2]);
    }
    assert!(wishes.iter().all(|wish| scene.is_in_place(wish)));
    assert_eq!(scene.destination.open_sessions("m/app"), 0);
    scene.destination.assert_never_incomplete();
}

#[tokio::test]
async fn a_tag_that_is_copied_to_itself_changes_nothing() {
    let scene = Scene::start().await;
    let digest = scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let copied = scene.copy_within_source("app", "v1", "v1").await.unwrap();
    assert_eq!((copied.digest, copied.effect), (digest, Effect::Unchanged));
    assert_eq!(scene.source.writes(), 0);
}

/// What nothing else points at has to be read back, too.
#[tokio::test]
async fn a_signature_that_the_destination_forgets_is_written_again() {
    let scene = Scene::start().await;
    let image = scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let tag = format!("{}.sig", image.as_str().replace(':', "-"));
    scene.source.seed_image("app", Some(&tag), &[b"signature"]);
    scene.destination.add(
        Rule::on(Endpoint::Manifest, Action::Forget)
            .method(Method::PUT)
            .when(|asked| asked.path.contains("/sha256-"))
            .times(1),
    );
    let wishes = [wish("app", "m/app", "v1")];
    let (outcomes, _) = scene.copy(&wishes).await;
    assert_eq!(reasons(&outcomes), [None]);
    let there = scene.destination.manifest("m/app", &tag);
    assert_eq!(there, scene.source.manifest("app", &tag));
    let written = scene.destination.writes();
    let (outcomes, _) = scene.copy(&wishes).await;
    assert_eq!(reasons(&outcomes), [None]);
    assert_eq!(
        scene.destination.writes(),
        written,
        "everything was in place"
    );
}

/// Where there is no referrers API, a signature is found by a tag, which is a write of its own.
#[tokio::test]
async fn a_signature_that_nobody_would_find_is_listed_by_the_next_run() {
    let destination = Registry::builder().dialect(Dialect::Quay).start().await;
    let scene = Scene::between(Registry::start().await, destination);
    let image = scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let (_, signature) = seed_referrer(&scene, &image, b"a signature");
    let wishes = [wish("app", "m/app", "v1")];
    let tag = image.as_str().replace(':', "-");
    let fails = Rule::on(Endpoint::Manifest, Action::status(400)).method(Method::PUT);
    let list = format!("/{tag}");
    scene
        .destination
        .add(fails.when(move |asked| asked.path.ends_with(&list)));
    let (outcomes, _) = scene.copy(&wishes).await;
    assert_ne!(reasons(&outcomes), [None]);
    assert_eq!(scene.destination.manifest("m/app", &tag), None);
    scene.destination.clear_rules();
    let (outcomes, _) = scene.copy(&wishes).await;
    assert_eq!(reasons(&outcomes), [None]);
    let list = scene.destination.manifest("m/app", &tag).unwrap();
    let digest = Digest::sha256(signature.to_string().as_bytes());
    assert!(String::from_utf8_lossy(&list.bytes).contains(digest.as_str()));
}
