//! What the registry does for a client that does nothing wrong.

use axum::http::Method;
use serde_json::json;
use transship::oci::Digest;
use transship::registry::{Access, Certificates, ManifestReference};

use super::http;
use crate::support::registry::{Endpoint, Registry};
use crate::support::tls::Authority;
use crate::support::{
    client, credentials, image, plain, plain_with, pull_blob, push_blob, repository,
};

/// Pushes an image and reads it back.
async fn round_trip(registry: &Registry, access: &Access) {
    let client = client(registry.host(), access);
    let app = repository("team/app");
    let tag = "v1".parse().unwrap();
    let config = push_blob(&client, &app, b"{}").await.unwrap();
    let layer = push_blob(&client, &app, b"a layer").await.unwrap();
    let manifest = image(&config, &layer);
    client
        .put_manifest(&app, &manifest, Some(&tag))
        .await
        .unwrap();

    let got = client
        .get_manifest(&app, ManifestReference::Tag(&tag))
        .await
        .unwrap();
    assert_eq!(got, manifest);
    assert_eq!(pull_blob(&client, &app, &layer).await.unwrap(), b"a layer");
    let stored = registry.manifest("team/app", "v1").unwrap();
    assert_eq!(stored.bytes, *manifest.bytes());
    assert_eq!(registry.open_sessions("team/app"), 0);
    assert!(registry.duplicate_uploads().is_empty());
    registry.assert_never_incomplete();
}

#[tokio::test]
async fn an_image_goes_in_and_out() {
    let registry = Registry::start().await;
    round_trip(&registry, &plain()).await;
    assert_eq!(registry.count(&Method::PUT, Endpoint::Manifest), 1);
    let gets = registry.requests();
    let get = gets
        .iter()
        .rfind(|request| request.endpoint == Endpoint::Blob);
    assert_eq!(get.unwrap().response_bytes(), 7);
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let registry = Registry::builder().basic("user", "secret").start().await;
    round_trip(&registry, &plain_with("user", "secret")).await;
    let client = client(registry.host(), &plain_with("user", "wrong"));
    assert!(push_blob(&client, &repository("app"), b"{}").await.is_err());
}

#[tokio::test]
async fn a_token_is_asked_for_and_expires() {
    let registry = Registry::builder().token("user", "secret").start().await;
    round_trip(&registry, &plain_with("user", "secret")).await;
    let tokens = registry.count(&Method::GET, Endpoint::Token);
    assert!(tokens > 0);
    let client = client(registry.host(), &plain_with("user", "secret"));
    let app = repository("app");
    push_blob(&client, &app, b"before").await.unwrap();
    registry.expire_tokens();
    push_blob(&client, &app, b"after").await.unwrap();
    assert!(registry.count(&Method::GET, Endpoint::Token) > tokens + 1);
}

#[tokio::test]
async fn tls_is_served() {
    let authority = Authority::new();
    let registry = Registry::builder()
        .tls(&authority)
        .basic("user", "secret")
        .start()
        .await;
    let access = Access {
        credentials: Some(credentials("user", "secret")),
        certificates: Certificates {
            ca_bundle: Some(authority.certificate().into()),
            ..Certificates::default()
        },
        ..Access::default()
    };
    round_trip(&registry, &access).await;
}

#[tokio::test]
async fn a_torn_tag_is_noticed() {
    let registry = Registry::start().await;
    registry.seed_image("app", Some("v1"), &[b"a layer"]);
    registry.assert_never_incomplete();
    registry.lose_blob("app", &Digest::sha256(b"a layer"));
    let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        registry.assert_never_incomplete();
    }));
    assert!(noticed.is_err());
}

#[tokio::test]
async fn an_incomplete_manifest_is_refused_unless_the_registry_is_permissive() {
    for (registry, status) in [
        (Registry::start().await, 400),
        (Registry::builder().permissive().start().await, 201),
    ] {
        let absent = json!({"mediaType": "a/b", "digest": Digest::sha256(b"absent"), "size": 6});
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let document = json!({
            "schemaVersion": 2, "mediaType": media_type, "config": absent, "layers": [],
        });
        let put = http().put(format!("http://{}/v2/app/manifests/v1", registry.host()));
        let put = put
            .header("content-type", media_type)
            .body(document.to_string());
        let response = put.send().await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(registry.manifest("app", "v1").is_some(), status == 201);
        let text = response.text().await.unwrap();
        assert_eq!(text.contains("MANIFEST_BLOB_UNKNOWN"), status == 400);
    }
}
