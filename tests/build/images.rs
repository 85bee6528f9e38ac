//! Contexts that are images or artifacts in a registry.

use serde_json::json;
use transship::oci::{Digest, MediaType};

use super::{PASSWORD, Pod, plan_to_fetch};
use crate::support::registry::{Action, Endpoint, Registry, Rule};
use crate::transports::images::Image;

fn docker_config(host: &str) -> String {
    json!({"auths": {host: {"username": "builder", "password": PASSWORD}}}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layers_of_an_image_are_the_context() {
    let registry = Registry::builder().token("builder", PASSWORD).start().await;
    let digest = Image::with_files(&["one", "two"]).seed(&registry, "context", "v1");
    let pod = Pod::new(&plan_to_fetch(&json!({"image": {
        "reference": format!("{}/context@{digest}", registry.host()),
        "access": {"credentials": "pull", "insecure": true},
    }})));
    let config = docker_config(registry.host());
    pod.mount("credentials", "pull", &[(".dockerconfigjson", &config)]);
    assert_eq!(
        pod.fetch().await.succeeded(),
        json!({"files": 2, "bytes": 6})
    );
    assert_eq!(
        std::fs::read_to_string(pod.context("file-1")).unwrap(),
        "two"
    );
}

/// A layer that breaks off is read again; one that is not what its digest says is not used.
#[tokio::test(flavor = "multi_thread")]
async fn layers_are_verified() {
    let registry = Registry::start().await;
    let digest = Image::with_files(&["one"]).seed(&registry, "context", "v1");
    let pod = || {
        Pod::new(&plan_to_fetch(&json!({"image": {
            "reference": format!("{}/context@{digest}", registry.host()),
            "access": {"insecure": true},
        }})))
    };
    registry.add(Rule::on(Endpoint::Blob, Action::status(503)).times(1));
    assert_eq!(
        pod().fetch().await.succeeded(),
        json!({"files": 1, "bytes": 3})
    );

    let manifest = registry.manifest("context", digest.as_str()).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
    let layer: Digest = manifest["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let length = registry.blob("context", &layer).unwrap().len();
    registry.seed_blob_as("context", &layer, &vec![0; length]);
    let failed = pod().fetch().await.failed();
    assert_eq!(failed["class"], "Source", "{failed}");

    registry.lose_blob("context", &layer);
    let failed = pod().fetch().await.failed();
    assert_eq!(
        (&failed["class"], &failed["reason"]),
        (&json!("Source"), &json!("SourceNotFound"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_has_to_have_one_image() {
    let registry = Registry::start().await;
    let digests =
        ["one", "two"].map(|text| Image::with_files(&[text]).seed(&registry, "context", text));
    let entry = |digest: &Digest| {
        let size = registry
            .manifest("context", digest.as_str())
            .unwrap()
            .bytes
            .len();
        json!({"mediaType": MediaType::OCI_MANIFEST, "digest": digest, "size": size})
    };
    for (children, expected) in [
        (&digests[..1], None),
        (&digests[..], Some("ContextInvalid")),
    ] {
        let index = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX,
            "manifests": children.iter().map(entry).collect::<Vec<_>>(),
        });
        let digest = registry.seed_manifest("context", None, &index);
        let pod = Pod::new(&plan_to_fetch(&json!({"image": {
            "reference": format!("{}/context@{digest}", registry.host()),
            "access": {"insecure": true},
        }})));
        let ended = pod.fetch().await;
        match expected {
            None => assert_eq!(ended.succeeded()["files"], 1),
            Some(reason) => assert_eq!(ended.failed()["reason"], reason),
        }
    }
}
