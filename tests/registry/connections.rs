//! What goes over which connection, connections that end, and waits that hold for all requests.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::{Method, Version};
use bytes::Bytes;
use futures::future::join_all;
use futures::stream;
use rstest::rstest;
use transship::oci::{Digest, MediaType};
use transship::registry::{Access, Certificates, Client, ManifestReference};

use crate::support::registry::{Action, Endpoint, Registry, Rule};
use crate::support::tls::Authority;
use crate::support::{blob, client, plain, pull_blob, repository, session};

const LARGE: usize = 1024 * 1024;

async fn with_tls() -> (Registry, Client) {
    let authority = Authority::new();
    let registry = Registry::builder().tls(&authority).start().await;
    let access = Access {
        certificates: Certificates {
            ca_bundle: Some(authority.certificate().into_bytes()),
            identity: None,
        },
        ..Access::default()
    };
    let client = client(registry.host(), &access);
    (registry, client)
}

fn versions(registry: &Registry, endpoint: Endpoint, method: &Method) -> Vec<Version> {
    let requests = registry.requests().into_iter();
    requests
        .filter(|asked| asked.endpoint == endpoint && asked.method == *method)
        .map(|asked| asked.version)
        .collect()
}

#[tokio::test]
async fn large_content_has_connections_of_its_own() {
    let (registry, client) = with_tls().await;
    let app = repository("app");
    let image = registry.seed_image("app", Some("v1"), &[b"a layer"]);
    client
        .get_manifest(&app, ManifestReference::Digest(&image))
        .await
        .unwrap();
    for content in [vec![7; 100], vec![7; LARGE - 1], vec![7; LARGE]] {
        eprintln!("{}", content.len());
        let blob = blob(&content);
        let upload = client.start_upload(&app, &blob.digest, None).await.unwrap();
        let content = Bytes::from(content);
        let piece = stream::iter([Ok::<_, Infallible>(content.clone())]);
        client
            .upload_blob(session(upload), &blob, piece)
            .await
            .unwrap();
        assert!(pull_blob(&client, &app, &blob).await.unwrap() == content);
    }
    let (small, large) = (Version::HTTP_2, Version::HTTP_11);
    let asked = |endpoint, method| versions(&registry, endpoint, &method);
    assert_eq!(asked(Endpoint::Manifest, Method::GET), [small]);
    assert_eq!(asked(Endpoint::Uploads, Method::POST), [small; 3]);
    assert_eq!(asked(Endpoint::Session, Method::PUT), [small, small, large]);
    assert_eq!(asked(Endpoint::Blob, Method::GET), [small, small, large]);
}

/// Each of them ends the connection that all small requests share.
#[rstest]
#[case(Action::CutResponse(3))]
#[case(Action::CutRequest(0))]
#[case(Action::LoseAnswer)]
#[tokio::test]
async fn case_75_a_shared_connection_that_ends_is_opened_again(#[case] end: Action) {
    let (registry, client) = with_tls().await;
    let app = repository("app");
    let images = [b"one", b"two"].map(|layer| registry.seed_image("app", None, &[layer]));
    registry.add(Rule::on(Endpoint::Manifest, end).after(1).times(2));
    let reads = (0..20).map(|number| {
        let (client, app, image) = (&client, &app, &images[number % 2]);
        async move {
            let name = ManifestReference::Digest(image);
            let manifest = client.get_manifest(app, name).await.unwrap();
            assert_eq!(manifest.digest(), image);
            assert_eq!(manifest.media_type().as_str(), MediaType::OCI_MANIFEST);
        }
    });
    join_all(reads).await;
    let seen = versions(&registry, Endpoint::Manifest, &Method::GET);
    assert!(seen.len() > 20, "{}", seen.len());
    assert!(seen.iter().all(|version| *version == Version::HTTP_2));
}

#[tokio::test]
async fn case_72_a_wait_that_one_request_is_told_holds_for_all() {
    let registry = Registry::start().await;
    let limited = Action::Answer {
        status: 429,
        headers: vec![("retry-after", "1".to_owned())],
        body: String::new(),
    };
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let note = move |_: &_| {
        noted.lock().unwrap().push(Instant::now());
        false
    };
    registry.add(Rule::on(Endpoint::Blob, limited.clone()).when(note));
    registry.add(Rule::on(Endpoint::Blob, limited).times(1));
    let client = client(registry.host(), &plain());
    let app = repository("app");
    let absent = Digest::sha256(b"absent");
    let ended = AtomicBool::new(false);
    let told = async {
        let found = client.blob_exists(&app, &absent).await;
        ended.store(true, Ordering::Relaxed);
        found
    };
    // One after the other, from the moment when the first is asked.
    let others = async {
        while !ended.load(Ordering::Relaxed) {
            if times.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            } else {
                assert!(!client.blob_exists(&app, &absent).await.unwrap());
            }
        }
    };
    let (told, ()) = futures::join!(told, others);
    assert!(!told.unwrap());
    let times = times.lock().unwrap();
    let (first, later) = times.split_first().unwrap();
    let wait = Duration::from_secs(1);
    // The first of the others may have gone out before the answer came.
    let early = later.iter().filter(|time| **time - *first < wait).count();
    assert!(early <= 1, "{early} requests did not wait");
    assert!(!later.is_empty());
}
