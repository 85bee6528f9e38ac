//! The tag that lists referrers where a registry does not, written by two at the same time.

use std::time::Duration;

use axum::http::Method;
use bytes::Bytes;
use rstest::rstest;
use serde_json::{Value, json};
use transship::oci::{Digest, Manifest, MediaType};
use transship::registry::Client;

use crate::support::registry::{Action, Endpoint, Registry, Rule};
use crate::support::{client, plain, repository};

/// A registry from before the referrers API, with an image.
async fn registry() -> (Registry, Digest) {
    let registry = Registry::start().await;
    registry.add(Rule::on(
        Endpoint::Manifest,
        Action::RemoveHeader("oci-subject"),
    ));
    let image = registry.seed_image("app", Some("v1"), &[b"layer"]);
    registry.seed_blob("app", b"{}");
    (registry, image)
}

fn fallback_tag(subject: &Digest) -> String {
    subject.as_str().replace(':', "-")
}

/// A signature of the image; `name` tells it from others.
fn signature(image: &Digest, name: &str) -> Manifest {
    let empty = json!({
        "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::sha256(b"{}"), "size": 2,
    });
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": empty,
        "layers": [],
        "annotations": {"name": name},
        "subject": {"mediaType": MediaType::OCI_MANIFEST, "digest": image, "size": 2},
    });
    Manifest::new(
        Bytes::from(document.to_string()),
        MediaType::new(MediaType::OCI_MANIFEST),
    )
}

async fn sign(registry: &Registry, image: &Digest, name: &str) -> Digest {
    let client: Client = client(registry.host(), &plain());
    let signature = signature(image, name);
    client
        .put_manifest(&repository("app"), &signature, None)
        .await
        .unwrap();
    signature.digest().clone()
}

/// The digests that the fallback tag of an image lists.
fn listed(registry: &Registry, image: &Digest) -> Vec<String> {
    let index = registry.manifest("app", &fallback_tag(image)).unwrap();
    let index: Value = serde_json::from_slice(&index.bytes).unwrap();
    let entries = index.pointer("/manifests").and_then(Value::as_array);
    let digests = entries
        .unwrap()
        .iter()
        .map(|entry| entry.pointer("/digest").and_then(Value::as_str));
    digests.map(|digest| digest.unwrap().to_owned()).collect()
}

#[rstest]
#[case::the_first_two(&[])]
#[case::beside_another(&["earlier"])]
#[tokio::test]
async fn case_53_two_that_write_the_tag_at_once_keep_what_the_other_wrote(
    #[case] earlier: &[&str],
) {
    let (registry, image) = registry().await;
    let mut expected = Vec::new();
    for name in earlier {
        expected.push(sign(&registry, &image, name).await);
    }
    // Whoever writes first is held up, and knows nothing of what the other one writes meanwhile.
    let tag = fallback_tag(&image);
    let held_up = Rule::on(
        Endpoint::Manifest,
        Action::Delay(Duration::from_millis(300)),
    );
    let held_up = held_up.method(Method::PUT).times(1);
    registry.add(held_up.when(move |asked| asked.path.ends_with(&tag)));
    let (one, two) = tokio::join!(
        sign(&registry, &image, "one"),
        sign(&registry, &image, "two")
    );
    expected.extend([one, two]);

    let mut listed = listed(&registry, &image);
    listed.sort();
    let mut expected: Vec<_> = expected.iter().map(|it| it.as_str().to_owned()).collect();
    expected.sort();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn case_53_a_registry_that_knows_no_conditions_is_written_to_without() {
    let (registry, image) = registry().await;
    let refuses = Rule::on(Endpoint::Manifest, Action::status(412));
    registry.add(refuses.when(|asked| {
        asked.header("if-match").is_some() || asked.header("if-none-match").is_some()
    }));
    let one = sign(&registry, &image, "one").await;
    let two = sign(&registry, &image, "two").await;
    assert_eq!(listed(&registry, &image), [one.as_str(), two.as_str()]);
}
