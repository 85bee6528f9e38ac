//! The client for one registry over HTTP (OCI distribution specification 1.1).
//!
//! It knows nothing of Kubernetes, of a second registry, or of what its caller wants to copy.
//! Everything that a registry sends is hostile until it was checked: content against its digest,
//! URLs against the origin policy (`origin.rs`), sizes against a limit. Dropping a future cancels
//! what it does.
//!
//! The process must have installed a [`rustls::crypto::CryptoProvider`].

mod access;
mod answer;
mod auth;
mod blobs;
mod delete;
mod docker_config;
mod error;
mod exchange;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod http;
mod large_upload;
mod left_uploads;
mod limit;
mod link;
mod manifests;
mod meter;
mod origin;
mod pace;
mod patience;
#[cfg(test)]
mod properties;
mod quirks;
mod range;
mod referrers;
mod resolve;
mod saved_uploads;
mod tags;
mod upload;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use reqwest::StatusCode;
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use self::auth::Authenticator;
use self::error::{Operation, Problem, Subject};
use self::http::Transport;
use self::left_uploads::LeftUploads;
use self::limit::Limit;
use self::saved_uploads::SavedUploads;
use crate::oci::{RegistryHost, Repository};

pub use self::access::{Access, Certificates, ClientIdentity, Credentials};
pub use self::docker_config::{CredentialHelper, DockerConfig, DockerConfigError};
pub use self::error::{Error, ErrorKind};
pub use self::large_upload::{BlobContent, CHUNK_BYTES};
pub use self::manifests::{ManifestHead, ManifestReference};
pub use self::patience::Patience;
pub use self::tags::TagList;
pub use self::upload::{Upload, UploadError, UploadSession};

/// A client for one registry with one set of credentials.
///
/// Clones share connections, tokens and what was learnt about the registry.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    saved_uploads: Option<SavedUploads>,
}

struct Inner {
    registry: RegistryHost,
    /// The registry's origin; found out by the first request when plain HTTP is allowed.
    base: OnceCell<Url>,
    transport: Transport,
    authenticator: Authenticator,
    patience: Patience,
    limit: Limit,
    /// Whether the registry has turned out to have no referrers API.
    lacks_referrers: AtomicBool,
    /// Set once the registry was asked for referrers.
    referrers_asked: OnceCell<()>,
    /// Held while a fallback tag of referrers is changed.
    fallback_writes: Mutex<()>,
    left_uploads: Arc<LeftUploads>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("registry", &self.inner.registry)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client for `registry` with the default [`Patience`]. It opens no connection yet.
    pub fn new(registry: &RegistryHost, access: &Access) -> Result<Self, Error> {
        Self::with_patience(registry, access, Patience::default())
    }

    /// A client for `registry` that waits and repeats as `patience` says.
    pub fn with_patience(
        registry: &RegistryHost,
        access: &Access,
        patience: Patience,
    ) -> Result<Self, Error> {
        Self::build(registry, access, patience)
            .map_err(|problem| Error::new(Operation::Prepare, Subject::registry(registry), problem))
    }

    fn build(
        registry: &RegistryHost,
        access: &Access,
        patience: Patience,
    ) -> Result<Self, Problem> {
        let base = origin_of(registry, "https")?;
        Ok(Self {
            inner: Arc::new(Inner {
                registry: registry.clone(),
                base: if access.insecure {
                    OnceCell::new()
                } else {
                    OnceCell::new_with(Some(base))
                },
                transport: Transport::new(access, &patience)?,
                authenticator: Authenticator::new(access.credentials.as_ref())?,
                patience,
                limit: Limit::new(),
                lacks_referrers: AtomicBool::new(false),
                referrers_asked: OnceCell::new(),
                fallback_writes: Mutex::new(()),
                left_uploads: Arc::default(),
            }),
            saved_uploads: None,
        })
    }

    /// This client, writing down in `directory` how far uploads of large blobs are, so that the next
    /// process goes on with those that this one leaves open.
    ///
    /// The directory is for nobody else: who can read it may be able to write to the repositories.
    #[must_use]
    pub fn saving_uploads_in(mut self, directory: PathBuf) -> Self {
        self.saved_uploads = Some(SavedUploads::new(directory));
        self
    }

    /// The registry's origin.
    ///
    /// When plain HTTP is allowed the first request tries TLS, and only a port that does not speak
    /// TLS at all is spoken to without. Both are asked at once, which saves round trips, and without
    /// credentials. The choice then holds for the life of the client.
    async fn base(&self) -> Result<&Url, Problem> {
        self.inner.base.get_or_try_init(|| self.find_base()).await
    }

    async fn find_base(&self) -> Result<Url, Problem> {
        let with_tls = origin_of(&self.inner.registry, "https")?;
        let plain = origin_of(&self.inner.registry, "http")?;
        let secure_probe = self.inner.transport.probe(&with_tls);
        let plain_probe = self.inner.transport.probe(&plain);
        tokio::pin!(secure_probe, plain_probe);
        let mut plain_answer = None;
        // What plain HTTP gets to hear counts only when there is no TLS.
        let secure_answer = loop {
            tokio::select! {
                answer = &mut secure_probe => break answer,
                answer = &mut plain_probe, if plain_answer.is_none() => plain_answer = Some(answer),
            }
        };
        let Err(problem) = secure_answer else {
            return Ok(with_tls.clone());
        };
        if !matches!(&problem, Problem::Transport(failure) if failure.may_be_plain_http()) {
            return Err(problem);
        }
        let plain_answer = match plain_answer {
            Some(answer) => answer,
            None => plain_probe.await,
        };
        match plain_answer? {
            // What servers say to plain HTTP on a TLS port; the handshake failed by chance.
            StatusCode::BAD_REQUEST => Err(problem),
            _ => Ok(plain.clone()),
        }
    }

    /// What an error of an operation on `repository` is about; `suffix` is `:tag` or `@digest`.
    fn subject(&self, repository: &Repository, suffix: String) -> Subject {
        Subject::item(&self.inner.registry, repository, suffix)
    }
}

fn origin_of(registry: &RegistryHost, scheme: &str) -> Result<Url, Problem> {
    Url::parse(&format!("{scheme}://{}/", quirks::api_host(registry)))
        .map_err(|_| Problem::Configuration("the host name cannot be used in a URL"))
}
