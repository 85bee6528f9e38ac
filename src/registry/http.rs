//! The HTTP clients of one registry: TLS, timeouts, and bodies that cannot grow without bound.
//!
//! It sends one request and knows neither authorization nor redirects nor retries.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Certificate, ClientBuilder, Identity, Request, Response, StatusCode, redirect};
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls_platform_verifier::Verifier;
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout};
use url::{Host, Url};

use super::access::{Access, ClientIdentity};
use super::error::Problem;
use super::failure::{TransportFailure, classify};
use super::pace::Pace;
use super::patience::Patience;
use super::reach::{ForbiddenAddress, Neighbourhood};
use super::resolve::GuardedResolver;

const USER_AGENT: &str = concat!("transship/", env!("CARGO_PKG_VERSION"));

/// Bytes that one HTTP/2 stream may have in flight: 4 MiB fill 300 Mbit/s at 100 ms.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes that one HTTP/2 connection may have in flight; with slow readers this much is buffered.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
const IDLE_CONNECTIONS_PER_HOST: usize = 16;
/// The protocols by the names that they have in TLS.
const HTTP_2: &str = "h2";
const HTTP_1: &str = "http/1.1";

/// Bytes from which on content goes over a connection of its own. Small requests share one connection
/// of HTTP/2, where the window of the connection and one lost packet would hold all of them up.
pub(super) const BULK_BYTES: u64 = 1024 * 1024;

/// Which of the clients sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// To the registry's own origin: with the client certificate, unverified when `insecure`.
    Registry,
    /// The same, for [`BULK_BYTES`] and more: with HTTP/1.1, over as many connections as it takes.
    RegistryBulk,
    /// To anywhere else: always verified, nothing shown.
    Elsewhere,
}

/// The clients for the registry and for where it points.
#[derive(Debug)]
pub(super) struct Transport {
    registry: reqwest::Client,
    // Made when they are needed: reading the system's authorities takes longer than a small request.
    bulk: OnceLock<reqwest::Client>,
    elsewhere: OnceLock<reqwest::Client>,
    insecure: bool,
    patience: Patience,
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
    neighbourhood: Arc<Neighbourhood>,
}

impl Transport {
    /// The clients for the registry at `host`, which is written as in URLs.
    pub(super) fn new(host: &str, access: &Access, patience: &Patience) -> Result<Self, Problem> {
        // Without a provider, building a client panics.
        if CryptoProvider::get_default().is_none() {
            return Err(Problem::Configuration(
                "the process has installed no TLS provider",
            ));
        }
        let certificates = &access.certificates;
        let authorities = certificates.ca_bundle.as_deref().map(authorities);
        let authorities = authorities.transpose()?.unwrap_or_default();
        let identity = certificates.identity.as_ref().map(parse_identity);
        let identity = identity.transpose()?;
        let neighbourhood = Arc::new(Neighbourhood::new(host));
        let trust = Trust {
            authorities: &authorities,
            insecure: access.insecure,
            identity: identity.as_ref(),
        };
        Ok(Self {
            registry: build(builder(patience, &neighbourhood), &trust, &[HTTP_2, HTTP_1])?,
            bulk: OnceLock::new(),
            elsewhere: OnceLock::new(),
            insecure: access.insecure,
            patience: patience.clone(),
            authorities,
            identity,
            neighbourhood,
        })
    }

    fn client(&self, side: Side, url: &Url) -> Result<&reqwest::Client, Problem> {
        let elsewhere = Trust {
            authorities: &self.authorities,
            insecure: false,
            identity: None,
        };
        let registry = Trust {
            insecure: self.insecure,
            identity: self.identity.as_ref(),
            ..elsewhere
        };
        match side {
            Side::Registry => Ok(&self.registry),
            // Without TLS it is HTTP/1.1 anyway, and connections that are open can be used.
            Side::RegistryBulk if url.scheme() == "http" => Ok(&self.registry),
            Side::RegistryBulk if self.insecure || self.identity.is_some() => {
                self.get_or_build(&self.bulk, &registry)
            }
            Side::RegistryBulk | Side::Elsewhere => self.get_or_build(&self.elsewhere, &elsewhere),
        }
    }

    /// A client that speaks HTTP/1.1 alone.
    fn get_or_build<'a>(
        &self,
        client: &'a OnceLock<reqwest::Client>,
        trust: &Trust<'_>,
    ) -> Result<&'a reqwest::Client, Problem> {
        if let Some(client) = client.get() {
            return Ok(client);
        }
        let builder = builder(&self.patience, &self.neighbourhood).http1_only();
        let built = build(builder, trust, &[HTTP_1])?;
        Ok(client.get_or_init(|| built))
    }

    /// Sends one request and waits for the head of its answer.
    ///
    /// The wait covers sending the body too, so this is not for bodies that stream.
    pub(super) async fn send(&self, side: Side, request: Request) -> Result<Response, Problem> {
        timeout(self.patience.idle, self.send_streaming(side, request))
            .await
            .map_err(|_| Problem::Transport(TransportFailure::Timeout))?
    }

    /// Sends one request without a limit on the time; the caller watches the progress.
    pub(super) async fn send_streaming(
        &self,
        side: Side,
        request: Request,
    ) -> Result<Response, Problem> {
        self.check_address(request.url())
            .map_err(Problem::ForbiddenAddress)?;
        self.client(side, request.url())?
            .execute(request)
            .await
            .map_err(|error| classify(&error))
    }

    /// Judges the address in a URL; names are judged when they are resolved.
    fn check_address(&self, url: &Url) -> Result<(), ForbiddenAddress> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        self.neighbourhood
            .admit(&address.to_string(), [address])
            .map(drop)
    }

    /// The status with which anything answers HTTP at `base`.
    pub(super) async fn probe(&self, base: &Url) -> Result<StatusCode, Problem> {
        let mut url = base.clone();
        url.set_path("/v2/");
        self.send(Side::Registry, Request::new(reqwest::Method::GET, url))
            .await
            .map(|response| response.status())
    }

    /// The pace that bodies have to keep.
    pub(super) const fn pace(&self) -> Pace {
        Pace::new(self.patience.idle)
    }

    /// The next piece of a body, or [`None`] at its end. Waits as long as it keeps its pace.
    pub(super) async fn next_chunk(
        &self,
        response: &mut Response,
        pace: &mut Pace,
    ) -> Result<Option<Bytes>, Problem> {
        let asked_at = Instant::now();
        let piece = timeout(pace.allowance(), response.chunk())
            .await
            .map_err(|_| Problem::Transport(TransportFailure::Timeout))?
            .map_err(|error| classify(&error))?;
        if let Some(piece) = &piece {
            pace.received(piece.len() as u64, asked_at.elapsed());
        }
        Ok(piece)
    }

    /// The whole body, refused when it has more than `limit` bytes.
    pub(super) async fn read_body(
        &self,
        mut response: Response,
        limit: usize,
        what: &'static str,
    ) -> Result<Bytes, Problem> {
        let too_large = Problem::TooLarge { what, limit };
        if response
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Err(too_large);
        }
        let mut pace = self.pace();
        let mut body = BytesMut::new();
        while let Some(chunk) = self.next_chunk(&mut response, &mut pace).await? {
            if body.len() + chunk.len() > limit {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// Whom a client trusts, and what it shows.
#[derive(Clone, Copy)]
struct Trust<'a> {
    /// Beside those of the system.
    authorities: &'a [Certificate],
    /// Whether anybody else is trusted as well.
    insecure: bool,
    identity: Option<&'a Identity>,
}

impl Trust<'_> {
    /// TLS for one client. Most trust the system alone, and share its authorities.
    fn apply(&self, builder: ClientBuilder, protocols: &[&str]) -> Option<ClientBuilder> {
        if self.authorities.is_empty() && !self.insecure && self.identity.is_none() {
            return Some(builder.tls_backend_preconfigured(system_tls(protocols)?));
        }
        let builder = builder
            .tls_certs_merge(self.authorities.iter().cloned())
            .tls_danger_accept_invalid_certs(self.insecure);
        Some(match self.identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        })
    }
}

/// TLS that trusts the system's authorities. They are read once, and sessions are remembered in one place: that
/// takes longer than a small request, and more memory than all else of a client.
fn system_tls(protocols: &[&str]) -> Option<ClientConfig> {
    static SHARED: OnceLock<ClientConfig> = OnceLock::new();
    let shared = if let Some(shared) = SHARED.get() {
        shared
    } else {
        let read = read_system_tls()?;
        SHARED.get_or_init(|| read)
    };
    let mut config = shared.clone();
    config.alpn_protocols = protocols.iter().map(|&name| name.into()).collect();
    Some(config)
}

fn read_system_tls() -> Option<ClientConfig> {
    let provider = CryptoProvider::get_default()?;
    let verifier = Verifier::new(Arc::clone(provider)).ok()?;
    let config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Some(config)
}

fn builder(patience: &Patience, neighbourhood: &Arc<Neighbourhood>) -> ClientBuilder {
    let mut headers = HeaderMap::new();
    // A compressed body would not have the digest of the content.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(headers)
        .referer(false)
        .redirect(redirect::Policy::none())
        .connect_timeout(patience.connect)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .dns_resolver(GuardedResolver(Arc::clone(neighbourhood)))
}

fn build(
    builder: ClientBuilder,
    trust: &Trust<'_>,
    protocols: &[&str],
) -> Result<reqwest::Client, Problem> {
    let built = trust
        .apply(builder, protocols)
        .and_then(|builder| builder.build().ok());
    built.ok_or(Problem::Configuration(
        "the TLS settings cannot be used: the system has no certificate authorities, or the client certificate and key do not match",
    ))
}

fn authorities(bundle: &[u8]) -> Result<Vec<Certificate>, Problem> {
    match Certificate::from_pem_bundle(bundle) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Problem::Configuration(
            "the CA bundle holds no PEM certificates",
        )),
    }
}

fn parse_identity(identity: &ClientIdentity) -> Result<Identity, Problem> {
    let key = identity.key.expose_secret();
    let mut pem = Vec::with_capacity(identity.certificate.len() + 1 + key.len());
    pem.extend_from_slice(&identity.certificate);
    pem.push(b'\n');
    pem.extend_from_slice(key);
    Identity::from_pem(&pem).map_err(|_| {
        Problem::Configuration(
            "the client certificate or its key is not PEM, or the key is encrypted",
        )
    })
}
