//! Hostile answers, and a server that lies in wait where they lead: not one byte of a credential
//! arrives there, whatever a registry says and wherever it says it.

mod challenges;
mod links;
mod locations;
mod redirects;
mod token_services;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use bytes::Bytes;
use transship::oci::{Manifest, MediaType};
use transship::registry::{Access, Certificates, Client, ManifestReference};

use crate::support::registry::{Action, Endpoint, Registry, Rule};
use crate::support::sink::Sink;
use crate::support::tls::Authority;
use crate::support::{blob, client, credentials, plain_with, pull_blob, push_blob, repository};

const USER: &str = "canary-user";
const PASSWORD: &str = "canary-password";
const CONTENT: &[u8] = b"content";

/// Most requests that one hostile answer gets out of a client.
const MOST_REQUESTS: usize = 30;

/// What is asked of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ask {
    LookUp,
    Read,
    Manifest,
    Tags,
    Referrers,
    Mount,
    Upload,
    Put,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nobody goes there, and the operation fails.
    Refused,
    /// Nobody goes there, and the operation succeeds at the registry.
    Home,
    /// The client goes there with nothing in its hands.
    Bare,
}

/// How the registry is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wire {
    Plain,
    Tls,
}

/// A registry that wants tokens, the server that lies in wait, and a client with a password.
struct Trap {
    registry: Registry,
    sink: Sink,
    client: Client,
}

impl Trap {
    async fn set(wire: Wire, sink_says: Option<&str>) -> Self {
        let authority = Authority::new();
        let builder = Registry::builder().token(USER, PASSWORD);
        let registry = match wire {
            Wire::Plain => builder.start().await,
            Wire::Tls => builder.tls(&authority).start().await,
        };
        registry.seed_blob("app", CONTENT);
        registry.seed_image("app", Some("v1"), &[CONTENT]);
        let sink_says = sink_says.map(|text| text.replace("{registry}", registry.host()));
        let sink = Sink::start(&authority, sink_says).await;
        let access = Access {
            insecure: wire == Wire::Plain,
            certificates: Certificates {
                ca_bundle: Some(authority.certificate().into_bytes()),
                identity: None,
            },
            credentials: Some(credentials(USER, PASSWORD)),
        };
        let client = client(registry.host(), &access);
        Self {
            registry,
            sink,
            client,
        }
    }

    /// `template` with the addresses of this trap.
    fn fill(&self, template: &str) -> String {
        let registry = self.registry.host();
        let port = self.sink.port();
        template
            .replace("{registry}", registry)
            .replace("{own_port}", registry.rsplit_once(':').unwrap().1)
            .replace("{sink}", &format!("127.0.0.1:{port}"))
            .replace("{port}", &port.to_string())
    }

    fn answer(&self, status: u16, headers: &[(&'static str, &str)], body: &str) -> Action {
        let headers = headers.iter();
        Action::Answer {
            status,
            headers: headers
                .map(|(name, value)| (*name, self.fill(value)))
                .collect(),
            body: self.fill(body),
        }
    }

    async fn perform(&self, ask: Ask) -> Result<(), String> {
        let (client, app, blob) = (&self.client, repository("app"), blob(CONTENT));
        let said = |error: &dyn std::error::Error| format!("{error} {error:?}");
        match ask {
            Ask::LookUp => client
                .blob_exists(&app, &blob.digest)
                .await
                .map(drop)
                .map_err(|error| said(&error)),
            Ask::Read => pull_blob(client, &app, &blob)
                .await
                .map(drop)
                .map_err(|error| said(&error)),
            Ask::Manifest => client
                .get_manifest(&app, ManifestReference::Tag(&"v1".parse().unwrap()))
                .await
                .map(drop)
                .map_err(|error| said(&error)),
            Ask::Tags => client
                .list_tags(&app, 100)
                .await
                .map(drop)
                .map_err(|error| said(&error)),
            Ask::Referrers => client
                .referrers(&app, &blob.digest, None)
                .await
                .map(drop)
                .map_err(|error| said(&error)),
            Ask::Mount => client
                .start_upload(&app, &blob.digest, Some(&repository("base")))
                .await
                .map(drop)
                .map_err(|error| said(&error)),
            Ask::Upload => push_blob(client, &app, b"other content")
                .await
                .map(drop)
                .map_err(|error| said(&error)),
            Ask::Put => {
                let media_type = MediaType::new("application/vnd.example+json");
                let manifest = Manifest::new(Bytes::from_static(b"{}"), media_type);
                client
                    .put_manifest(&app, &manifest, None)
                    .await
                    .map_err(|error| said(&error))
            }
        }
    }

    /// Asks, and sees that it ends as it must with every secret where it was.
    async fn spring(&self, what: &str, ask: Ask, end: End) {
        let result = self.perform(ask).await;
        let visits = self.sink.connections().await;
        let seen = self.sink.bytes();
        assert_eq!(credential_bytes(&seen), 0, "{what}: {seen:?}");
        assert_eq!(
            visits > 0,
            end == End::Bare,
            "{what}: {visits} visits, {result:?}"
        );
        match end {
            End::Refused => assert!(result.is_err(), "{what}: accepted"),
            End::Home => assert_eq!(result, Ok(()), "{what}"),
            End::Bare => {}
        }
        if let Err(error) = &result {
            assert_eq!(credential_bytes(error.as_bytes()), 0, "{what}: {error}");
            let place = format!("127.0.0.1:{}", self.sink.port());
            assert!(!error.contains(&place), "{what}: {error}");
        }
        let requests = self.registry.requests().len();
        assert!(requests <= MOST_REQUESTS, "{what}: {requests} requests");
    }
}

/// How many bytes of what was seen belong to a credential, in any form in which one is sent, or to a
/// header that would carry one.
fn credential_bytes(seen: &[u8]) -> usize {
    let seen = String::from_utf8_lossy(seen).to_ascii_lowercase();
    let pair = format!("{USER}:{PASSWORD}");
    let secrets = [
        USER.to_owned(),
        PASSWORD.to_owned(),
        STANDARD.encode(&pair),
        STANDARD_NO_PAD.encode(&pair),
        URL_SAFE.encode(&pair),
        STANDARD_NO_PAD.encode(PASSWORD),
        // What the token service of the registry gives out.
        "token-".to_owned(),
        "authorization:".to_owned(),
        "cookie:".to_owned(),
        "referer:".to_owned(),
    ];
    let found = secrets.iter().map(|secret| {
        let secret = secret.to_ascii_lowercase();
        seen.matches(&secret).count() * secret.len()
    });
    found.sum()
}

/// Only requests that carry an authorization, so that the registry first asks for it.
fn authorized(endpoint: Endpoint, action: Action) -> Rule {
    Rule::on(endpoint, action).when(|request| request.header("authorization").is_some())
}

#[test]
fn the_sum_of_credentials_finds_each_of_them() {
    let pair = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for (seen, is_secret) in [
        (
            format!("GET / HTTP/1.1\r\nAuthorization: Basic {pair}\r\n"),
            true,
        ),
        (format!("GET /?x={pair} HTTP/1.1\r\n"), true),
        (format!("GET /{USER} HTTP/1.1\r\n"), true),
        (format!("password={PASSWORD}"), true),
        ("AUTHORIZATION: x".to_owned(), true),
        ("Cookie: a".to_owned(), true),
        ("Bearer token-1".to_owned(), true),
        (
            "GET /token HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".to_owned(),
            false,
        ),
    ] {
        assert_eq!(credential_bytes(seen.as_bytes()) > 0, is_secret, "{seen}");
    }
}

#[tokio::test]
async fn whoever_is_sent_a_credential_is_caught() {
    let authority = Authority::new();
    let sink = Sink::start(&authority, None).await;
    let careless = client(
        &format!("127.0.0.1:{}", sink.port()),
        &plain_with(USER, PASSWORD),
    );
    assert!(
        careless
            .blob_exists(&repository("app"), &blob(CONTENT).digest)
            .await
            .unwrap()
    );
    assert!(sink.connections().await > 0);
    assert_eq!(
        credential_bytes(&sink.bytes()),
        0,
        "it has not asked for one"
    );
    let answer = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n";
    let sink = Sink::start(&authority, Some(answer.to_owned())).await;
    let careless = client(
        &format!("127.0.0.1:{}", sink.port()),
        &plain_with(USER, PASSWORD),
    );
    careless
        .blob_exists(&repository("app"), &blob(CONTENT).digest)
        .await
        .unwrap_err();
    assert!(credential_bytes(&sink.bytes()) > 0);
}

/// What is in the tables has no doubles, and there is enough of it.
#[test]
fn there_are_more_than_three_hundred_hostile_answers() {
    let mut answers: Vec<String> = challenges::names()
        .chain(token_services::names())
        .chain(redirects::names())
        .chain(locations::names())
        .chain(links::names())
        .collect();
    let count = answers.len();
    answers.sort();
    answers.dedup();
    assert_eq!(answers.len(), count, "one is there twice");
    assert!(count > 300, "{count}");
}
