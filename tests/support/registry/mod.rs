//! An OCI registry in this process that is correct until a test tells it what to do wrong, and
//! that remembers every request.
//!
//! ```ignore
//! let registry = Registry::start().await;                        // open, plain HTTP
//! let registry = Registry::builder().token("user", "password").start().await;
//! let registry = Registry::builder().basic("user", "password").tls(&authority).start().await;
//! let registry = Registry::builder().dialect(Dialect::Ecr).start().await;
//! let registry = Registry::builder().permissive().start().await; // takes incomplete manifests
//!
//! // Content, put into storage without a request:
//! let digest = registry.seed_image("team/app", Some("v1"), &[b"a layer"]);
//! registry.seed_blob("team/app", b"content");
//! registry.seed_manifest("team/app", Some("v1"), &document);
//!
//! // Faults: rules that match requests; all rules that match a request act on it.
//! registry.add(Rule::on(Endpoint::Blob, Action::status(503)).method(Method::GET).times(2));
//! registry.add(Rule::on(Endpoint::Session, Action::CutRequest(5)).after(1).times(1));
//! registry.add(Rule::on(Endpoint::Blob, Action::SetHeader("location", other)).when(|request| ..));
//! let faults = random_faults(&mut Random::new(seed), Role::Destination);
//! faults.into_iter().for_each(|rule| registry.add(rule));
//! registry.clear_rules();
//! registry.lose_blob("team/app", &digest);                       // garbage collection
//! registry.expire_tokens();
//!
//! // What came of it:
//! registry.manifest("team/app", "v1");                           // Option<StoredManifest>
//! registry.blob("team/app", &digest);                            // Option<Bytes>
//! registry.requests();                                           // every request, in order
//! registry.count(&Method::PUT, Endpoint::Session);
//! registry.open_sessions("team/app");
//! registry.duplicate_uploads();                                  // blobs that were sent twice
//! registry.assert_never_incomplete();                            // no tag pointed at a torso
//! ```
//!
//! Without rules it is strict: manifests must refer to what the repository has, uploads must hash
//! to their digest, chunks must be in order. After each change that can tear a tag it looks whether
//! every tag of the repository is complete. Dropping the registry ends it and frees its content.

mod answer;
mod auth;
mod content;
mod dialect;
mod fault;
mod held_up;
mod listener;
mod log;
mod route;
mod schedule;
mod serve;
mod storage;
mod uploads;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use transship::oci::Digest;

use self::auth::{Guard, Tokens};
pub(crate) use self::dialect::Dialect;
pub(crate) use self::fault::{Action, Rule};
use self::listener::{Connections, Scissors};
pub(crate) use self::log::Recorded;
pub(crate) use self::route::Endpoint;
pub(crate) use self::schedule::{Random, Role, random_faults};
use self::storage::Storage;
pub(crate) use self::storage::StoredManifest;
use super::tls::Authority;

/// A running registry; dropping it ends it.
pub(crate) struct Registry {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What connections and the test share.
struct Shared {
    host: String,
    guard: Guard,
    /// The address of the token service.
    realm: String,
    /// `SCHEME://ADDRESS:PORT`
    origin: String,
    permissive: bool,
    dialect: Option<Dialect>,
    state: Mutex<State>,
    /// Told of each request that was answered.
    answered: Notify,
}

#[derive(Default)]
struct State {
    storage: Storage,
    tokens: Tokens,
    rules: Vec<Rule>,
    requests: Vec<Recorded>,
}

/// How a registry is to be.
#[derive(Default)]
pub(crate) struct Builder {
    guard: Guard,
    permissive: bool,
    dialect: Option<Dialect>,
    tls: Option<TlsAcceptor>,
}

impl Builder {
    /// Ask for this user and password with every request.
    pub(crate) fn basic(mut self, username: &str, password: &str) -> Self {
        self.guard = Guard::Basic(auth::basic(username, password));
        self
    }

    /// Ask for tokens, which the registry's own token service gives to this user and password.
    pub(crate) fn token(mut self, username: &str, password: &str) -> Self {
        self.guard = Guard::Token(auth::basic(username, password));
        self
    }

    /// Take manifests whose blobs or children are missing, so that wrong order becomes visible.
    pub(crate) fn permissive(mut self) -> Self {
        self.permissive = true;
        self
    }

    /// Behave like one of the big registries.
    pub(crate) fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }

    /// Serve TLS, with HTTP/2 and HTTP/1.1, with a certificate for 127.0.0.1 of this authority.
    pub(crate) fn tls(mut self, authority: &Authority) -> Self {
        let issued = authority.issue("127.0.0.1");
        self.tls = Some(issued.acceptor(&["h2", "http/1.1"]));
        self
    }

    /// Starts the registry on a port of its own choice.
    pub(crate) async fn start(self) -> Registry {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let connections = Connections::listen(self.tls).await;
        let host = axum::serve::Listener::local_addr(&connections)
            .unwrap()
            .to_string();
        let shared = Arc::new(Shared {
            realm: format!("{scheme}://{host}/token"),
            origin: format!("{scheme}://{host}"),
            host,
            guard: self.guard,
            permissive: self.permissive,
            dialect: self.dialect,
            state: Mutex::default(),
            answered: Notify::new(),
        });
        let service = Router::new()
            .fallback(serve::serve)
            .with_state(shared.clone())
            .into_make_service_with_connect_info::<Scissors>();
        let task = tokio::spawn(async move { axum::serve(connections, service).await.unwrap() });
        Registry { shared, task }
    }
}

impl Registry {
    /// An open registry without TLS.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    /// `ADDRESS:PORT`
    pub(crate) fn host(&self) -> &str {
        &self.shared.host
    }

    /// Adds a rule behind those that are there.
    pub(crate) fn add(&self, rule: Rule) {
        self.state().rules.push(rule);
    }

    /// From now on the registry is correct again.
    pub(crate) fn clear_rules(&self) {
        self.state().rules.clear();
    }

    /// No token that was issued so far is accepted any more.
    pub(crate) fn expire_tokens(&self) {
        self.state().tokens.expire();
    }

    /// From now on tokens say that they live this many seconds.
    pub(crate) fn issue_tokens_for(&self, seconds: f64) {
        self.state().tokens.lifetime = seconds;
    }

    /// Puts a blob into a repository.
    pub(crate) fn seed_blob(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Digest::sha256(content);
        self.seed_blob_as(repository, &digest, content);
        digest
    }

    /// Puts a blob into a repository under its digest of some algorithm.
    pub(crate) fn seed_blob_as(&self, repository: &str, digest: &Digest, content: &[u8]) {
        let content = Bytes::copy_from_slice(content);
        let mut state = self.state();
        let repository = state.storage.repository(repository);
        repository.blobs.insert(digest.clone(), content);
    }

    /// Puts a manifest of any kind into a repository; its `mediaType` field says which.
    pub(crate) fn seed_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        document: &Value,
    ) -> Digest {
        let bytes = document.to_string();
        let digest = Digest::sha256(bytes.as_bytes());
        let media_type = document["mediaType"].as_str().unwrap();
        self.seed_document(repository, tag, media_type, bytes, digest.clone());
        digest
    }

    /// Puts a document into a repository that may not say what it is, and whose digest may be of
    /// something else.
    pub(crate) fn seed_document(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        document: String,
        digest: Digest,
    ) {
        let mut state = self.state();
        let stored = state.storage.repository(repository);
        let manifest = StoredManifest {
            bytes: Bytes::from(document),
            media_type: media_type.to_owned(),
        };
        stored.manifests.insert(digest.clone(), manifest);
        if let Some(tag) = tag {
            stored.tags.insert(tag.to_owned(), digest);
            state.storage.check(repository);
        }
    }

    /// Puts an OCI image with these layers into a repository.
    pub(crate) fn seed_image(
        &self,
        repository: &str,
        tag: Option<&str>,
        layers: &[&[u8]],
    ) -> Digest {
        let descriptor = |media_type: &str, content: &[u8]| {
            let digest = self.seed_blob(repository, content);
            json!({"mediaType": media_type, "digest": digest, "size": content.len()})
        };
        let layer = |content: &&[u8]| descriptor("application/vnd.oci.image.layer.v1.tar", content);
        let layers: Vec<_> = layers.iter().map(layer).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "layers": layers}).to_string();
        let config = descriptor(
            "application/vnd.oci.image.config.v1+json",
            config.as_bytes(),
        );
        let document = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        });
        self.seed_manifest(repository, tag, &document)
    }

    /// Creates an empty repository, where a registry does not do that by itself.
    pub(crate) fn create_repository(&self, repository: &str) {
        self.state().storage.repository(repository);
    }

    /// Removes a blob, as a garbage collection that does not look does.
    pub(crate) fn lose_blob(&self, repository: &str, digest: &Digest) {
        let mut state = self.state();
        state.storage.repository(repository).blobs.remove(digest);
        state.storage.check(repository);
    }

    /// The manifest that a tag or digest stands for.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Option<StoredManifest> {
        let state = self.state();
        let repository = state.storage.repositories.get(repository)?;
        Some(repository.resolve(reference)?.1)
    }

    /// The content of a blob.
    pub(crate) fn blob(&self, repository: &str, digest: &Digest) -> Option<Bytes> {
        let state = self.state();
        let repository = state.storage.repositories.get(repository)?;
        repository.blobs.get(digest).cloned()
    }

    /// Fails with the first digest that is missing below a manifest.
    pub(crate) fn is_complete(&self, repository: &str, reference: &str) -> Result<(), String> {
        let state = self.state();
        let repository = state
            .storage
            .repositories
            .get(repository)
            .expect("a repository");
        let (digest, _) = repository.resolve(reference).unwrap();
        repository.complete(digest.as_str(), &mut BTreeSet::new())
    }

    /// Returns when the registry has answered this many requests.
    pub(crate) async fn reaches(&self, requests: usize) {
        while self.state().requests.len() < requests {
            self.shared.answered.notified().await;
        }
    }

    /// How many requests came that write something.
    pub(crate) fn writes(&self) -> usize {
        let reads = [Method::GET, Method::HEAD];
        let state = self.state();
        let requests = state.requests.iter();
        requests
            .filter(|request| !reads.contains(&request.method))
            .count()
    }

    /// How many upload sessions a repository has open.
    pub(crate) fn open_sessions(&self, repository: &str) -> usize {
        self.state().storage.repository(repository).sessions.len()
    }

    /// Every request so far, in the order in which they were answered.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.state().requests.clone()
    }

    /// How many requests an endpoint got with a method.
    pub(crate) fn count(&self, method: &Method, endpoint: Endpoint) -> usize {
        let state = self.state();
        let requests = state.requests.iter();
        requests
            .filter(|request| request.method == *method && request.endpoint == endpoint)
            .count()
    }

    /// The blobs whose bytes were sent although some repository of this registry had them.
    pub(crate) fn duplicate_uploads(&self) -> Vec<Digest> {
        self.state().storage.duplicate_uploads.clone()
    }

    /// Fails if a tag has ever pointed at an image of which a part was missing.
    pub(crate) fn assert_never_incomplete(&self) {
        let violations = self.state().storage.violations.clone();
        assert!(violations.is_empty(), "{violations:#?}");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}
