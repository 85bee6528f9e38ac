//! A registry that is nothing but names: the digest of a tag is that of its name, so that any number of
//! images is there and none takes room. It counts what it is asked for. It must not know: Kubernetes.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use transship::oci::{Digest, MediaType};

/// How long each answer takes: the way to a registry and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(40);
/// Below this path a destination has nothing.
pub(crate) const MISSING: &str = "missing";
/// Most tags of one page, as docker.io has it.
const PAGE_TAGS: usize = 1000;

/// What a registry was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// `HEAD` requests by the manifest's path.
    pub(crate) heads: HashMap<String, u32>,
    /// Pages of tag lists.
    pub(crate) tag_pages: usize,
    /// What nobody should ask for in a scan: contents of manifests and blobs, and any write.
    pub(crate) others: VecDeque<String>,
}

/// Which side of a mirror a registry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Has every image.
    Source,
    /// Has every image but those below [`MISSING`].
    Destination,
}

struct Shared {
    role: Role,
    log: Mutex<Log>,
}

/// A running registry.
pub(crate) struct Registry {
    /// `ADDRESS:PORT`
    pub(crate) host: String,
    shared: Arc<Shared>,
}

impl Registry {
    /// Starts a registry on a free port. It ends with the process.
    pub(crate) async fn start(role: Role, tls: TlsAcceptor) -> anyhow::Result<Self> {
        let connections = Connections::listen(tls).await?;
        let shared = Arc::new(Shared {
            role,
            log: Mutex::default(),
        });
        let host = connections.address.to_string();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(connections, router).await });
        Ok(Self { host, shared })
    }

    /// What was asked for since this was called the last time.
    pub(crate) fn take_log(&self) -> Log {
        std::mem::take(&mut *self.shared.log())
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    tokio::time::sleep(ROUND_TRIP).await;
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    if path == "/v2/" {
        return empty(StatusCode::OK);
    }
    let name = path.strip_prefix("/v2/").unwrap_or(path);
    if let Some(repository) = name.strip_suffix("/tags/list") {
        shared.log().tag_pages += 1;
        return tags(repository, query);
    }
    match name.rsplit_once("/manifests/") {
        Some((repository, tag)) if request.method() == Method::HEAD => {
            *shared.log().heads.entry(name.to_owned()).or_default() += 1;
            if shared.role == Role::Destination && repository.starts_with(MISSING) {
                return empty(StatusCode::NOT_FOUND);
            }
            manifest(repository, tag)
        }
        _ => {
            let line = format!("{} {path}", request.method());
            shared.log().others.push_back(line);
            empty(StatusCode::NOT_FOUND)
        }
    }
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn manifest(repository: &str, tag: &str) -> Response {
    let digest = Digest::sha256(format!("{repository}:{tag}").as_bytes()).to_string();
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(MediaType::OCI_INDEX),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1024"));
    if let Ok(digest) = HeaderValue::from_str(&digest) {
        headers.insert("docker-content-digest", digest);
    }
    response
}

/// One page of the tags of a repository, whose name ends with their number.
fn tags(repository: &str, query: &str) -> Response {
    let count = number_at_end(repository);
    let begin = url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "last")
        .map_or(0, |(_, last)| number_at_end(&last) + 1);
    let end = count.min(begin + PAGE_TAGS);
    let tags: Vec<_> = (begin..end).map(tag).collect();
    let link = (end < count)
        .then(|| {
            let last = tags.last()?;
            let link =
                format!("</v2/{repository}/tags/list?n={PAGE_TAGS}&last={last}>; rel=\"next\"");
            HeaderValue::from_str(&link).ok()
        })
        .flatten();
    let body = json!({"name": repository, "tags": tags}).to_string();
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

fn tag(number: usize) -> String {
    format!("1.0.{number:06}")
}

fn number_at_end(text: &str) -> usize {
    let begin = text.trim_end_matches(|character: char| character.is_ascii_digit());
    let digits = text.strip_prefix(begin).unwrap_or_default();
    digits.parse().unwrap_or_default()
}

/// The connections to an address; handshakes do not wait for one another.
struct Connections {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Connections {
    async fn listen(tls: TlsAcceptor) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("cannot listen for a registry")?;
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (tls, sender) = (tls.clone(), sender.clone());
                tokio::spawn(async move {
                    // Whoever breaks off has nothing to be told.
                    if let Ok(stream) = tls.accept(stream).await {
                        let _ = sender.send((stream, peer)).await;
                    }
                });
            }
        });
        Ok(Self { address, ready })
    }
}

impl axum::serve::Listener for Connections {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}
