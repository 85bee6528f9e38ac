//! A server in this process that answers as a test says and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// More than any body that is not streamed in these tests.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// What the server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    /// [`None`] when the body broke off.
    pub(crate) body: Option<Bytes>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    /// The values of a query parameter, decoded.
    pub(crate) fn query(&self, name: &str) -> Vec<String> {
        url::Url::parse("http://server.test")
            .unwrap()
            .join(&self.target)
            .unwrap()
            .query_pairs()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }
}

type Script = dyn Fn(&Asked) -> Response<Body> + Send + Sync;

struct Shared {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
}

/// A running server; dropping it ends it.
pub(crate) struct ScriptedServer {
    shared: Arc<Shared>,
    host: String,
    task: JoinHandle<()>,
}

impl ScriptedServer {
    /// Starts a server that answers every request by `script`.
    pub(crate) async fn start(
        script: impl Fn(&Asked) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        Self::start_knowing_itself(move |asked, _| script(asked)).await
    }

    /// Like [`Self::start`] for answers that contain the server's own `ADDRESS:PORT`.
    pub(crate) async fn start_knowing_itself(
        script: impl Fn(&Asked, &str) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let own = host.clone();
        let shared = Arc::new(Shared {
            script: Box::new(move |asked| script(asked, &own)),
            asked: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, host, task }
    }

    /// A server that answers everything with 200 and exists to see what reaches it.
    pub(crate) async fn sink() -> Self {
        Self::start(|_| status(200)).await
    }

    /// `ADDRESS:PORT`
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The requests so far, without the probes for TLS.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let asked = self.shared.asked.lock().unwrap();
        asked
            .iter()
            .filter(|asked| asked.target != "/v2/")
            .cloned()
            .collect()
    }

    /// The requests so far to paths with this beginning.
    pub(crate) fn asked_for(&self, prefix: &str) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.target.starts_with(prefix));
        asked
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let asked = Asked {
        method: head.method,
        target: head.uri.to_string(),
        headers: head.headers,
        body: axum::body::to_bytes(body, MAX_BODY_BYTES).await.ok(),
    };
    let response = (shared.script)(&asked);
    shared.asked.lock().unwrap().push(asked);
    response
}

/// An answer without a body.
pub(crate) fn status(code: u16) -> Response<Body> {
    respond(code, &[], "")
}

/// An answer with headers and a body.
pub(crate) fn respond(
    code: u16,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    for (name, value) in headers {
        let name: axum::http::HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

/// A body that breaks off after `content`, which has left before that.
pub(crate) fn broken_off(content: &'static [u8]) -> Body {
    let end = stream::once(async {
        // The server writes out what it has whenever it has to wait.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        Err(std::io::Error::other("script"))
    });
    Body::from_stream(stream::iter([Ok(Bytes::from_static(content))]).chain(end))
}

/// A body whose length is not announced.
pub(crate) fn chunked(content: &'static [u8]) -> Body {
    Body::from_stream(stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(
        content,
    ))]))
}
