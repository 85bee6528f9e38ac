//! What becomes of what builders leave.

use std::collections::BTreeSet;

use axum::http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use transship::attestation::{IN_TOTO, SBOM_PREDICATE_TYPE};
use transship::oci::{Digest, MediaType};

use super::output::{Layout, layer};
use super::{PASSWORD, Pod, plan_to_publish};
use crate::support::registry::{Endpoint, Registry};

fn manifest(registry: &Registry, reference: &str) -> (Digest, Value) {
    let stored = registry.manifest("team/app", reference).unwrap();
    let document = serde_json::from_slice(&stored.bytes).unwrap();
    (Digest::sha256(&stored.bytes), document)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_gets_all_tags_and_keeps_its_digest() {
    let registry = Registry::builder().token("pusher", PASSWORD).start().await;
    let changes = json!({"access": {"credentials": "push", "insecure": true}});
    let pod = Pod::new(&plan_to_publish(registry.host(), &changes));
    let login = json!({"username": "pusher", "password": PASSWORD});
    let config = json!({"auths": {registry.host(): login}}).to_string();
    pod.mount("credentials", "push", &[(".dockerconfigjson", &config)]);
    let (layout, digest) = Layout::with_image(pod.path("out/layout"));
    let blobs = std::fs::read_dir(layout.path().join("blobs/sha256")).unwrap();
    let size: u64 = blobs
        .map(|blob| blob.unwrap().metadata().unwrap().len())
        .sum();

    let published = pod.publish().await.succeeded();
    assert_eq!(published["digest"], json!(digest));
    assert_eq!(published["mediaType"], MediaType::OCI_MANIFEST);
    assert_eq!(
        (&published["size"], &published["blobsCopied"]),
        (&json!(size), &json!(2))
    );
    for tag in ["main", "v1"] {
        assert_eq!(manifest(&registry, tag).0, digest);
    }
    registry.assert_never_incomplete();

    // The second time, everything is there.
    let again = pod.publish().await.succeeded();
    assert_eq!(
        (&again["digest"], &again["bytes"]),
        (&json!(digest), &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_tag_an_image_is_found_by_its_digest() {
    let registry = Registry::start().await;
    let pod = Pod::new(&plan_to_publish(registry.host(), &json!({"tags": []})));
    let (_, digest) = Layout::with_image(pod.path("out/layout"));
    assert_eq!(pod.publish().await.succeeded()["digest"], json!(digest));
    assert_eq!(manifest(&registry, digest.as_str()).0, digest);
    let tagged = registry.requests().into_iter();
    let tagged =
        tagged.filter(|asked| asked.method == Method::PUT && asked.path.ends_with("/main"));
    assert_eq!(tagged.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_and_another_form_are_added_on_the_way() {
    let registry = Registry::start().await;
    let changes = json!({
        "annotations": {"team": "a", "builder": "2"},
        "conversion": {"format": "Preserve", "compression": "zstd:3", "leaveOutUnsupported": false},
    });
    let pod = Pod::new(&plan_to_publish(registry.host(), &changes));
    let (_, original) = Layout::with_image(pod.path("out/layout"));
    let published = pod.publish().await.succeeded();
    let (digest, document) = manifest(&registry, "main");
    assert_eq!(published["digest"], json!(digest));
    assert_ne!(digest, original);
    assert_eq!(
        document["annotations"],
        json!({"team": "a", "builder": "2"})
    );
    assert_eq!(
        document["layers"][0]["mediaType"],
        MediaType::OCI_LAYER_ZSTD
    );
    assert_eq!(manifest(&registry, "v1").0, digest);
    // The same inputs give the same image.
    assert_eq!(pod.publish().await.succeeded()["digest"], json!(digest));
}

/// As `BuildKit` leaves it when it attests by itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_among_its_attestations_is_published_alone() {
    let registry = Registry::start().await;
    let pod = Pod::new(&plan_to_publish(registry.host(), &json!({})));
    let layout = Layout::create(pod.path("out/layout"));
    let mut image = layout.add_image(&layer("content"));
    let mut attestation = layout.add_image(&layer("attestation"));
    image["platform"] = json!({"os": "linux", "architecture": "amd64"});
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image["digest"],
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [image, attestation],
    });
    let entry = layout.add_document(&index, MediaType::OCI_INDEX);
    layout.list(&[&entry]);
    let published = pod.publish().await.succeeded();
    assert_eq!(published["digest"], image["digest"]);
    assert_eq!(
        registry.manifest("team/app", attestation["digest"].as_str().unwrap()),
        None
    );
}

/// As `img` leaves it: Docker's documents in a tar file.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_docker_becomes_an_oci_image() {
    let registry = Registry::start().await;
    let changes = json!({
        "image": "archive", "annotations": {"team": "a"},
        "conversion": {"format": "Oci", "compression": null, "leaveOutUnsupported": false},
    });
    let pod = Pod::new(&plan_to_publish(registry.host(), &changes));
    let content = layer("content");
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(&content)]},
    });
    let table = json!([{"Config": "config.json", "RepoTags": ["app:v1"], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [
        ("layer.tar", content),
        ("config.json", config.to_string().into_bytes()),
        ("manifest.json", table.to_string().into_bytes()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        archive
            .append_data(&mut header, name, &content[..])
            .unwrap();
    }
    std::fs::write(pod.path("out/image.tar"), archive.into_inner().unwrap()).unwrap();
    let published = pod.publish().await.succeeded();
    let (digest, document) = manifest(&registry, "v1");
    assert_eq!(published["digest"], json!(digest));
    assert_eq!(published["mediaType"], MediaType::OCI_MANIFEST);
    assert_eq!(document["annotations"], json!({"team": "a"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_is_named() {
    let registry = Registry::builder().token("pusher", "right").start().await;
    let changes = json!({"access": {"credentials": "push", "insecure": true}});
    let pod = Pod::new(&plan_to_publish(registry.host(), &changes));
    Layout::with_image(pod.path("out/layout"));
    let config = json!({"auths": {registry.host(): {"username": "pusher", "password": PASSWORD}}});
    let failure = |failed: Value| (failed["class"].clone(), failed["reason"].clone());

    let missing = pod.publish().await.failed();
    assert_eq!(
        failure(missing),
        (json!("Registry"), json!("SecretInvalid"))
    );
    pod.mount(
        "credentials",
        "push",
        &[(".dockerconfigjson", &config.to_string())],
    );
    let refused = pod.publish().await.failed();
    assert_eq!(
        failure(refused),
        (json!("Registry"), json!("AuthenticationFailed"))
    );
    assert_eq!(registry.count(&Method::PUT, Endpoint::Manifest), 0);
}

fn with_sbom(registry: &Registry) -> Pod {
    Pod::new(&plan_to_publish(registry.host(), &json!({"sbom": true})))
}

/// What a scanner has found, with what it must not lose: numbers, and texts that look like an end.
const SBOM: &str =
    r#"{"spdxVersion":"SPDX-2.3","name":"app","packages":[{"name":"}\"é","n":1.10}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_of_materials_is_attached_as_it_was_written() {
    let registry = Registry::start().await;
    let pod = with_sbom(&registry);
    let (_, image) = Layout::with_image(pod.path("out/layout"));
    pod.write("sbom/sbom.spdx.json", SBOM);
    let published = pod.publish().await.succeeded();
    let attached = published["sbom"].as_str().unwrap();
    let (digest, artifact) = manifest(&registry, attached);
    assert_eq!(digest.as_str(), attached);
    assert_eq!(artifact["subject"]["digest"], json!(image));
    assert_eq!(artifact["artifactType"], IN_TOTO);
    let annotation = &artifact["annotations"]["in-toto.io/predicate-type"];
    assert_eq!(annotation, SBOM_PREDICATE_TYPE);
    let layer: Digest = artifact["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let statement = registry.blob("team/app", &layer).unwrap();
    let statement = String::from_utf8(statement.to_vec()).unwrap();
    assert!(
        statement.ends_with(&format!("\"predicate\":{SBOM}}}")),
        "{statement}"
    );
    let statement: Value = serde_json::from_str(&statement).unwrap();
    let (_, encoded) = image.as_str().split_once(':').unwrap();
    assert_eq!(statement["subject"][0]["digest"]["sha256"], encoded);
    assert_eq!(statement["predicateType"], SBOM_PREDICATE_TYPE);
    registry.assert_never_incomplete();
    // Doing it again leaves one.
    assert_eq!(pod.publish().await.succeeded()["sbom"], attached);
}

#[rstest]
#[case::none(None, "bill of materials")]
#[case::cut(Some(r#"{"spdxVersion":"SPDX-2.3","packages":["#), "no SPDX document")]
#[case::two(
    Some(r#"{"spdxVersion":"SPDX-2.3"}, "subject": [], "x": {}"#),
    "no SPDX document"
)]
#[case::other(Some(r#"{"bomFormat":"CycloneDX"}"#), "no SPDX document")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_bill_of_materials_is_not_attached(
    #[case] content: Option<&str>,
    #[case] expected: &str,
) {
    let registry = Registry::start().await;
    let pod = with_sbom(&registry);
    let (_, image) = Layout::with_image(pod.path("out/layout"));
    if let Some(content) = content {
        pod.write("sbom/sbom.spdx.json", content);
    }
    let failure = pod.publish().await.failed();
    assert_eq!(failure["reason"], "ScanFailed");
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains(expected), "{message}");
    let manifests = registry.requests().into_iter();
    let manifests =
        manifests.filter(|asked| asked.method == Method::PUT && asked.path.contains("/manifests/"));
    let written: BTreeSet<_> = manifests.map(|asked| asked.path).collect();
    let tags = ["main", "v1"].map(|tag| format!("/v2/team/app/manifests/{tag}"));
    let image = format!("/v2/team/app/manifests/{image}");
    assert!(
        written
            .iter()
            .all(|path| tags.contains(path) || *path == image),
        "{written:?}"
    );
}
