//! Signatures and other referrers come along, whichever way the two registries keep them.

use axum::http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use transship::copy::{Options, Referrers};
use transship::oci::{Digest, MediaType};

use super::scene::{Scene, wish};
use crate::support::registry::{Action, Endpoint, Rule};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.empty.v1+json";
const SIGNATURE: &str = "application/vnd.example.signature";
const SBOM: &str = "application/spdx+json";

/// An artifact that refers to `subject`; its digest and its document.
pub(super) fn seed_referrer(scene: &Scene, subject: &Digest, content: &[u8]) -> (Digest, Value) {
    seed_typed_referrer(scene, subject, Some(SIGNATURE), content)
}

/// The same with another artifact type, or with none: then the type is that of the configuration.
fn seed_typed_referrer(
    scene: &Scene,
    subject: &Digest,
    artifact_type: Option<&str>,
    content: &[u8],
) -> (Digest, Value) {
    let descriptor = |media_type: &str, content: &[u8]| {
        let digest = scene.source.seed_blob("app", content);
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    };
    let size = scene
        .source
        .manifest("app", subject.as_str())
        .unwrap()
        .bytes
        .len();
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, b"{}"),
        "layers": [descriptor("application/octet-stream", content)],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": size},
    });
    if let (Some(artifact_type), Some(members)) = (artifact_type, document.as_object_mut()) {
        members.insert("artifactType".to_owned(), json!(artifact_type));
    }
    let digest = scene.source.seed_manifest("app", None, &document);
    (digest, document)
}

fn fallback_tag(subject: &Digest) -> String {
    subject.as_str().replace(':', "-")
}

/// A registry from before the referrers API.
fn without_referrers_api() -> [Rule; 2] {
    [
        Rule::on(Endpoint::Referrers, Action::status(404)),
        Rule::on(Endpoint::Manifest, Action::RemoveHeader("oci-subject")),
    ]
}

#[tokio::test]
async fn case_57_referrers_come_along_and_what_refers_to_them_too() {
    let scene = Scene::start().await;
    let image = scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let (signature, _) = seed_referrer(&scene, &image, b"a signature");
    let (countersignature, _) = seed_referrer(&scene, &signature, b"a signature of the signature");
    let (outcomes, _) = scene.copy(&[wish("app", "m/app", "v1")]).await;

    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    for referrer in [&signature, &countersignature] {
        assert_eq!(
            scene.destination.manifest("m/app", referrer.as_str()),
            scene.source.manifest("app", referrer.as_str())
        );
    }
    scene.destination.assert_never_incomplete();
}

#[tokio::test]
async fn referrers_stay_behind_when_they_are_not_wanted() {
    let scene = Scene::start().await;
    let image = scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let (signature, _) = seed_referrer(&scene, &image, b"a signature");
    let options = Options {
        referrers: Referrers::None,
        ..Options::default()
    };
    scene
        .copy_with(&[wish("app", "m/app", "v1")], options)
        .await;

    let there = scene.destination.manifest("m/app", signature.as_str());
    assert_eq!(there, None);
    let asked = scene.source.count(&Method::GET, Endpoint::Referrers);
    assert_eq!(asked, 0);
}

#[tokio::test]
async fn cases_53_and_55_registries_without_the_api_keep_referrers_under_a_tag() {
    let scene = Scene::start().await;
    for rule in without_referrers_api() {
        scene.source.add(rule);
    }
    for rule in without_referrers_api() {
        scene.destination.add(rule);
    }
    let image = scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let mut entries = Vec::new();
    for content in [&b"one"[..], b"two"] {
        let (digest, document) = seed_referrer(&scene, &image, content);
        entries.push(json!({
            "mediaType": MANIFEST,
            "digest": digest,
            "size": document.to_string().len(),
            "artifactType": SIGNATURE,
        }));
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    });
    let tag = fallback_tag(&image);
    scene.source.seed_manifest("app", Some(&tag), &index);
    let (outcomes, _) = scene.copy(&[wish("app", "m/app", "v1")]).await;

    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    let listed = scene.destination.manifest("m/app", &tag).unwrap();
    let listed: Value = serde_json::from_slice(&listed.bytes).unwrap();
    let digests = |index: &Value| -> Vec<String> {
        let mut digests: Vec<_> = index
            .pointer("/manifests")
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                entry
                    .pointer("/digest")
                    .unwrap()
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        digests.sort();
        digests
    };
    assert_eq!(digests(&listed), digests(&index));
    assert_eq!(listed["manifests"][0]["artifactType"], SIGNATURE);
}

#[tokio::test]
async fn the_tags_of_cosign_are_copied_with_the_image() {
    let scene = Scene::start().await;
    let image = scene.source.seed_image("app", Some("v1"), &[b"layer"]);
    let tag = format!("{}.sig", fallback_tag(&image));
    scene.source.seed_image("app", Some(&tag), &[b"signature"]);
    let (outcomes, _) = scene.copy(&[wish("app", "m/app", "v1")]).await;

    assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    assert!(scene.destination.manifest("m/app", &tag).is_some());
    assert_eq!(
        scene.destination.manifest("m/app", &tag),
        scene.source.manifest("app", &tag)
    );
    // The tags that do not exist were not asked for.
    let asked = scene
        .source
        .requests()
        .into_iter()
        .filter(|request| request.path.contains(".att") || request.path.contains(".sbom"));
    assert_eq!(asked.count(), 0);
}

/// What comes along of an image with a signature, an SBOM that is signed, and one whose type is that of
/// its configuration; and whether the tag of cosign does.
#[rstest]
#[case::all(&[], true, [true; 4], true)]
#[case::no_tags(&[], false, [true; 4], false)]
#[case::one_type(&[SIGNATURE], true, [true, false, false, false], true)]
#[case::what_refers_to_it_comes_if_it_is_of_a_type(&[SBOM, SIGNATURE], false, [true, true, true, false], false)]
#[case::what_refers_to_it_stays_if_it_is_not(&[SBOM], false, [false, true, false, false], false)]
#[case::type_of_the_configuration(&[CONFIG], false, [false, false, false, true], false)]
#[tokio::test]
async fn only_what_is_of_a_type_comes_along(
    #[case] types: &[&str],
    #[case] cosign_tags: bool,
    #[case] expected: [bool; 4],
    #[case] tagged: bool,
) {
    // The list of some registries does not say the type.
    for lists_types in [true, false] {
        let scene = Scene::start().await;
        let image = scene.source.seed_image("app", Some("v1"), &[b"layer"]);
        let (signature, _) = seed_referrer(&scene, &image, b"signature");
        let (sbom, _) = seed_typed_referrer(&scene, &image, Some(SBOM), b"sbom");
        let (of_sbom, _) = seed_referrer(&scene, &sbom, b"signature of the sbom");
        let (untyped, _) = seed_typed_referrer(&scene, &image, None, b"untyped");
        let tag = format!("{}.sig", fallback_tag(&image));
        scene.source.seed_image("app", Some(&tag), &[b"of cosign"]);
        if !lists_types {
            hide_types(&scene, &image, &[&signature, &sbom, &untyped]);
            hide_types(&scene, &sbom, &[&of_sbom]);
        }
        let options = Options {
            referrers: Referrers::All {
                artifact_types: types.iter().map(|kind| MediaType::new(kind)).collect(),
                cosign_tags,
            },
            ..Options::default()
        };
        let wishes = [wish("app", "m/app", "v1")];
        let (outcomes, _) = scene.copy_with(&wishes, options).await;
        assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
        let came = |name: &str| scene.destination.manifest("m/app", name).is_some();
        let all = [&signature, &sbom, &of_sbom, &untyped];
        assert_eq!(all.map(|digest| came(digest.as_str())), expected);
        assert_eq!(came(&tag), tagged);
    }
}

/// Answers what refers to `subject` without types.
fn hide_types(scene: &Scene, subject: &Digest, referrers: &[&Digest]) {
    let entries: Vec<_> = referrers
        .iter()
        .map(|digest| {
            let stored = scene.source.manifest("app", digest.as_str()).unwrap();
            json!({"mediaType": MANIFEST, "digest": digest, "size": stored.bytes.len()})
        })
        .collect();
    let index = "application/vnd.oci.image.index.v1+json";
    let list = json!({"schemaVersion": 2, "mediaType": index, "manifests": entries});
    let answer = Action::Answer {
        status: 200,
        headers: vec![("content-type", index.to_owned())],
        body: list.to_string(),
    };
    let suffix = format!("/{subject}");
    let rule = Rule::on(Endpoint::Referrers, answer);
    scene
        .source
        .add(rule.when(move |asked| asked.path.ends_with(&suffix)));
}
