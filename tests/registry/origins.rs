//! A registry that points elsewhere: what it is told to fetch may be fetched, credentials stay home.

use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use transship::oci::{Manifest, MediaType};
use transship::registry::{Client, ErrorKind, ManifestReference};

use crate::support::scripted_server::{ScriptedServer, respond};
use crate::support::{blob, client, plain, plain_with, pull_blob, repository};

const USER: &str = "canary-user";
const PASSWORD: &str = "canary-password";
const TOKEN: &str = "canary-token";

fn secretive(server: &ScriptedServer) -> Client {
    client(server.host(), &plain_with(USER, PASSWORD))
}

/// Nothing that was seen contains a secret in any form in which it could have been sent.
fn assert_no_secrets(seen: &impl Debug) {
    let seen = format!("{seen:?}");
    let encoded = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for secret in [USER, PASSWORD, TOKEN, encoded.as_str()] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
}

/// A registry that wants a token, and then answers as `script` says.
async fn with_token(location: String, code: u16) -> ScriptedServer {
    ScriptedServer::start_knowing_itself(move |asked, host| {
        if asked.path() == "/token" {
            return respond(200, &[], format!(r#"{{"token":"{TOKEN}"}}"#));
        }
        if asked.authorization().is_none() {
            let bearer = format!(r#"Bearer realm="http://{host}/token""#);
            return respond(401, &[("www-authenticate", &bearer)], "");
        }
        respond(code, &[("location", &location)], "")
    })
    .await
}

#[tokio::test]
async fn case_14_credentials_do_not_go_to_a_foreign_realm() {
    let sink = ScriptedServer::sink().await;
    let (sink_host, sink_port) = (
        sink.host().to_owned(),
        sink.host().rsplit_once(':').unwrap().1.to_owned(),
    );
    for realm in [
        format!("http://{sink_host}/token"),
        format!("http://localhost:{sink_port}/token"),
        format!("http://[::ffff:127.0.0.1]:{sink_port}/token"),
        format!("http://2130706433:{sink_port}/token"),
        format!("http://0177.0.0.1:{sink_port}/token"),
        format!("http://127.1:{sink_port}/token"),
        format!("http://{USER}:{PASSWORD}@{sink_host}/token"),
        format!("//{sink_host}/token"),
        format!("http:\\\\{sink_host}\\token"),
        format!("HTTP://{sink_host}"),
        format!("ftp://{sink_host}/token"),
        "/token".to_owned(),
        String::new(),
    ] {
        let header = format!(r#"Bearer realm="{}""#, realm.replace('\\', "\\\\"));
        let server =
            ScriptedServer::start(move |_| respond(401, &[("www-authenticate", &header)], ""))
                .await;
        let error = secretive(&server)
            .blob_exists(&repository("app"), &blob(b"x").digest)
            .await
            .unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Unauthorized),
            "{realm}: {error}"
        );
        assert_no_secrets(&(error.to_string(), &error, server.asked()));
    }
    assert!(sink.asked().is_empty());
}

#[tokio::test]
async fn case_6_a_redirect_to_another_origin_carries_no_authorization() {
    for code in [301, 302, 303, 307, 308] {
        let store = ScriptedServer::start(|_| respond(200, &[], "content")).await;
        let registry = with_token(format!("http://{}/b?sig=1", store.host()), code).await;
        let client = secretive(&registry);
        let layer = blob(b"content");
        let app = repository("app");
        assert_eq!(pull_blob(&client, &app, &layer).await.unwrap(), b"content");
        assert!(client.blob_exists(&app, &layer.digest).await.unwrap());
        let asked = store.asked();
        assert_eq!(asked.len(), 2);
        assert_no_secrets(&asked);
        assert!(asked.iter().all(|asked| asked.authorization().is_none()
            && asked.header("cookie").is_none()
            && asked.header("referer").is_none()));
    }
}

#[tokio::test]
async fn a_redirect_within_the_registry_keeps_the_authorization() {
    let registry = ScriptedServer::start(|asked| match asked.path() {
        _ if asked.authorization().is_none() => {
            respond(401, &[("www-authenticate", "Basic realm=x")], "")
        }
        "/moved" => respond(200, &[], "content"),
        _ => respond(307, &[("location", "/moved?a=b")], ""),
    })
    .await;
    let content = pull_blob(&secretive(&registry), &repository("app"), &blob(b"content")).await;
    assert_eq!(content.unwrap(), b"content");
}

#[tokio::test]
async fn authorization_does_not_come_back_after_a_foreign_hop() {
    let registry = ScriptedServer::start_knowing_itself(|asked, _| {
        let next = format!(
            "http://{}/hop",
            asked.header("x-never").unwrap_or("none.invalid")
        );
        match asked.path() {
            "/back" => respond(200, &[], "content"),
            _ if asked.authorization().is_none() => {
                respond(401, &[("www-authenticate", "Basic realm=x")], "")
            }
            _ => respond(307, &[("location", &next)], ""),
        }
    })
    .await;
    let back = format!("http://{}/back", registry.host());
    let hop = ScriptedServer::start(move |_| respond(307, &[("location", &back)], "")).await;
    let to_hop = format!("http://{}/hop", hop.host());
    let entry = ScriptedServer::start(move |asked| match asked.authorization() {
        None => respond(401, &[("www-authenticate", "Basic realm=x")], ""),
        Some(_) => respond(307, &[("location", &to_hop)], ""),
    })
    .await;
    // entry (with password) -> hop (without) -> a registry that would take a password (without).
    let content = pull_blob(&secretive(&entry), &repository("app"), &blob(b"content")).await;
    assert_eq!(content.unwrap(), b"content");
    assert_no_secrets(&(hop.asked(), registry.asked()));
}

#[tokio::test]
async fn redirects_end() {
    let registry = ScriptedServer::start(|_| respond(307, &[("location", "/v2/again")], "")).await;
    let error = secretive(&registry)
        .blob_exists(&repository("app"), &blob(b"x").digest)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("more than 5 redirects"));
    assert_eq!(registry.asked().len(), 6);
}

#[tokio::test]
async fn a_challenge_from_elsewhere_is_not_answered() {
    let store =
        ScriptedServer::start(|_| respond(401, &[("www-authenticate", "Basic realm=x")], "")).await;
    let target = format!("http://{}/blob", store.host());
    let registry = ScriptedServer::start(move |_| respond(307, &[("location", &target)], "")).await;
    let error = secretive(&registry)
        .blob_exists(&repository("app"), &blob(b"x").digest)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_no_secrets(&(store.asked(), registry.asked()));
}

#[tokio::test]
async fn case_7_requests_that_write_are_not_redirected() {
    let sink = ScriptedServer::sink().await;
    for code in [301, 302, 303, 307, 308] {
        let registry = with_token(format!("http://{}/stolen", sink.host()), code).await;
        let client = secretive(&registry);
        let app = repository("app");
        let error = client
            .start_upload(&app, &blob(b"x").digest, None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        let manifest = Manifest::new(
            Bytes::from_static(b"{}"),
            MediaType::new(MediaType::OCI_MANIFEST),
        );
        let error = client
            .put_manifest(&app, &manifest, None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    assert!(sink.asked().is_empty());
}

#[tokio::test]
async fn case_5_an_upload_stays_at_the_registry() {
    let sink = ScriptedServer::sink().await;
    let host = sink.host().to_owned();
    for location in [
        format!("http://{host}/v2/session"),
        format!("//{host}/v2/session"),
        format!("http://{USER}@{host}/"),
        "https://127.0.0.1/v2/session".to_owned(),
        "ftp://127.0.0.1/".to_owned(),
    ] {
        let registry = with_token(location.clone(), 202).await;
        let error = secretive(&registry)
            .start_upload(&repository("app"), &blob(b"x").digest, None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{location}");
        assert!(error.to_string().contains("the upload location"), "{error}");
        assert!(!error.to_string().contains(&host));
        assert_no_secrets(&error);
    }
    assert!(sink.asked().is_empty());
}

#[tokio::test]
async fn tokens_are_not_taken_from_where_a_token_service_redirects_to() {
    let sink = ScriptedServer::sink().await;
    let target = format!("http://{}/token", sink.host());
    let registry = ScriptedServer::start_knowing_itself(move |asked, host| {
        if asked.path() == "/token" {
            return respond(307, &[("location", &target)], "");
        }
        let bearer = format!(r#"Bearer realm="http://{host}/token""#);
        respond(401, &[("www-authenticate", &bearer)], "")
    })
    .await;
    let tag = "v1".parse().unwrap();
    let error = secretive(&registry)
        .head_manifest(&repository("app"), ManifestReference::Tag(&tag))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(sink.asked().is_empty());
}

/// However a host is written and whoever answers there: no registry leads to such an address. Linux
/// connects 0.0.0.0 to this host, so that a connection would be seen.
#[tokio::test]
async fn nothing_leads_to_addresses_that_no_registry_has() {
    let sink = ScriptedServer::sink().await;
    let port = sink.host().rsplit_once(':').unwrap().1.to_owned();
    for host in [
        "0.0.0.0",
        "0",
        "0x0.0.0.0",
        "0.0.0.00",
        "[::]",
        "[::ffff:0.0.0.0]",
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "169.254.43518",
        "0251.0376.0251.0376",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::169.254.169.254]",
        "[2002:a9fe:a9fe::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let target = format!("http://{host}:{port}/v2/");
        let redirecting = with_token(target.clone(), 307).await;
        let bearer = format!("Bearer realm=\"{target}\"");
        let challenging =
            ScriptedServer::start(move |_| respond(401, &[("www-authenticate", &bearer)], ""))
                .await;
        // Without credentials any host may issue a token.
        let anonymous = client(challenging.host(), &plain());
        for client in [secretive(&redirecting), anonymous] {
            let error = client
                .blob_exists(&repository("app"), &blob(b"x").digest)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{host}: {error}");
            assert!(
                error.to_string().contains("no connection was made"),
                "{host}: {error}"
            );
            assert!(!error.is_transient(), "{host}");
        }
    }
    assert!(sink.asked().is_empty());
}

#[tokio::test]
async fn a_registry_is_not_at_such_an_address_itself() {
    for host in ["169.254.169.254", "0.0.0.0:5000", "[fe80::1]:5000"] {
        let error = client(host, &plain())
            .blob_exists(&repository("app"), &blob(b"x").digest)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("check the name"), "{error}");
    }
}
