//! TLS and passwords against a real registry: who is trusted, and how it is said when nobody is.

use transship::oci::Digest;
use transship::registry::{Access, Certificates, Client, ClientIdentity, Error, ErrorKind};

use crate::support::docker_registry::{DockerRegistry, Settings};
use crate::support::scripted_server::{ScriptedServer, respond};
use crate::support::tls::{Authority, Issued};
use crate::support::{client, credentials, plain, pull_blob, push_blob, repository};

fn serve(issued: &Issued) -> DockerRegistry {
    DockerRegistry::start(&Settings {
        tls: Some(issued),
        ..Settings::default()
    })
}

fn trusting(authority: &Authority) -> Access {
    Access {
        certificates: Certificates {
            ca_bundle: Some(authority.certificate().into_bytes()),
            identity: None,
        },
        ..Access::default()
    }
}

async fn look(client: &Client) -> Result<bool, Error> {
    client
        .blob_exists(&repository("app"), &Digest::sha256(b"any"))
        .await
}

#[tokio::test]
async fn the_right_password_over_trusted_tls_is_enough() {
    let authority = Authority::new();
    let issued = authority.issue("127.0.0.1");
    let registry = DockerRegistry::start(&Settings {
        tls: Some(&issued),
        login: Some(("user", "right")),
        ..Settings::default()
    });
    let access = Access {
        credentials: Some(credentials("user", "right")),
        ..trusting(&authority)
    };
    let right = client(registry.host(), &access);
    let app = repository("app");
    let layer = push_blob(&right, &app, b"secret layer").await.unwrap();
    assert_eq!(
        pull_blob(&right, &app, &layer).await.unwrap(),
        b"secret layer"
    );

    let access = Access {
        credentials: Some(credentials("user", "wrong")),
        ..trusting(&authority)
    };
    let error = look(&client(registry.host(), &access)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("refused the credentials"));
    assert!(!error.is_transient());

    let error = look(&client(registry.host(), &trusting(&authority)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("none are configured"));
}

#[tokio::test]
async fn untrusted_certificates_are_told_apart() {
    let authority = Authority::new();
    let good = serve(&authority.issue("127.0.0.1"));
    let expired = serve(&authority.issue_expired("127.0.0.1"));
    let other_name = serve(&authority.issue("registry.test"));
    for (registry, access, words) in [
        (&good, Access::default(), "issuer is unknown"),
        (&good, trusting(&Authority::new()), "issuer is unknown"),
        (&expired, trusting(&authority), "has expired"),
        (&other_name, trusting(&authority), "another host name"),
    ] {
        let error = look(&client(registry.host(), &access)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TlsUntrusted, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.is_transient());
    }
    assert!(
        !look(&client(good.host(), &trusting(&authority)))
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn insecure_accepts_any_certificate_of_the_registry() {
    let registry = serve(&Authority::new().issue_expired("registry.test"));
    assert!(!look(&client(registry.host(), &plain())).await.unwrap());
}

#[tokio::test]
async fn insecure_does_not_reach_beyond_the_registry() {
    let elsewhere = serve(&Authority::new().issue("127.0.0.1"));
    let target = format!("https://{}/v2/app/blobs/x", elsewhere.host());
    let registry = ScriptedServer::start(move |_| respond(307, &[("location", &target)], "")).await;
    let error = look(&client(registry.host(), &plain())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TlsUntrusted, "{error}");
}

#[tokio::test]
async fn insecure_does_not_reach_the_token_service() {
    let elsewhere = serve(&Authority::new().issue("127.0.0.1"));
    let bearer = format!(r#"Bearer realm="https://{}/token""#, elsewhere.host());
    let registry =
        ScriptedServer::start(move |_| respond(401, &[("www-authenticate", &bearer)], "")).await;
    let error = look(&client(registry.host(), &plain())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TlsUntrusted, "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let authority = Authority::new();
    let issued = authority.issue("127.0.0.1");
    let registry = DockerRegistry::start(&Settings {
        tls: Some(&issued),
        client_authority: Some(&authority.certificate()),
        login: None,
        ..Settings::default()
    });
    let identity = authority.issue("client.test");
    let mut access = trusting(&authority);
    let error = look(&client(registry.host(), &access)).await.unwrap_err();
    // With TLS 1.3 the alert and the end of the connection race.
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");

    access.certificates.identity = Some(ClientIdentity {
        certificate: identity.certificate.into_bytes(),
        key: identity.key.into_bytes().into(),
    });
    assert!(!look(&client(registry.host(), &access)).await.unwrap());
}

#[tokio::test]
async fn plain_http_needs_to_be_allowed() {
    let registry = DockerRegistry::plain();
    let error = look(&client(registry.host(), &Access::default()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("`insecure`"), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_name_without_addresses_is_unreachable() {
    let client = client("registry.invalid", &Access::default());
    let error = look(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("does not resolve"), "{error}");
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_a_configuration_error() {
    crate::support::install_tls_provider();
    let identity = ClientIdentity {
        certificate: b"canary".to_vec(),
        key: b"canary".to_vec().into(),
    };
    for certificates in [
        Certificates {
            ca_bundle: Some(b"canary".to_vec()),
            identity: None,
        },
        Certificates {
            ca_bundle: None,
            identity: Some(identity),
        },
    ] {
        let access = Access {
            certificates,
            ..Access::default()
        };
        let error = Client::new(&"registry.test".parse().unwrap(), &access).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(!format!("{error} {error:?} {access:?}").contains("canary"));
    }
}
