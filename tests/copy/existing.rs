//! Tags that are at the destination already and may not be moved.

use axum::http::Method;
use rstest::rstest;
use transship::copy::{Copied, Effect, Failure, TagPolicy};
use transship::oci::Digest;
use transship::reason::Reason;

use super::scene::{Scene, wish};
use crate::support::registry::{Action, Dialect, Endpoint, Registry, Rule};

/// An image at the source, and another under the same tag at the destination; both digests.
async fn taken(existing: TagPolicy) -> (Scene, Digest, Digest) {
    let mut scene = Scene::start().await;
    scene.existing = existing;
    let wanted = scene.source.seed_image("app", Some("v1"), &[b"wanted"]);
    let there = scene
        .destination
        .seed_image("m/app", Some("v1"), &[b"there"]);
    (scene, wanted, there)
}

async fn copy(scene: &Scene, tag: &str) -> Result<Copied, Failure> {
    let (mut outcomes, _) = scene.copy(&[wish("app", "m/app", tag)]).await;
    outcomes.remove(0).remove(0)
}

/// The digest that a tag of the destination points at.
fn pointed_at(scene: &Scene, tag: &str) -> Digest {
    Digest::sha256(&scene.destination.manifest("m/app", tag).unwrap().bytes)
}

fn kept(source: &Digest, digest: &Digest) -> Copied {
    Copied {
        source: source.clone(),
        digest: digest.clone(),
        effect: Effect::Kept,
    }
}

/// Looks at `v1` are answered as if it was not there.
fn hidden(scene: &Scene, times: usize) {
    let rule = Rule::on(Endpoint::Manifest, Action::status(404))
        .method(Method::HEAD)
        .when(|asked| asked.path.ends_with("/v1"));
    scene.destination.add(rule.times(times));
}

#[tokio::test]
async fn a_tag_that_is_there_is_kept_and_nothing_is_sent() {
    let (scene, wanted, there) = taken(TagPolicy::Keep).await;
    assert_eq!(copy(&scene, "v1").await.unwrap(), kept(&wanted, &there));
    assert_eq!(pointed_at(&scene, "v1"), there);
    assert_eq!(scene.destination.writes(), 0);
    assert_eq!(scene.source.count(&Method::GET, Endpoint::Blob), 0);
    assert_eq!(scene.source.count(&Method::GET, Endpoint::Referrers), 0);
}

#[tokio::test]
async fn a_tag_that_is_there_fails_the_copy_with_both_digests() {
    let (scene, wanted, there) = taken(TagPolicy::Fail).await;
    let failure = copy(&scene, "v1").await.unwrap_err();
    assert_eq!(failure.reason, Reason::TagExists);
    for digest in [&wanted, &there] {
        assert!(failure.message.contains(digest.as_str()), "{failure}");
    }
    assert_eq!(pointed_at(&scene, "v1"), there);
    assert_eq!(scene.destination.writes(), 0);
}

#[rstest]
#[case::keep(TagPolicy::Keep)]
#[case::fail(TagPolicy::Fail)]
#[tokio::test]
async fn a_tag_that_is_not_there_is_written_and_then_unchanged(#[case] existing: TagPolicy) {
    let mut scene = Scene::start().await;
    scene.existing = existing;
    scene.seed_index("app", "v1", &[b"base"]);
    let first = copy(&scene, "v1").await.unwrap();
    assert_eq!(first.effect, Effect::Written);
    assert!(scene.is_in_place(&wish("app", "m/app", "v1")));
    let second = copy(&scene, "v1").await.unwrap();
    assert_eq!(second.effect, Effect::Unchanged);
    scene.destination.assert_never_incomplete();
}

/// Once hidden, the tag is seen by the last look; twice hidden, the registry refuses to move it.
#[rstest]
#[case::seen_by_the_last_look(1)]
#[case::refused_by_the_registry(2)]
#[tokio::test]
async fn a_tag_that_somebody_makes_meanwhile_stays(#[case] looks: usize) {
    for existing in [TagPolicy::Keep, TagPolicy::Fail] {
        let (scene, wanted, there) = taken(existing).await;
        hidden(&scene, looks);
        match copy(&scene, "v1").await {
            Ok(copied) => assert_eq!(copied, kept(&wanted, &there)),
            Err(failure) => {
                assert_eq!(existing, TagPolicy::Fail, "{failure}");
                assert_eq!(failure.reason, Reason::TagExists);
            }
        }
        assert_eq!(pointed_at(&scene, "v1"), there);
        let puts = scene.destination.count(&Method::PUT, Endpoint::Manifest);
        assert_eq!(
            puts,
            looks - 1,
            "the registry is asked if no look shows the tag"
        );
    }
}

/// What is not shown may be there.
#[tokio::test]
async fn a_tag_that_may_not_be_looked_at_is_not_overwritten() {
    let (scene, _, there) = taken(TagPolicy::Keep).await;
    let denied = Rule::on(Endpoint::Manifest, Action::status(403)).method(Method::HEAD);
    scene.destination.add(denied);
    let failure = copy(&scene, "v1").await.unwrap_err();
    assert_eq!(failure.reason, Reason::PushDenied, "{failure}");
    assert_eq!(pointed_at(&scene, "v1"), there);
    assert_eq!(scene.destination.writes(), 0);
}

/// Some registries deny the look at what is absent, and the list of a repository that does not exist yet.
#[rstest]
#[tokio::test]
async fn a_tag_that_is_denied_and_not_listed_is_written(
    #[values(TagPolicy::Keep, TagPolicy::Fail)] existing: TagPolicy,
    #[values(true, false)] repository_exists: bool,
) {
    let destination = Registry::builder().dialect(Dialect::Artifactory);
    let mut scene = Scene::between(Registry::start().await, destination.start().await);
    scene.existing = existing;
    scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    if repository_exists {
        scene
            .destination
            .seed_image("m/app", Some("v0"), &[b"other"]);
    }
    assert_eq!(copy(&scene, "v1").await.unwrap().effect, Effect::Written);
    assert!(scene.is_in_place(&wish("app", "m/app", "v1")));
}

/// The second attempt is refused because the first was carried out.
#[tokio::test]
async fn a_tag_whose_answer_was_lost_is_ours() {
    let mut scene = Scene::start().await;
    scene.existing = TagPolicy::Fail;
    scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let put = Rule::on(Endpoint::Manifest, Action::LoseAnswer).method(Method::PUT);
    scene.destination.add(put.times(1));
    assert_eq!(copy(&scene, "v1").await.unwrap().effect, Effect::Written);
    assert!(scene.is_in_place(&wish("app", "m/app", "v1")));
}

#[tokio::test]
async fn a_tag_that_the_destination_forgets_is_written_once_more() {
    let mut scene = Scene::start().await;
    scene.existing = TagPolicy::Keep;
    scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let put = Rule::on(Endpoint::Manifest, Action::Forget).method(Method::PUT);
    scene.destination.add(put.times(1));
    assert_eq!(copy(&scene, "v1").await.unwrap().effect, Effect::Written);
    assert!(scene.is_in_place(&wish("app", "m/app", "v1")));
}

/// The tag is written and then taken by somebody else: it is not taken back.
#[tokio::test]
async fn a_tag_that_somebody_takes_over_is_left_to_them() {
    let (scene, wanted, there) = taken(TagPolicy::Keep).await;
    scene.source.seed_image("app", Some("v2"), &[b"wanted"]);
    let put = Rule::on(Endpoint::Manifest, Action::MoveTag(there.clone())).method(Method::PUT);
    scene.destination.add(put);
    assert_eq!(copy(&scene, "v2").await.unwrap(), kept(&wanted, &there));
    assert_eq!(pointed_at(&scene, "v2"), there);
}

#[tokio::test]
async fn each_tag_of_an_image_is_decided_for_itself() {
    let (scene, wanted, there) = taken(TagPolicy::Keep).await;
    scene.source.seed_image("app", Some("v2"), &[b"wanted"]);
    scene.source.seed_image("app", Some("v3"), &[b"wanted"]);
    let wishes = ["v1", "v2", "v3"].map(|tag| wish("app", "m/app", tag));
    let (outcomes, _) = scene.copy(&wishes).await;
    assert_eq!(outcomes[0][0], Ok(kept(&wanted, &there)));
    for (outcome, wish) in outcomes.iter().zip(&wishes).skip(1) {
        assert_eq!(outcome[0].as_ref().unwrap().effect, Effect::Written);
        assert!(scene.is_in_place(wish));
    }
    assert_eq!(pointed_at(&scene, "v1"), there);
}

/// The signature that somebody made at the destination is not replaced by the source's.
#[rstest]
#[case::keep(TagPolicy::Keep)]
#[case::fail(TagPolicy::Fail)]
#[tokio::test]
async fn a_signature_under_a_tag_of_cosign_stays_too(#[case] existing: TagPolicy) {
    let mut scene = Scene::start().await;
    scene.existing = existing;
    let image = scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let tag = format!("{}.sig", image.as_str().replace(':', "-"));
    scene
        .source
        .seed_image("app", Some(&tag), &[b"of the source"]);
    let there = scene
        .destination
        .seed_image("m/app", Some(&tag), &[b"of the destination"]);
    let result = copy(&scene, "v1").await;
    assert_eq!(pointed_at(&scene, &tag), there);
    assert_eq!(pointed_at(&scene, "v1"), image);
    match (existing, result) {
        (TagPolicy::Keep, result) => assert_eq!(result.unwrap().effect, Effect::Written),
        (_, result) => {
            let failure = result.unwrap_err();
            assert_eq!(failure.reason, Reason::TagExists);
            assert!(failure.message.contains(&tag), "{failure}");
        }
    }
}
