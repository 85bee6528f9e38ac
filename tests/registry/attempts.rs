//! Repeating requests, and stopping to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use rstest::rstest;
use tokio::net::TcpListener;
use tokio::time::Instant;
use transship::oci::Digest;
use transship::registry::{Client, Error, ErrorKind, Patience};

use crate::support::scripted_server::{ScriptedServer, respond, status};
use crate::support::{client, install_tls_provider, patience, plain, repository};

/// Fails the first `failures` requests and succeeds from then on.
async fn failing(
    failures: usize,
    failure: impl Fn() -> Response<Body> + Send + Sync + 'static,
) -> ScriptedServer {
    let seen = AtomicUsize::new(0);
    ScriptedServer::start(move |asked| {
        if asked.path() != "/v2/" && seen.fetch_add(1, Ordering::SeqCst) < failures {
            failure()
        } else {
            status(200)
        }
    })
    .await
}

async fn look(client: &Client) -> Result<bool, Error> {
    client
        .blob_exists(&repository("app"), &Digest::sha256(b"x"))
        .await
}

#[rstest]
#[case(408)]
#[case(429)]
#[case(500)]
#[case(502)]
#[case(503)]
#[case(504)]
#[tokio::test]
async fn passing_failures_are_waited_out(#[case] code: u16) {
    let server = failing(4, move || status(code)).await;
    assert!(look(&client(server.host(), &plain())).await.unwrap());
    assert_eq!(server.asked().len(), 5);
}

#[rstest]
#[case(400, ErrorKind::Protocol)]
#[case(403, ErrorKind::Denied)]
#[case(405, ErrorKind::Denied)]
#[case(410, ErrorKind::Protocol)]
#[case(501, ErrorKind::Protocol)]
#[tokio::test]
async fn lasting_failures_are_not_repeated(#[case] code: u16, #[case] kind: ErrorKind) {
    let server = failing(4, move || status(code)).await;
    let error = look(&client(server.host(), &plain())).await.unwrap_err();
    assert_eq!(error.kind(), kind);
    assert!(!error.is_transient());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn attempts_end() {
    let server = failing(usize::MAX, || status(503)).await;
    let error = look(&client(server.host(), &plain())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.is_transient());
    assert_eq!(server.asked().len(), 5);
}

#[tokio::test]
async fn case_72_the_wait_that_a_registry_asks_for_is_kept() {
    let server = failing(1, || respond(429, &[("retry-after", "1")], "")).await;
    let started = Instant::now();
    assert!(look(&client(server.host(), &plain())).await.unwrap());
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.asked().len(), 2);
}

/// What does not say how long is waited for like any failure, and what lies in the past not at all.
#[rstest]
#[case::nothing(&[])]
#[case::now(&[("retry-after", "0")])]
#[case::past(&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")])]
#[case::past_of_rfc_850(&[("retry-after", "Friday, 31-Dec-99 23:59:59 GMT")])]
#[case::past_of_asctime(&[("retry-after", "Fri Dec 31 23:59:59 1999")])]
#[case::negative(&[("retry-after", "-5")])]
#[case::fraction(&[("retry-after", "0.5")])]
#[case::words(&[("retry-after", "soon")])]
#[case::empty(&[("retry-after", "")])]
#[case::two_values(&[("retry-after", "0, 0")])]
#[case::reset(&[("ratelimit-reset", "0")])]
#[case::docker_hub(&[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")])]
#[tokio::test]
async fn case_72_every_form_of_a_wait_ends(
    #[case] headers: &'static [(&'static str, &'static str)],
) {
    let server = failing(2, || respond(429, headers, "")).await;
    assert!(look(&client(server.host(), &plain())).await.unwrap());
    assert_eq!(server.asked().len(), 3);
}

/// Neither is there a wait of an hour, nor an attempt before it is over.
#[rstest]
#[case("retry-after", "3600")]
#[case("retry-after", "99999999999999999999")]
#[case("retry-after", "Tue, 31 Dec 2999 23:59:59 GMT")]
#[case("retry-after", "Tue Dec 31 23:59:59 2999")]
#[case("ratelimit-reset", "3600")]
#[case("ratelimit-reset", "32503679999")]
#[tokio::test]
async fn case_72_a_long_wait_of_any_form_is_not_sat_out(
    #[case] name: &'static str,
    #[case] value: &'static str,
) {
    let server = failing(1, move || respond(429, &[(name, value)], "")).await;
    let error = look(&client(server.host(), &plain())).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::RateLimited { retry_after: Some(wait) } if wait >= Duration::from_hours(1)),
        "{error}"
    );
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_handed_to_the_caller() {
    let server = failing(1, || respond(429, &[("retry-after", "3600")], "")).await;
    let error = look(&client(server.host(), &plain())).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::RateLimited {
            retry_after: Some(Duration::from_hours(1))
        }
    );
    assert!(error.to_string().contains("wait 3600 s"), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = look(&client(&host, &plain())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_registry_that_says_nothing_is_given_up() {
    // Connections are accepted by the kernel and never answered.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    install_tls_provider();
    let patience = Patience {
        connect: Duration::from_millis(50),
        attempts: 2,
        ..patience()
    };
    let client = Client::with_patience(&host.parse().unwrap(), &plain(), patience).unwrap();
    let error = look(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("in time"), "{error}");
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let server = ScriptedServer::start(|_| {
        let silence = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
        respond(200, &[], Body::from_stream(silence))
    })
    .await;
    install_tls_provider();
    let patience = Patience {
        idle: Duration::from_millis(200),
        ..patience()
    };
    let host = server.host().parse().unwrap();
    let client = Client::with_patience(&host, &plain(), patience).unwrap();
    let error = crate::support::pull_blob(
        &client,
        &repository("app"),
        &crate::support::blob(b"never comes"),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("in time"), "{error}");
}
