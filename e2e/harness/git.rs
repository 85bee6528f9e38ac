//! A Git server in the cluster's network.

#[path = "../../tests/support/git_backend.rs"]
mod git_backend;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::git_backend::BackendRequest;
use super::registry::Registry;
use super::tool::run;

const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// A repository with a work tree, and a server of it without TLS. Dropping it ends the server.
pub(crate) struct GitServer {
    root: Arc<TempDir>,
    /// The address of the repository, as pods reach it.
    pub(crate) url: String,
    task: JoinHandle<()>,
}

impl GitServer {
    /// Starts it at the address of the plain registry, on a free port.
    pub(crate) async fn start(plain: &Registry) -> Self {
        let (name, _) = plain.host.split_once(':').unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let root = Arc::new(tempfile::tempdir().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&root));
        let server = Self {
            root,
            url: format!("http://{name}:{port}/app"),
            task: tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
        };
        std::fs::create_dir(server.root.path().join("app")).unwrap();
        server.git(&["init", "--quiet", "--initial-branch=main"]);
        server.git(&["config", "user.name", "Test"]);
        server.git(&["config", "user.email", "a@git.test"]);
        server
    }

    /// Writes files, commits everything, and returns the commit.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, content) in files {
            let path = self.root.path().join("app").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=change"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn git(&self, arguments: &[&str]) -> String {
        let directory = self.root.path().join("app");
        run(&[&["git", "-C", directory.to_str().unwrap()], arguments].concat())
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(root): State<Arc<TempDir>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let header = |name: &str| Some(head.headers.get(name)?.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES).await.unwrap();
    let asked = BackendRequest {
        root: root.path(),
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        content_type: header("content-type"),
        content_encoding: header("content-encoding"),
        git_protocol: header("git-protocol"),
        body: &body,
    };
    let answer = asked.answer().await;
    let mut response = Response::builder().status(answer.code);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body)).unwrap()
}
