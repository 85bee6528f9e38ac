//! A proxy in front of the API server, through which an operator of a test reaches it: it knows every request
//! by its name, and ends the operator before or after one of them.
//!
//! The operator speaks plain HTTP to it and shows no credentials; the proxy has those of the test. A request that
//! has been passed on is carried out, whatever becomes of the operator meanwhile. It must not know: what the
//! requests are for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use kube::Client;
use serde_json::{Value, json};

use super::process::kill;

/// More than any object has.
const MAX_BODY_BYTES: usize = 16 << 20;
/// The Lease is renewed every two seconds; of each kind of request so many count.
const LEASE_REQUESTS: usize = 2;

/// The moment of a request at which the operator is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// The API server never hears of it.
    Before,
    /// The API server has answered, and the operator never hears of it.
    After,
}

/// One request among those of an operator: its kind, without the names of objects, and the how manieth of its
/// kind it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    kind: String,
    number: usize,
}

impl Point {
    /// Whether it is the first of its kind, and changes something.
    pub(crate) fn is_first_write(&self) -> bool {
        let reads = self.kind.starts_with("GET ") || self.kind.starts_with("WATCH ");
        self.number == 1 && !reads
    }
}

/// Where an operator is ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    pub(crate) point: Point,
    pub(crate) moment: Moment,
}

impl fmt::Display for Cut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        let Point { kind, number } = &self.point;
        write!(formatter, "{moment} {kind} no. {number}")
    }
}

/// A running proxy; it ends with the handle.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    client: Client,
    cut: Option<Cut>,
    seen: Mutex<Seen>,
}

/// What has gone through the proxy.
#[derive(Default)]
struct Seen {
    /// The operator that runs.
    process: Option<u32>,
    counts: BTreeMap<String, usize>,
    points: Vec<Point>,
    is_cut: bool,
    /// Watches that were begun by the operator that runs.
    watches: usize,
    under_way: usize,
    last: Option<Instant>,
    /// The names of Jobs and pods that the API server has created.
    started: Vec<String>,
}

impl Proxy {
    /// Starts one on an address of this machine. The operator is ended at `cut`.
    pub(crate) async fn start(client: Client, cut: Option<Cut>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            client,
            cut,
            seen: Mutex::default(),
        });
        let router = Router::new()
            .fallback(pass_on)
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            shared,
            server,
        }
    }

    /// Writes what an operator finds the proxy with.
    pub(crate) fn kubeconfig(&self, directory: &Path) -> PathBuf {
        let file = directory.join("kubeconfig");
        let content = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
        });
        std::fs::write(&file, content.to_string()).unwrap();
        file
    }

    /// The process that is ended at the cut, from now on.
    pub(crate) fn serves(&self, process: u32) {
        let mut seen = self.shared.seen();
        seen.process = Some(process);
        seen.watches = 0;
    }

    /// Whether an operator was ended.
    pub(crate) fn is_cut(&self) -> bool {
        self.shared.seen().is_cut
    }

    /// Every request that was begun, in its order.
    pub(crate) fn points(&self) -> Vec<Point> {
        self.shared.seen().points.clone()
    }

    /// The names of the Jobs and pods that were created, in their order.
    pub(crate) fn started(&self) -> Vec<String> {
        self.shared.seen().started.clone()
    }

    /// Whether the operator that runs watches mirrors and Jobs, builds and pods, and has asked for nothing else for
    /// so long.
    pub(crate) fn is_quiet_for(&self, time: Duration) -> bool {
        let seen = self.shared.seen();
        seen.watches >= 4
            && seen.under_way == 0
            && seen.last.is_some_and(|last| last.elapsed() >= time)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Enters a request; says when the operator is to be ended at it.
    fn enter(&self, kind: &str) -> Option<Moment> {
        let mut seen = self.seen();
        seen.under_way += 1;
        let count = seen.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        let number = *count;
        if kind.contains(" leases") && number > LEASE_REQUESTS {
            return None;
        }
        if !kind.contains(" leases") {
            seen.last = Some(Instant::now());
        }
        let point = Point {
            kind: kind.to_owned(),
            number,
        };
        seen.points.push(point.clone());
        let cut = self.cut.as_ref().filter(|cut| cut.point == point);
        cut.filter(|_| !seen.is_cut).map(|cut| cut.moment)
    }

    /// Ends the operator without a chance to clean up.
    fn cut(&self) -> Response {
        let process = {
            let mut seen = self.seen();
            seen.is_cut = true;
            seen.process.take()
        };
        kill(process.expect("an operator that asks runs"));
        StatusCode::BAD_GATEWAY.into_response()
    }

    async fn handle(&self, request: Request) -> Response {
        let kind = kind(&request);
        let moment = self.enter(&kind);
        if moment == Some(Moment::Before) {
            return self.cut();
        }
        let answer = self.ask(request).await;
        let (parts, body) = answer.into_parts();
        // A watch has no end; that it has begun is its answer.
        if kind.starts_with("WATCH ") {
            if moment.is_some() {
                return self.cut();
            }
            self.seen().watches += 1;
            return Response::from_parts(parts, body);
        }
        let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap();
        if matches!(kind.as_str(), "POST jobs" | "POST pods") && parts.status == StatusCode::CREATED
        {
            let created: Value = serde_json::from_slice(&body).unwrap();
            let name = created["metadata"]["name"].as_str().unwrap();
            self.seen().started.push(name.to_owned());
        }
        if moment.is_some() {
            return self.cut();
        }
        Response::from_parts(parts, Body::from(body))
    }

    async fn ask(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(header::HOST);
        parts.headers.remove(header::CONNECTION);
        let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
        let request = axum::http::Request::from_parts(parts, kube::client::Body::from(body));
        match self.client.send(request).await {
            Ok(answer) => {
                let (mut parts, body) = answer.into_parts();
                parts.headers.remove(header::TRANSFER_ENCODING);
                parts.headers.remove(header::CONNECTION);
                Response::from_parts(parts, Body::new(body))
            }
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        }
    }
}

async fn pass_on(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    // A task of its own: this one ends when the operator does.
    let handling = tokio::spawn(async move {
        let answer = shared.handle(request).await;
        shared.seen().under_way -= 1;
        answer
    });
    handling.await.unwrap()
}

/// The method and the resource of a request, without the names of objects.
fn kind(request: &Request) -> String {
    let uri = request.uri();
    let path = uri.path();
    let resource = match path.split_once("/namespaces/") {
        Some((_, rest)) => {
            let mut parts = rest.split('/').skip(1);
            let resource = parts.next().unwrap_or("namespaces").to_owned();
            match (parts.next(), parts.next()) {
                (Some(_), Some(subresource)) => format!("{resource}/*/{subresource}"),
                (Some(_), None) => format!("{resource}/*"),
                _ => resource,
            }
        }
        None => path.trim_start_matches('/').to_owned(),
    };
    let watches = uri
        .query()
        .is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
    let method = if watches {
        "WATCH"
    } else {
        request.method().as_str()
    };
    format!("{method} {resource}")
}
