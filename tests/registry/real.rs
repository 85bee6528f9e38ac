//! Against a real registry: what is written can be read back.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use transship::oci::{Digest, Manifest};
use transship::registry::{ErrorKind, ManifestReference, Upload, UploadError};

use crate::support::any_registry::{AnyRegistry, Kind};
use crate::support::docker_registry::DockerRegistry;
use crate::support::{
    blob, client, image, pieces, plain, pull_blob, push_blob, repository, session,
};

#[tokio::test]
async fn an_image_is_pushed_and_pulled() {
    let registry = DockerRegistry::plain();
    let client = client(registry.host(), &plain());
    let app = repository("team/app");
    let tag = "v1".parse().unwrap();

    assert_eq!(
        client
            .head_manifest(&app, ManifestReference::Tag(&tag))
            .await
            .unwrap(),
        None
    );
    let config = push_blob(&client, &app, b"{}").await.unwrap();
    let layer = push_blob(&client, &app, b"the content of a layer")
        .await
        .unwrap();
    let manifest = image(&config, &layer);
    client
        .put_manifest(&app, &manifest, Some(&tag))
        .await
        .unwrap();

    let head = client
        .head_manifest(&app, ManifestReference::Tag(&tag))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head.digest, *manifest.digest());
    assert_eq!(head.media_type, *manifest.media_type());
    assert_eq!(head.size, Some(manifest.bytes().len() as u64));
    for reference in [
        ManifestReference::Tag(&tag),
        ManifestReference::Digest(manifest.digest()),
    ] {
        assert_eq!(
            client.get_manifest(&app, reference).await.unwrap(),
            manifest
        );
    }
    assert!(client.blob_exists(&app, &layer.digest).await.unwrap());
    assert_eq!(
        pull_blob(&client, &app, &layer).await.unwrap(),
        b"the content of a layer"
    );
    assert_eq!(registry.open_uploads("team/app"), 0);
}

#[tokio::test]
async fn a_manifest_is_pushed_by_its_digest() {
    let registry = DockerRegistry::plain();
    let client = client(registry.host(), &plain());
    let app = repository("app");
    let config = push_blob(&client, &app, b"{}").await.unwrap();
    let manifest = image(&config, &config);
    client.put_manifest(&app, &manifest, None).await.unwrap();
    let found = client
        .head_manifest(&app, ManifestReference::Digest(manifest.digest()))
        .await
        .unwrap();
    assert_eq!(found.unwrap().digest, *manifest.digest());
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let registry = DockerRegistry::plain();
    let client = client(registry.host(), &plain());
    let (source, target) = (repository("base/os"), repository("team/app"));
    let layer = push_blob(&client, &source, b"shared").await.unwrap();

    let upload = client
        .start_upload(&target, &layer.digest, Some(&source))
        .await
        .unwrap();
    assert!(matches!(upload, Upload::Mounted));
    assert_eq!(
        pull_blob(&client, &target, &layer).await.unwrap(),
        b"shared"
    );
}

#[tokio::test]
async fn a_blob_that_cannot_be_mounted_is_uploaded_into_the_session_that_was_opened() {
    let registry = DockerRegistry::plain();
    let client = client(registry.host(), &plain());
    let (source, target) = (repository("base/os"), repository("team/app"));
    let layer = blob(b"nowhere yet");

    let upload = client
        .start_upload(&target, &layer.digest, Some(&source))
        .await
        .unwrap();
    client
        .upload_blob(session(upload), &layer, pieces(b"nowhere yet"))
        .await
        .unwrap();
    assert!(client.blob_exists(&target, &layer.digest).await.unwrap());
    assert_eq!(registry.open_uploads("team/app"), 0);
}

#[tokio::test]
async fn an_empty_blob_passes() {
    let registry = DockerRegistry::plain();
    let client = client(registry.host(), &plain());
    let app = repository("app");
    let empty = push_blob(&client, &app, b"").await.unwrap();
    assert_eq!(pull_blob(&client, &app, &empty).await.unwrap(), b"");
}

#[tokio::test]
async fn content_that_is_not_the_blob_is_refused() {
    let registry = DockerRegistry::plain();
    let client = client(registry.host(), &plain());
    let app = repository("app");
    let expected = blob(b"expected");

    let upload = client
        .start_upload(&app, &expected.digest, None)
        .await
        .unwrap();
    let error = client
        .upload_blob(session(upload), &expected, pieces(b"differs!"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, UploadError::Destination(error) if error.kind() == ErrorKind::Protocol),
        "{error:?}"
    );
    assert!(!client.blob_exists(&app, &expected.digest).await.unwrap());
}

#[tokio::test]
async fn a_failing_source_is_named_and_commits_nothing() {
    let registry = DockerRegistry::plain();
    let client = client(registry.host(), &plain());
    let app = repository("app");
    let layer = blob(b"half and half");

    let upload = client
        .start_upload(&app, &layer.digest, None)
        .await
        .unwrap();
    let content = stream::iter([
        Ok(Bytes::from_static(b"half ")),
        Err(io::Error::other("disk on fire")),
    ]);
    let error = client
        .upload_blob(session(upload), &layer, content)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, UploadError::Source(source) if source.to_string() == "disk on fire"),
        "{error:?}"
    );
    assert!(!client.blob_exists(&app, &layer.digest).await.unwrap());
}

#[tokio::test]
async fn content_of_another_length_than_announced_is_the_sources_fault() {
    let registry = DockerRegistry::plain();
    let client = client(registry.host(), &plain());
    let app = repository("app");
    let layer = blob(b"exactly twenty bytes");
    for content in [&b"fewer"[..], b"many more bytes than the twenty"] {
        let upload = client
            .start_upload(&app, &layer.digest, None)
            .await
            .unwrap();
        let error = client
            .upload_blob(session(upload), &layer, pieces(content))
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                UploadError::<Infallible>::SourceLength { expected: 20 }
            ),
            "{error:?}"
        );
        assert!(!client.blob_exists(&app, &layer.digest).await.unwrap());
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let registry = DockerRegistry::plain();
    let client = client(registry.host(), &plain());
    let app = repository("app");
    let missing = blob(b"missing");
    assert!(!client.blob_exists(&app, &missing.digest).await.unwrap());
    let error = pull_blob(&client, &app, &missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let reference = ManifestReference::Digest(&missing.digest);
    let error = client.get_manifest(&app, reference).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        format!(
            "cannot read the manifest {}/app@{}: the registry answered 404 (MANIFEST_UNKNOWN)",
            registry.host(),
            missing.digest
        )
    );
}

/// Case 55: the registry in memory writes `null` for no referrers, and has the API all the same.
#[tokio::test]
async fn case_55_no_referrers_are_not_taken_for_no_api() {
    let registry = AnyRegistry::start(Kind::Ocimem).await;
    let client = client(registry.host(), &plain());
    let app = repository("app");
    let config = push_blob(&client, &app, b"{}").await.unwrap();
    let mut subjects = Vec::new();
    for layer in [&b"one"[..], b"two"] {
        let layer = push_blob(&client, &app, layer).await.unwrap();
        let subject = image(&config, &layer);
        client.put_manifest(&app, &subject, None).await.unwrap();
        subjects.push(subject);
    }
    let [_, signed] = &subjects[..] else {
        panic!("two images");
    };
    let mut document: Value = serde_json::from_slice(image(&config, &config).bytes()).unwrap();
    document["subject"] = json!({
        "mediaType": signed.media_type(), "digest": signed.digest(), "size": signed.bytes().len(),
    });
    let signature = Manifest::new(
        Bytes::from(document.to_string()),
        signed.media_type().clone(),
    );
    client.put_manifest(&app, &signature, None).await.unwrap();
    let mut found: Vec<Vec<Digest>> = Vec::new();
    for subject in &subjects {
        let tags = Some(&BTreeSet::new());
        let listed = client
            .referrers(&app, subject.digest(), tags)
            .await
            .unwrap();
        found.push(listed.into_iter().map(|entry| entry.digest).collect());
    }
    assert_eq!(found, [vec![], vec![signature.digest().clone()]]);
}
