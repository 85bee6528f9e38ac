//! The token flow of the distribution specification.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use transship::oci::Digest;
use transship::registry::{Access, ErrorKind, Upload};

use crate::support::scripted_server::{Asked, ScriptedServer, respond, status};
use crate::support::{blob, client, plain, plain_with, repository};

/// A registry with a token service: every token it gives is `token-N`, and `accepts` judges it.
async fn registry(
    token: impl Fn(&Asked, usize) -> Response<Body> + Send + Sync + 'static,
    accepts: impl Fn(&str) -> bool + Send + Sync + 'static,
    success: u16,
) -> ScriptedServer {
    let issued = AtomicUsize::new(0);
    ScriptedServer::start_knowing_itself(move |asked, host| {
        if asked.path() == "/token" {
            return token(asked, issued.fetch_add(1, Ordering::SeqCst) + 1);
        }
        match asked
            .authorization()
            .and_then(|it| it.strip_prefix("Bearer "))
        {
            Some(token) if accepts(token) => {
                respond(success, &[("location", "/v2/session?state=1")], "")
            }
            _ => challenge(host),
        }
    })
    .await
}

fn challenge(host: &str) -> Response<Body> {
    let bearer = format!(r#"Bearer realm="http://{host}/token",service="the registry""#);
    respond(
        401,
        &[
            ("www-authenticate", r#"Basic realm="x""#),
            ("www-authenticate", &bearer),
        ],
        "",
    )
}

fn numbered(_: &Asked, number: usize) -> Response<Body> {
    let body = json!({"token": format!("token-{number}"), "expires_in": 300});
    respond(200, &[], body.to_string())
}

#[tokio::test]
async fn case_9_a_token_is_fetched_once_for_many_requests() {
    let server = registry(numbered, |_| true, 200).await;
    let client = client(server.host(), &plain_with("user", "pass:word"));
    let digest = Digest::sha256(b"x");
    let looks = (0..10).map(|_| {
        let (client, digest) = (client.clone(), digest.clone());
        async move { client.blob_exists(&repository("team/app"), &digest).await }
    });
    for found in futures::future::join_all(looks).await {
        assert!(found.unwrap());
    }
    assert!(
        client
            .blob_exists(&repository("team/app"), &digest)
            .await
            .unwrap()
    );

    let tokens = server.asked_for("/token");
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].query("service"), ["the registry"]);
    assert_eq!(tokens[0].query("scope"), ["repository:team/app:pull"]);
    assert_eq!(
        tokens[0].authorization(),
        Some(format!("Basic {}", STANDARD.encode("user:pass:word")).as_str())
    );
    let with_token = |asked: &&Asked| asked.authorization() == Some("Bearer token-1");
    assert_eq!(
        server.asked_for("/v2").iter().filter(with_token).count(),
        11
    );
}

#[tokio::test]
async fn the_password_goes_to_the_token_service_only() {
    let server = registry(numbered, |_| true, 200).await;
    let client = client(server.host(), &plain_with("user", "password"));
    let app = repository("app");
    client
        .blob_exists(&app, &Digest::sha256(b"x"))
        .await
        .unwrap();
    for asked in server.asked_for("/v2") {
        assert!(
            asked
                .authorization()
                .is_none_or(|it| it == "Bearer token-1")
        );
    }
}

#[tokio::test]
async fn without_credentials_an_anonymous_token_is_used() {
    let server = registry(numbered, |_| true, 200).await;
    let client = client(server.host(), &plain());
    let app = repository("app");
    assert!(
        client
            .blob_exists(&app, &Digest::sha256(b"x"))
            .await
            .unwrap()
    );
    assert_eq!(server.asked_for("/token")[0].authorization(), None);
}

#[tokio::test]
async fn case_12_each_scope_set_has_its_own_token() {
    let server = registry(numbered, |_| true, 202).await;
    let client = client(server.host(), &plain_with("user", "password"));
    let (app, base) = (repository("app"), repository("base"));
    let layer = blob(b"x");
    client.blob_exists(&app, &layer.digest).await.unwrap();
    client.blob_exists(&base, &layer.digest).await.unwrap();
    client
        .start_upload(&app, &layer.digest, None)
        .await
        .unwrap();
    let upload = client
        .start_upload(&app, &layer.digest, Some(&base))
        .await
        .unwrap();
    assert!(matches!(upload, Upload::Session(_)));

    let scopes: Vec<_> = server
        .asked_for("/token")
        .iter()
        .map(|asked| asked.query("scope"))
        .collect();
    assert_eq!(
        scopes,
        [
            vec!["repository:app:pull"],
            vec!["repository:base:pull"],
            vec!["repository:app:pull,push"],
            vec!["repository:app:pull,push", "repository:base:pull"],
        ]
    );
}

#[tokio::test]
async fn case_10_an_old_token_is_replaced_before_it_is_refused() {
    // Renewed when a quarter of its life is left, so after 0.75 s.
    let short = |_: &Asked, number: usize| {
        let body = json!({"access_token": format!("token-{number}"), "expires_in": 1});
        respond(200, &[], body.to_string())
    };
    let server = registry(short, |_| true, 200).await;
    let client = client(server.host(), &plain());
    let app = repository("app");
    let digest = Digest::sha256(b"x");
    let look = || client.blob_exists(&app, &digest);
    look().await.unwrap();
    look().await.unwrap();
    assert_eq!(server.asked_for("/token").len(), 1);

    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while server.asked_for("/token").len() == 1 {
        assert!(tokio::time::Instant::now() < deadline, "never renewed");
        look().await.unwrap();
    }
    let refused = server
        .asked_for("/v2")
        .iter()
        .filter(|asked| asked.authorization().is_none())
        .count();
    assert_eq!(
        refused, 1,
        "only the first request was sent without a token"
    );
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_once() {
    let revoked = Arc::new(AtomicUsize::new(0));
    let state = revoked.clone();
    let accepts = move |token: &str| {
        let number: usize = token.trim_start_matches("token-").parse().unwrap();
        number > state.load(Ordering::SeqCst)
    };
    let server = registry(numbered, accepts, 200).await;
    let client = client(server.host(), &plain());
    let app = repository("app");
    let digest = Digest::sha256(b"x");
    assert!(client.blob_exists(&app, &digest).await.unwrap());
    revoked.store(1, Ordering::SeqCst);
    assert!(client.blob_exists(&app, &digest).await.unwrap());
    assert_eq!(server.asked_for("/token").len(), 2);
}

#[tokio::test]
async fn a_registry_that_always_asks_again_is_given_up() {
    let server = registry(numbered, |_| false, 200).await;
    let client = client(server.host(), &plain_with("user", "password"));
    let error = client
        .blob_exists(&repository("app"), &Digest::sha256(b"x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(server.asked_for("/token").len(), 2);
    assert_eq!(server.asked_for("/v2").len(), 3);
}

#[tokio::test]
async fn a_password_is_offered_once() {
    let server =
        ScriptedServer::start(|_| respond(401, &[("www-authenticate", "Basic realm=x")], "")).await;
    let client = client(server.host(), &plain_with("user", "password"));
    let error = client
        .blob_exists(&repository("app"), &Digest::sha256(b"x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn case_11_the_scope_that_a_registry_insists_on_is_asked_for_first() {
    let server = ScriptedServer::start_knowing_itself(|asked, host| {
        if asked.path() == "/token" {
            return respond(
                200,
                &[],
                json!({"token": asked.query("scope")[0]}).to_string(),
            );
        }
        if asked.authorization() == Some("Bearer special") {
            return status(200);
        }
        let bearer = format!(
            r#"Bearer realm="http://{host}/token",scope="special",error="insufficient_scope""#
        );
        respond(401, &[("www-authenticate", &bearer)], "")
    })
    .await;
    let client = client(server.host(), &plain());
    let app = repository("app");
    assert!(
        client
            .blob_exists(&app, &Digest::sha256(b"x"))
            .await
            .unwrap()
    );
    assert_eq!(
        server.asked_for("/token")[1].query("scope"),
        ["special", "repository:app:pull"]
    );
}

#[tokio::test]
async fn token_services_fail_in_the_class_of_their_answer() {
    let too_large = format!(r#"{{"token":"{}"}}"#, "t".repeat(70_000));
    for (code, body, kind) in [
        (401, String::new(), ErrorKind::Unauthorized),
        (403, String::new(), ErrorKind::Denied),
        // It says nothing of the blob.
        (400, String::new(), ErrorKind::Protocol),
        (404, String::new(), ErrorKind::Protocol),
        (405, String::new(), ErrorKind::Protocol),
        (500, String::new(), ErrorKind::Unreachable),
        (
            429,
            String::new(),
            ErrorKind::RateLimited { retry_after: None },
        ),
        (302, String::new(), ErrorKind::Protocol),
        (200, "canary".to_owned(), ErrorKind::Protocol),
        (200, too_large, ErrorKind::Protocol),
    ] {
        let server = registry(
            move |_, _| respond(code, &[("location", "/v2/token")], body.clone()),
            |_| true,
            200,
        )
        .await;
        let client = client(
            server.host(),
            &Access {
                insecure: true,
                ..Access::default()
            },
        );
        let error = client
            .blob_exists(&repository("app"), &Digest::sha256(b"x"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            server.asked_for("/v2/token").is_empty(),
            "followed a redirect"
        );
    }
}
