//! What the registry does wrong when a test tells it to, seen by a plain HTTP client.

use std::time::{Duration, Instant};

use axum::http::Method;
use futures::StreamExt as _;
use transship::oci::Digest;

use super::http;
use crate::support::registry::{Action, Endpoint, Random, Registry, Role, Rule, random_faults};

const LAYER: &[u8] = b"0123456789";

/// A registry with one blob, and the URL of the blob.
async fn with_a_blob() -> (Registry, String) {
    let registry = Registry::start().await;
    registry.seed_blob("app", LAYER);
    let digest = Digest::sha256(LAYER);
    let url = format!("http://{}/v2/app/blobs/{digest}", registry.host());
    (registry, url)
}

#[tokio::test]
async fn a_rule_acts_on_the_requests_it_names() {
    let (registry, url) = with_a_blob().await;
    let rule = Rule::on(Endpoint::Blob, Action::status(503));
    registry.add(rule.method(Method::GET).after(1).times(2));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(http().get(&url).send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 503, 503, 200]);
    let recorded = registry.requests();
    let recorded: Vec<_> = recorded.iter().map(|request| request.status).collect();
    assert_eq!(recorded, statuses);
}

#[tokio::test]
async fn a_response_is_cut_after_some_bytes() {
    let (registry, url) = with_a_blob().await;
    registry.add(Rule::on(Endpoint::Blob, Action::CutResponse(4)));
    let response = http().get(&url).send().await.unwrap();
    assert_eq!(response.content_length(), Some(10));
    let mut body = response.bytes_stream();
    let mut received = Vec::new();
    let mut broken = false;
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => received.extend_from_slice(&piece),
            Err(_) => broken = true,
        }
    }
    assert!(broken);
    assert_eq!(received, b"0123");
}

#[tokio::test]
async fn a_request_is_cut_and_changes_nothing() {
    let (registry, _) = with_a_blob().await;
    registry.add(Rule::on(Endpoint::Uploads, Action::CutRequest(3)).times(1));
    let content = b"other content";
    let digest = Digest::sha256(content);
    let url = format!(
        "http://{}/v2/app/blobs/uploads/?digest={digest}",
        registry.host()
    );
    let post = || http().post(&url).body(content.to_vec()).send();
    assert!(post().await.is_err());
    assert_eq!(registry.blob("app", &digest), None);
    assert_eq!(post().await.unwrap().status(), 201);
    assert!(registry.blob("app", &digest).is_some());
}

#[tokio::test]
async fn an_answer_is_lost_after_the_deed() {
    let (registry, url) = with_a_blob().await;
    registry.add(Rule::on(Endpoint::Blob, Action::LoseAnswer).times(1));
    assert!(http().delete(&url).send().await.is_err());
    assert_eq!(registry.blob("app", &Digest::sha256(LAYER)), None);
}

#[tokio::test]
async fn a_bit_is_flipped_and_a_header_replaced() {
    let (registry, url) = with_a_blob().await;
    registry.add(Rule::on(Endpoint::Blob, Action::FlipBit(0)));
    let wrong = Action::SetHeader("docker-content-digest", "sha256:wrong".to_owned());
    registry.add(Rule::on(Endpoint::Blob, wrong));
    registry.add(Rule::on(
        Endpoint::Blob,
        Action::RemoveHeader("accept-ranges"),
    ));
    let response = http().get(&url).send().await.unwrap();
    assert_eq!(response.headers()["docker-content-digest"], "sha256:wrong");
    assert!(!response.headers().contains_key("accept-ranges"));
    assert_eq!(response.bytes().await.unwrap(), &b"1123456789"[..]);
}

#[tokio::test]
async fn a_range_is_served_or_ignored() {
    let (registry, url) = with_a_blob().await;
    let get = || http().get(&url).header("range", "bytes=4-6").send();
    let response = get().await.unwrap();
    assert_eq!(response.status(), 206);
    assert_eq!(response.headers()["content-range"], "bytes 4-6/10");
    assert_eq!(response.bytes().await.unwrap(), &b"456"[..]);
    registry.add(Rule::on(Endpoint::Blob, Action::IgnoreRange));
    let response = get().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.bytes().await.unwrap(), LAYER);
}

#[tokio::test]
async fn an_upload_is_acknowledged_and_forgotten() {
    let (registry, _) = with_a_blob().await;
    registry.add(Rule::on(Endpoint::Uploads, Action::Forget));
    let digest = Digest::sha256(b"content");
    let url = format!(
        "http://{}/v2/app/blobs/uploads/?digest={digest}",
        registry.host()
    );
    let post = || http().post(&url).body("content").send();
    assert_eq!(post().await.unwrap().status(), 201);
    assert_eq!(registry.blob("app", &digest), None);
    registry.clear_rules();
    assert_eq!(post().await.unwrap().status(), 201);
    assert!(registry.blob("app", &digest).is_some());
}

#[tokio::test]
async fn a_session_is_lost() {
    let (registry, _) = with_a_blob().await;
    let lost = Rule::on(Endpoint::Session, Action::LoseSession);
    registry.add(lost.when(|request| request.header("content-range") == Some("4-7")));
    let http = http();
    let url = format!("http://{}/v2/app/blobs/uploads/", registry.host());
    let opened = http.post(&url).send().await.unwrap();
    let location = opened.headers()["location"].to_str().unwrap();
    let session = format!("http://{}{location}", registry.host());
    let mut statuses = Vec::new();
    for range in ["0-3", "4-7"] {
        let chunk = http.patch(&session).header("content-range", range);
        statuses.push(chunk.body("0123").send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [202, 404]);
    assert_eq!(registry.open_sessions("app"), 0);
}

#[tokio::test]
async fn an_answer_comes_late() {
    let (registry, url) = with_a_blob().await;
    let delay = Duration::from_millis(20);
    registry.add(Rule::on(Endpoint::Blob, Action::Delay(delay)));
    let began = Instant::now();
    assert_eq!(http().get(&url).send().await.unwrap().status(), 200);
    assert!(began.elapsed() >= delay);
}

/// Sends content in one request under its true digest; the status.
async fn post(registry: &Registry, content: &'static [u8]) -> u16 {
    let digest = Digest::sha256(content);
    let url = format!(
        "http://{}/v2/app/blobs/uploads/?digest={digest}",
        registry.host()
    );
    let response = http().post(&url).body(content).send().await.unwrap();
    response.status().as_u16()
}

#[rstest::rstest]
#[case::flipped(Action::FlipReceivedBit(0), 400)]
#[case::too_large(Action::MaxBody(6), 413)]
#[case::large_enough(Action::MaxBody(7), 201)]
#[tokio::test]
async fn an_upload_is_damaged_or_refused(#[case] action: Action, #[case] status: u16) {
    let registry = Registry::start().await;
    registry.add(Rule::on(Endpoint::Uploads, action));
    assert_eq!(post(&registry, b"content").await, status);
    let stored = registry.blob("app", &Digest::sha256(b"content"));
    assert_eq!(stored.is_some(), status == 201);
}

#[tokio::test]
async fn the_last_chunk_wins() {
    let registry = Registry::start().await;
    registry.add(Rule::on(Endpoint::Session, Action::LastChunkWins));
    let http = http();
    let url = format!("http://{}/v2/app/blobs/uploads/", registry.host());
    let opened = http.post(&url).send().await.unwrap();
    let location = opened.headers()["location"].to_str().unwrap();
    let session = format!("http://{}{location}", registry.host());
    for (range, chunk) in [("0-3", "0123"), ("4-5", "45")] {
        let chunk = http
            .patch(&session)
            .header("content-range", range)
            .body(chunk);
        assert_eq!(chunk.send().await.unwrap().status(), 202);
    }
    let digest = Digest::sha256(b"45");
    let end = http.put(format!("{session}?digest={digest}")).send();
    assert_eq!(end.await.unwrap().status(), 201);
}

#[tokio::test]
async fn what_was_acknowledged_is_seen_later() {
    let registry = Registry::start().await;
    registry.add(Rule::on(Endpoint::Uploads, Action::ShowLater(2)));
    registry.add(Rule::on(Endpoint::Manifest, Action::ShowLater(1)).method(Method::PUT));
    assert_eq!(post(&registry, b"content").await, 201);
    let url = format!("http://{}/v2/app", registry.host());
    let get = async |rest: String| {
        let response = http().get(format!("{url}/{rest}")).send().await.unwrap();
        response.status().as_u16()
    };
    let blob = Digest::sha256(b"content");
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(get(format!("blobs/{blob}")).await);
    }
    assert_eq!(statuses, [404, 404, 200]);

    let index = "application/vnd.oci.image.index.v1+json";
    let put = http().put(format!("{url}/manifests/v1"));
    let put = put.header("content-type", index).body("{\"manifests\":[]}");
    assert_eq!(put.send().await.unwrap().status(), 201);
    assert_eq!(get("manifests/v1".to_owned()).await, 404);
    assert_eq!(get("manifests/v1".to_owned()).await, 200);
}

#[tokio::test]
async fn garbage_is_collected_between_two_requests() {
    let (registry, url) = with_a_blob().await;
    let kept = registry.seed_image("app", Some("v1"), &[b"kept"]);
    let collects = Rule::on(Endpoint::Blob, Action::CollectGarbage);
    registry.add(collects.method(Method::GET));
    assert_eq!(http().head(&url).send().await.unwrap().status(), 200);
    assert_eq!(http().get(&url).send().await.unwrap().status(), 404);
    assert!(registry.manifest("app", kept.as_str()).is_some());
    assert!(registry.blob("app", &Digest::sha256(b"kept")).is_some());
    registry.assert_never_incomplete();
}

#[tokio::test]
async fn an_answer_is_compressed() {
    let (registry, url) = with_a_blob().await;
    registry.add(Rule::on(Endpoint::Blob, Action::Compress));
    let response = http().get(&url).send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = response.bytes().await.unwrap();
    // The stored block, and the checksum that `gzip` gives for it.
    assert_eq!(&body[10..25], b"\x00\x0a\x00\xf5\xff0123456789");
    assert_eq!(&body[30..], b"\xc6\xc7\x84\xa6\x0a\x00\x00\x00");
}

#[tokio::test]
async fn pages_have_no_end() {
    let registry = Registry::start().await;
    registry.seed_image("app", Some("v1"), &[]);
    registry.add(Rule::on(Endpoint::Tags, Action::EndlessPages));
    let url = format!("http://{}/v2/app/tags/list", registry.host());
    let mut links = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let response = http().get(&url).send().await.unwrap();
        links.insert(response.headers()["link"].to_str().unwrap().to_owned());
    }
    assert_eq!(links.len(), 3);
}

#[tokio::test]
async fn content_is_at_another_origin() {
    let (registry, url) = with_a_blob().await;
    let (store, stored) = with_a_blob().await;
    let elsewhere = Action::RedirectTo(format!("http://{}", store.host()));
    registry.add(Rule::on(Endpoint::Blob, elsewhere));
    let response = http().get(&url).send().await.unwrap();
    assert_eq!(response.url().as_str(), stored);
    assert_eq!(response.bytes().await.unwrap(), LAYER);
}

/// The statuses of the same requests under the faults of a seed; 0 for a broken connection.
async fn statuses_under(http: &reqwest::Client, seed: u64) -> Vec<u16> {
    let (registry, url) = with_a_blob().await;
    for rule in random_faults(&mut Random::new(seed), Role::Source) {
        registry.add(rule);
    }
    let mut statuses = Vec::new();
    // More than all rules of a schedule together last.
    for _ in 0..24 {
        let answer = http.get(&url).send().await;
        statuses.push(answer.map_or(0, |answer| answer.status().as_u16()));
    }
    statuses
}

#[tokio::test]
async fn a_seed_always_means_the_same_faults_and_they_end() {
    let http = http();
    let mut some_fault = false;
    for seed in 0..20 {
        let statuses = statuses_under(&http, seed).await;
        assert_eq!(statuses, statuses_under(&http, seed).await, "seed {seed}");
        assert_eq!(statuses.last(), Some(&200), "seed {seed}");
        some_fault |= statuses.iter().any(|status| *status != 200);
    }
    assert!(some_fault);
}
