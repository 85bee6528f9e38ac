//! Credentials that are tokens: identity tokens, which a token service exchanges, and registry tokens,
//! which the registry takes as they are.

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rstest::rstest;
use serde_json::json;
use transship::oci::Digest;
use transship::registry::{Access, Client, Credentials, Error, ErrorKind};

use crate::support::scripted_server::{Asked, ScriptedServer, respond, status};
use crate::support::{client, plain, repository};

const IDENTITY: &str = "canary identity+token/&=";

fn identity(username: &str) -> Access {
    Access {
        credentials: Some(Credentials::IdentityToken {
            username: username.to_owned(),
            token: IDENTITY.into(),
        }),
        ..plain()
    }
}

/// A registry whose token service answers `POST` with this status and knows `GET`.
async fn registry(post: u16) -> ScriptedServer {
    ScriptedServer::start_knowing_itself(move |asked, host| match asked.path() {
        "/token" if asked.method == Method::POST && post != 200 => status(post),
        "/token" => respond(200, &[], json!({"access_token": "fetched"}).to_string()),
        _ if asked.authorization() == Some("Bearer fetched") => status(200),
        _ => {
            let bearer =
                format!(r#"Bearer realm="http://{host}/token?tenant=1",service="the service""#);
            respond(401, &[("www-authenticate", &bearer)], "")
        }
    })
    .await
}

async fn look(client: &Client, name: &str) -> Result<bool, Error> {
    client
        .blob_exists(&repository(name), &Digest::sha256(b"x"))
        .await
}

/// The values of a form that was sent.
fn form(asked: &Asked) -> Vec<(String, String)> {
    url::form_urlencoded::parse(asked.body.as_ref().unwrap())
        .into_owned()
        .collect()
}

#[tokio::test]
async fn case_13_an_identity_token_is_exchanged() {
    let server = registry(200).await;
    let client = client(server.host(), &identity("user"));
    assert!(look(&client, "app").await.unwrap());
    let asked = server.asked_for("/token");
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (&asked[0].method, asked[0].authorization()),
        (&Method::POST, None)
    );
    assert_eq!(asked[0].target, "/token?tenant=1");
    let expected = [
        ("grant_type", "refresh_token"),
        ("service", "the service"),
        ("client_id", "transship"),
        ("scope", "repository:app:pull"),
        ("refresh_token", IDENTITY),
    ];
    assert_eq!(
        form(&asked[0]),
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    // Nobody but the token service has seen it.
    let others = format!("{:?}", server.asked_for("/v2"));
    assert!(!others.contains("canary"), "{others}");
}

#[rstest]
#[case::most(404)]
#[case::acr(400)]
#[case::artifactory(401)]
#[case::by_the_specification_of_http(405)]
#[tokio::test]
async fn case_13_a_token_service_without_post_is_asked_with_get(
    #[case] post: u16,
    #[values("user", "")] username: &str,
) {
    let server = registry(post).await;
    let client = client(server.host(), &identity(username));
    assert!(look(&client, "app").await.unwrap());
    assert!(look(&client, "other").await.unwrap());
    let asked = server.asked_for("/token");
    let methods: Vec<_> = asked.iter().map(|asked| asked.method.clone()).collect();
    // The second repository has a token of its own, and nobody tries again what failed.
    assert_eq!(methods, [Method::POST, Method::GET, Method::GET]);
    let username = if username.is_empty() {
        "<token>"
    } else {
        username
    };
    let basic = STANDARD.encode(format!("{username}:{IDENTITY}"));
    assert_eq!(
        asked[1].authorization(),
        Some(format!("Basic {basic}").as_str())
    );
    assert_eq!(asked[1].query("scope"), ["repository:app:pull"]);
}

#[rstest]
#[case(500, ErrorKind::Unreachable)]
#[case(403, ErrorKind::Denied)]
#[case(307, ErrorKind::Protocol)]
#[tokio::test]
async fn other_answers_are_final(#[case] post: u16, #[case] kind: ErrorKind) {
    let server = registry(post).await;
    let error = look(&client(server.host(), &identity("")), "app")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(!format!("{error} {error:?}").contains("canary"));
    let asked = server.asked_for("/token");
    assert!(asked.iter().all(|asked| asked.method == Method::POST));
}

#[tokio::test]
async fn an_identity_token_goes_neither_to_a_registry_nor_to_a_foreign_realm() {
    let sink = ScriptedServer::sink().await;
    let foreign = format!(r#"Bearer realm="http://{}/token""#, sink.host());
    for challenge in [foreign, "Basic realm=x".to_owned()] {
        let server =
            ScriptedServer::start(move |_| respond(401, &[("www-authenticate", &challenge)], ""))
                .await;
        look(&client(server.host(), &identity("")), "app")
            .await
            .unwrap_err();
        let asked = server.asked();
        assert!(
            asked.iter().all(|asked| asked.authorization().is_none()),
            "{asked:?}"
        );
    }
    assert!(sink.asked().is_empty());
}

#[tokio::test]
async fn case_13_a_registry_token_is_used_as_it_is() {
    let server = registry(200).await;
    for (token, accepted) in [("fetched", true), ("refused", false)] {
        let access = Access {
            credentials: Some(Credentials::RegistryToken(token.into())),
            ..plain()
        };
        let before = server.asked().len();
        let found = look(&client(server.host(), &access), "app").await;
        match found {
            Ok(_) => assert!(accepted),
            Err(error) => assert!(
                !accepted && error.kind() == ErrorKind::Unauthorized,
                "{error}"
            ),
        }
        assert_eq!(server.asked().len() - before, 2, "it is offered once");
    }
    assert!(server.asked_for("/token").is_empty());
}
