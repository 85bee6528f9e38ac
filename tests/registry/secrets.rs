//! No secret in anything that can be printed.

use std::fmt::Debug;

use transship::oci::Digest;
use transship::registry::{Access, Certificates, ClientIdentity, ManifestReference};

use crate::support::scripted_server::{ScriptedServer, respond};
use crate::support::{blob, client, credentials, plain_with, pull_blob, push_blob, repository};

/// In every secret and in every word that the registry of these tests says.
const CANARY: &str = "canary";

fn assert_silent(what: &str, value: &impl Debug) {
    let text = format!("{value:?} {value:#?}");
    assert!(!text.to_lowercase().contains(CANARY), "{what}: {text}");
}

#[test]
fn access_prints_no_secret() {
    let access = Access {
        credentials: Some(credentials("canary-user", "canary-password")),
        certificates: Certificates {
            ca_bundle: None,
            identity: Some(ClientIdentity {
                certificate: b"certificate".to_vec(),
                key: b"canary-key".to_vec().into(),
            }),
        },
        insecure: false,
    };
    assert_silent("access", &access);
}

#[tokio::test]
async fn errors_and_clients_print_neither_secrets_nor_what_the_registry_said() {
    let body = r#"{"errors":[{"code":"CANARY","message":"canary","detail":"canary"}]}"#;
    for code in [200, 202, 301, 307, 400, 401, 403, 404, 418, 429, 500, 503] {
        let server = ScriptedServer::start(move |_| {
            respond(
                code,
                &[
                    ("www-authenticate", r#"Basic realm="canary""#),
                    ("location", "ftp://canary:canary@canary.test/?canary=canary"),
                    ("docker-content-digest", "sha256:canary"),
                    ("content-type", "application/canary+json"),
                    ("retry-after", "canary"),
                    ("x-canary", "canary"),
                ],
                body,
            )
        })
        .await;
        let client = client(server.host(), &plain_with("canary-user", "canary-password"));
        let app = repository("app");
        let tag = "v1".parse().unwrap();
        let digest = Digest::sha256(b"x");
        let mut errors = Vec::new();
        errors.extend(client.blob_exists(&app, &digest).await.err());
        errors.extend(pull_blob(&client, &app, &blob(b"x")).await.err());
        errors.extend(
            client
                .get_manifest(&app, ManifestReference::Digest(&digest))
                .await
                .err(),
        );
        errors.extend(
            client
                .head_manifest(&app, ManifestReference::Tag(&tag))
                .await
                .err(),
        );
        errors.extend(
            client
                .start_upload(&app, &digest, Some(&repository("base")))
                .await
                .err(),
        );
        assert!(!errors.is_empty());
        for error in &errors {
            assert_silent("error", error);
            assert!(
                !error.to_string().to_lowercase().contains(CANARY),
                "{error}"
            );
            assert!(
                error.to_string().contains(server.host()),
                "names the registry: {error}"
            );
        }
        assert_silent("client", &client);
    }
}

#[tokio::test]
async fn an_upload_session_prints_no_location() {
    let server = ScriptedServer::start(|asked| match asked.method {
        axum::http::Method::POST => respond(202, &[("location", "/v2/canary?_state=canary")], ""),
        _ => respond(500, &[], "canary"),
    })
    .await;
    let client = client(server.host(), &plain_with("canary-user", "canary-password"));
    let app = repository("app");
    let upload = client
        .start_upload(&app, &Digest::sha256(b"x"), None)
        .await
        .unwrap();
    assert_silent("upload", &upload);
    let error = push_blob(&client, &app, b"x").await.unwrap_err();
    assert_silent("error", &error);
}
