//! What becomes of what builders leave.

use axum::http::Method;
use serde_json::{Value, json};
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
