//! The engine and the check: what is not signed as a policy demands is never written, and no failure of the source
//! is taken for a missing signature.

use axum::http::Method;
use rstest::rstest;
use transship::copy::{Effect, Failure, ManifestName};
use transship::oci::Digest;
use transship::reason::{Class, Reason};
use transship::verify::Policy;

use super::scene::Scene;
use super::signer::{Request, World, key, policy, release};
use crate::support::registry::{Action, Endpoint, Rule};

fn refused(outcome: Result<transship::copy::Copied, Failure>) -> String {
    let failure = outcome.unwrap_err();
    assert_eq!(failure.reason, Reason::VerificationFailed, "{failure}");
    assert_eq!(failure.reason.class(), Class::Stalled);
    assert!(failure.message.len() <= 1024, "{failure}");
    failure.message
}

#[rstest]
#[case::under_the_tag("simple", true)]
#[case::as_referrer("simple", false)]
#[case::bundle("bundle", false)]
#[tokio::test]
async fn a_signed_image_is_copied(#[case] form: &'static str, #[case] by_tag: bool) {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let world = World::make(&[Request::by_key(&image, form, "p256")]).await;
    if by_tag {
        scene.sign_by_tag(&image, &world.signatures);
    } else {
        scene.sign_by_referrer(&image, &world.signatures[0]);
    }
    let policies = [policy(key("p256"))];
    let copied = scene.copy(&policies, &world.trust()).await.unwrap();
    assert_eq!(copied.digest, image);
    scene.destination.is_complete("m/app", "v1").unwrap();

    // It stays in order when it is in place.
    let again = scene.copy(&policies, &world.trust()).await.unwrap();
    assert_eq!(again.effect, Effect::Unchanged);
}

#[tokio::test]
async fn an_image_that_somebody_signed_without_a_key_is_copied() {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let world = World::make(&[Request::by_identity(&image, "bundle")]).await;
    scene.sign_by_referrer(&image, &world.signatures[0]);
    let copied = scene.copy(&[policy(release())], &world.trust()).await;
    assert_eq!(copied.unwrap().digest, image);
}

#[tokio::test]
async fn an_image_without_a_signature_is_not_copied() {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let world = World::make(&[]).await;
    let message = refused(scene.copy(&[policy(key("p256"))], &world.trust()).await);
    assert!(
        message.contains(&format!("@{image} has no signature")),
        "{message}"
    );
    assert!(message.contains("sign it with cosign"), "{message}");
    scene.assert_nothing_written();
}

#[tokio::test]
async fn an_image_that_is_in_place_has_to_be_signed_all_the_same() {
    let scene = Scene::start().await;
    scene.seed_image();
    let world = World::make(&[]).await;
    scene.copy(&[], &world.trust()).await.unwrap();
    let writes = scene.destination.writes();
    refused(scene.copy(&[policy(key("p256"))], &world.trust()).await);
    assert_eq!(scene.destination.writes(), writes);
}

#[tokio::test]
async fn the_message_tells_why_each_signature_was_refused() {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let other = Digest::sha256(b"another image");
    let world = World::make(&[
        Request::by_key(&image, "simple", "other"),
        Request::by_key(&image, "simple", "rsa"),
        Request::by_key(&other, "simple", "p256"),
        Request {
            predicate: "https://slsa.dev/provenance/v1",
            ..Request::by_key(&image, "bundle", "p256")
        },
    ])
    .await;
    scene.sign_by_tag(&image, &world.signatures[..3]);
    scene.sign_by_referrer(&image, &world.signatures[3]);
    let message = refused(scene.copy(&[policy(key("p256"))], &world.trust()).await);
    for part in [
        "2 times: none of the keys made it",
        "it signs another image",
        "it is an attestation",
        "the policy for **",
    ] {
        assert!(message.contains(part), "{message}");
    }
    scene.assert_nothing_written();
}

#[tokio::test]
async fn the_signature_of_an_index_covers_its_images_and_not_the_other_way_round() {
    let scene = Scene::start().await;
    let (index, image) = scene.seed_index();
    let world = World::make(&[
        Request::by_key(&index, "simple", "p256"),
        Request::by_key(&image, "simple", "other"),
    ])
    .await;
    scene.sign_by_tag(&index, &world.signatures[..1]);
    scene.sign_by_tag(&image, &world.signatures[1..]);
    let (trust, pinned) = (world.trust(), ManifestName::Digest(image));

    refused(scene.copy(&[policy(key("other"))], &trust).await);
    let by_index_key = [policy(key("p256"))];
    refused(
        scene
            .copy_named(pinned.clone(), &by_index_key, &trust)
            .await,
    );
    scene.assert_nothing_written();

    assert_eq!(
        scene.copy(&by_index_key, &trust).await.unwrap().digest,
        index
    );
}

#[tokio::test]
async fn every_policy_for_an_image_has_to_be_satisfied() {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let world = World::make(&[
        Request::by_key(&image, "simple", "p256"),
        Request::by_key(&image, "bundle", "other"),
    ])
    .await;
    scene.sign_by_tag(&image, &world.signatures[..1]);
    let trust = world.trust();
    let both = [policy(key("p256")), policy(key("other"))];
    refused(scene.copy(&both, &trust).await);
    scene.assert_nothing_written();

    scene.sign_by_referrer(&image, &world.signatures[1]);
    assert_eq!(scene.copy(&both, &trust).await.unwrap().digest, image);
}

#[tokio::test]
async fn an_image_that_no_policy_is_for_is_copied() {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let world = World::make(&[]).await;
    let elsewhere = Policy {
        r#match: "ghcr.io/org/**".to_owned(),
        ..policy(key("p256"))
    };
    let copied = scene.copy(&[elsewhere], &world.trust()).await.unwrap();
    assert_eq!(copied.digest, image);
    assert_eq!(scene.source.count(&Method::GET, Endpoint::Referrers), 1);
}

/// Requests for the tag, the manifest or the layer of a signature, and for referrers.
#[rstest]
#[case::tag(Endpoint::Manifest, ".sig", Action::status(503))]
#[case::referrers(Endpoint::Referrers, "", Action::status(503))]
#[case::referrers_cut(Endpoint::Referrers, "", Action::CutResponse(1))]
#[case::layer(Endpoint::Blob, "", Action::status(503))]
#[case::layer_cut(Endpoint::Blob, "", Action::CutResponse(1))]
#[case::slow_down(Endpoint::Manifest, ".sig", Action::status(429))]
#[tokio::test]
async fn trouble_of_the_source_is_not_a_missing_signature(
    #[case] endpoint: Endpoint,
    #[case] part: &'static str,
    #[case] action: Action,
) {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let world = World::make(&[Request::by_key(&image, "bundle", "p256")]).await;
    scene.sign_by_referrer(&image, &world.signatures[0]);
    scene
        .source
        .add(Rule::on(endpoint, action).when(move |request| request.path.contains(part)));
    let policies = [policy(key("p256"))];
    let failure = scene.copy(&policies, &world.trust()).await.unwrap_err();
    assert_eq!(failure.reason.class(), Class::Transient, "{failure:?}");
    scene.assert_nothing_written();

    scene.source.clear_rules();
    assert_eq!(
        scene.copy(&policies, &world.trust()).await.unwrap().digest,
        image
    );
}

#[tokio::test]
async fn a_signature_that_is_gone_or_broken_does_not_hide_another() {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let world = World::make(&[
        Request::by_key(&image, "bundle", "other"),
        Request::by_key(&image, "simple", "p256"),
        Request::by_key(&image, "bundle", "p256"),
    ])
    .await;
    let gone = scene.sign_by_referrer(&image, &world.signatures[0]);
    scene.source.lose_blob("app", &gone);
    let broken = world.signatures[1].clone().with_document(b"{");
    scene.sign_by_tag(&image, &[broken]);
    let policies = [policy(key("p256"))];
    let message = refused(scene.copy(&policies, &world.trust()).await);
    assert!(message.contains("it is no longer there"), "{message}");
    assert!(message.contains("cannot be read"), "{message}");

    scene.sign_by_referrer(&image, &world.signatures[2]);
    // The image may be copied now. What was lost belongs to one of its referrers, which come along.
    let failure = scene.copy(&policies, &world.trust()).await.unwrap_err();
    assert_ne!(failure.reason, Reason::VerificationFailed, "{failure}");
    scene.destination.is_complete("m/app", "v1").unwrap();
}

#[tokio::test]
async fn a_flood_of_signatures_is_bounded() {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let world = World::make(&[Request::by_key(&image, "simple", "other")]).await;
    // Each has another content, so that each would have to be read.
    let flood: Vec<_> = (0..300)
        .map(|number| {
            let document = format!("{image} {number}");
            world.signatures[0]
                .clone()
                .with_document(document.as_bytes())
        })
        .collect();
    scene.sign_by_tag(&image, &flood);
    let message = refused(scene.copy(&[policy(key("p256"))], &world.trust()).await);
    assert!(
        message.contains("more than 100 are not looked at"),
        "{message}"
    );
    assert_eq!(scene.source.count(&Method::GET, Endpoint::Blob), 100);
    scene.assert_nothing_written();
}

#[tokio::test]
async fn attestations_that_say_so_are_neither_read_nor_in_the_way() {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let predicate = "https://slsa.dev/provenance/v1";
    let attestation = Request {
        predicate,
        ..Request::by_key(&image, "bundle", "p256")
    };
    let mut requests = vec![attestation; 110];
    requests.push(Request::by_key(&image, "bundle", "p256"));
    let world = World::make(&requests).await;
    let (signature, attestations) = world.signatures.split_last().unwrap();
    for made in attestations {
        scene.sign_by_annotated_referrer(&image, made, predicate);
    }
    let policies = [policy(key("p256"))];
    let message = refused(scene.copy(&policies, &world.trust()).await);
    assert!(
        message.contains("110 times: it is an attestation"),
        "{message}"
    );
    assert_eq!(scene.source.count(&Method::GET, Endpoint::Blob), 0);

    scene.sign_by_referrer(&image, signature);
    assert_eq!(
        scene.copy(&policies, &world.trust()).await.unwrap().digest,
        image
    );
}
