//! A Docker daemon: to it, from it, and what Docker says of it.

use std::sync::Arc;

use serde_json::Value;
use transship::copy::ManifestName;
use transship::transport::{DockerArchiveSource, DockerDaemon};

use super::docker::{digests, name};
use super::images::{Image, copy, repository, tagged};
use crate::support::docker_daemon::DockerDaemon as RunningDaemon;
use crate::support::install_tls_provider;
use crate::support::registry::{Action, Endpoint, Registry, Rule};

#[tokio::test]
async fn a_daemon_takes_an_image_and_gives_it_back() {
    install_tls_provider();
    let registry = Registry::start().await;
    let image = Image::with_files(&["one", "two"]);
    image.seed(&registry, "team/app", "v1");
    let running = RunningDaemon::start().await;
    let daemon = DockerDaemon::new(Some(&running.host())).unwrap();
    let wanted = name("corp.example/app:v2");
    let place =
        Arc::new(daemon.destination(wanted.registry().clone(), wanted.repository().clone()));
    // What was sent cannot be taken back, and must do no harm.
    registry.add(Rule::on(Endpoint::Blob, Action::FlipBit(10)).times(2));
    copy(
        repository(&registry, "team/app"),
        tagged("v1"),
        place,
        Some("v2"),
    )
    .await
    .unwrap();
    let inspect = [
        "image",
        "inspect",
        "--format",
        "{{.Id}} {{.RepoTags}}",
        "corp.example/app:v2",
    ];
    assert_eq!(
        running.answer(&inspect),
        format!("{} [corp.example/app:v2]", image.id())
    );

    let source = daemon.source(&wanted).await.unwrap();
    copy(
        Arc::new(source),
        tagged("v2"),
        repository(&registry, "copy"),
        Some("v3"),
    )
    .await
    .unwrap();
    let stored = registry.manifest("copy", "v3").unwrap();
    let manifest: Value = serde_json::from_slice(&stored.bytes).unwrap();
    assert_eq!(manifest["config"]["digest"], image.id().as_str());
    assert_eq!(digests(&manifest), image.diff_ids());

    let missing = daemon
        .source(&name("corp.example/other:v2"))
        .await
        .unwrap_err();
    assert!(
        missing
            .to_string()
            .ends_with("has no image corp.example/other:v2"),
        "{missing}"
    );

    // What the daemon itself saves, several images with layers that they share.
    let second = Image::with_files(&["one", "three"]);
    let directory = tempfile::tempdir().unwrap();
    let loaded = directory.path().join("second.tar");
    std::fs::write(&loaded, second.saved("other:1")).unwrap();
    running.answer(&["load", "--input", loaded.to_str().unwrap()]);
    let saved = directory.path().join("saved.tar");
    running.answer(&[
        "save",
        "--output",
        saved.to_str().unwrap(),
        "corp.example/app:v2",
        "other:1",
    ]);
    for (reference, expected) in [("corp.example/app:v2", &image), ("other:1", &second)] {
        let source = DockerArchiveSource::open(&saved, Some(&name(reference)))
            .await
            .unwrap();
        let digest = source.image().clone();
        copy(
            Arc::new(source),
            ManifestName::Digest(digest.clone()),
            repository(&registry, "saved"),
            None,
        )
        .await
        .unwrap();
        let stored = registry.manifest("saved", digest.as_str()).unwrap();
        let manifest: Value = serde_json::from_slice(&stored.bytes).unwrap();
        assert_eq!(digests(&manifest), expected.diff_ids());
    }
}

#[tokio::test]
async fn an_image_that_a_daemon_refuses_is_a_failure() {
    install_tls_provider();
    let registry = Registry::start().await;
    let mut image = Image::with_files(&["one"]);
    image.layers[0] = Image::with_files(&["another"]).layers.remove(0);
    image.seed(&registry, "app", "v1");
    let running = RunningDaemon::start().await;
    let daemon = DockerDaemon::new(Some(&running.host())).unwrap();
    let wanted = name("app:v1");
    let place =
        Arc::new(daemon.destination(wanted.registry().clone(), wanted.repository().clone()));
    let failure = copy(
        repository(&registry, "app"),
        tagged("v1"),
        place,
        Some("v1"),
    )
    .await
    .unwrap_err();
    assert!(
        failure.message.contains("could not load the image"),
        "{failure}"
    );
    assert_eq!(running.answer(&["images", "--quiet"]), "");
}

#[tokio::test]
async fn without_a_daemon_the_message_says_so() {
    install_tls_provider();
    let directory = tempfile::tempdir().unwrap();
    let host = format!("unix://{}/docker.sock", directory.path().display());
    let daemon = DockerDaemon::new(Some(&host)).unwrap();
    let error = daemon
        .source(&name("app:v1"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("check that the daemon runs"), "{error}");
    let error = DockerDaemon::new(Some("tcp://127.0.0.1:2375"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("unix:///PATH"), "{error}");
}
