//! A worker that is told to end: no blob is begun, and nothing is left open that nobody goes on with.

use std::process::Child;
use std::time::Duration;

use axum::http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use transship::registry::CHUNK_BYTES;
use transship::worker::EXIT_INTERRUPTED;

use super::{Pod, plan_of};
use crate::support::registry::{Endpoint, Recorded, Registry};

fn plan(source: &Registry, destination: &Registry, layers: &[&[u8]]) -> Value {
    let digest = source.seed_image("app", Some("v1"), layers);
    plan_of(&json!([{
        "source": format!("{}/app:v1", source.host()),
        "access": {"insecure": true},
        "digest": digest,
        "destinations": [{
            "reference": format!("{}/app:v1", destination.host()),
            "access": {"insecure": true},
        }],
    }]))
}

async fn terminate(worker: &Child) {
    let told = tokio::process::Command::new("kill")
        .args(["-TERM", &worker.id().to_string()])
        .status();
    assert!(told.await.unwrap().success());
}

async fn exit_code(mut worker: Child) -> Option<i32> {
    let ended = tokio::task::spawn_blocking(move || worker.wait().unwrap());
    let ended = tokio::time::timeout(Duration::from_mins(2), ended);
    ended.await.expect("it does not end").unwrap().code()
}

#[tokio::test]
async fn case_89_a_worker_that_is_told_to_end_ends_its_uploads() {
    let (source, destination) = (Registry::start().await, Registry::start().await);
    let pod = Pod::new(&plan(&source, &destination, &[b"one", b"two", b"three"]));
    // The configuration and three layers.
    let uploads = destination.hold_up(Endpoint::Session, |asked| asked.method == Method::PUT);
    let worker = pod.start();
    uploads.wait_for(4).await;
    terminate(&worker).await;

    assert_eq!(exit_code(worker).await, Some(i32::from(EXIT_INTERRUPTED)));
    assert_eq!(destination.open_sessions("app"), 0);
    let opened = destination.count(&Method::POST, Endpoint::Uploads);
    assert_eq!(
        destination.count(&Method::DELETE, Endpoint::Session),
        opened
    );
    assert_eq!(destination.manifest("app", "v1"), None);
    // No report: the controller starts another pod, which finds everything as it was.
    assert!(!pod.path("report").exists());

    destination.clear_rules();
    let again = tokio::task::spawn_blocking(move || pod.run());
    let (code, _, log) = again.await.unwrap();
    assert_eq!(code, Some(0), "{log}");
    assert!(destination.manifest("app", "v1").is_some());
    destination.assert_never_incomplete();
}

#[rstest]
#[case::before_a_chunk_was_acknowledged(|asked: &Recorded| asked.method == Method::PATCH, 0)]
#[case::after_one_was(
    |asked: &Recorded| asked.header("content-range").is_some_and(|it| it.starts_with("16777216-")), 1)]
#[tokio::test]
async fn case_89_an_upload_that_can_go_on_is_kept(
    #[case] which: fn(&Recorded) -> bool,
    #[case] kept: usize,
) {
    let (source, destination) = (Registry::start().await, Registry::start().await);
    let layer = vec![7; usize::try_from(3 * CHUNK_BYTES).unwrap()];
    let pod = Pod::new(&plan(&source, &destination, &[&layer]));
    let chunk = destination.hold_up(Endpoint::Session, which);
    let worker = pod.start();
    chunk.wait_for(1).await;
    terminate(&worker).await;

    assert_eq!(exit_code(worker).await, Some(i32::from(EXIT_INTERRUPTED)));
    assert_eq!(destination.open_sessions("app"), kept);
    assert_eq!(pod.path("state").read_dir().unwrap().count(), kept);
}
