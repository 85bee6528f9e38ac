//! A Git server in the cluster's network.

#[path = "../../tests/support/git_backend.rs"]
mod git_backend;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::git_backend::BackendRequest;
use super::registry::Registry;
use super::tool::run;

const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// The repository, and the one that it has as a submodule.
const REPOSITORY: &str = "app";
const SUBMODULE: &str = "library";

/// A repository with a work tree, and a server of it without TLS. Dropping it ends the server.
pub(crate) struct GitServer {
    shared: Arc<Shared>,
    /// The address of the repository, as pods reach it.
    pub(crate) url: String,
    task: JoinHandle<()>,
}

struct Shared {
    root: TempDir,
    /// The header that everybody has to send.
    authorization: Option<String>,
}

impl GitServer {
    /// Starts it at the address of the plain registry, on a free port.
    pub(crate) async fn start(plain: &Registry) -> Self {
        Self::with_authorization(plain, None).await
    }

    /// The same for those who know user and password.
    pub(crate) async fn start_for(plain: &Registry, username: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{username}:{password}"));
        Self::with_authorization(plain, Some(format!("Basic {encoded}"))).await
    }

    async fn with_authorization(plain: &Registry, authorization: Option<String>) -> Self {
        let (name, _) = plain.host.split_once(':').unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let root = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared {
            root,
            authorization,
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let server = Self {
            shared,
            url: format!("http://{name}:{port}/{REPOSITORY}"),
            task: tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
        };
        server.make(REPOSITORY);
        server
    }

    /// Where the repository is on the disk.
    pub(crate) fn directory(&self) -> PathBuf {
        self.shared.root.path().join(REPOSITORY)
    }

    /// Writes files, commits everything, and returns the commit.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> String {
        self.commit_to(REPOSITORY, files)
    }

    /// Makes a link, which the next commit has.
    pub(crate) fn link(&self, name: &str, target: &str) {
        let path = self.directory().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// Gives the newest commit another name.
    pub(crate) fn tag(&self, name: &str) {
        self.git(REPOSITORY, &["tag", name]);
    }

    /// Commits another repository of this server as a submodule.
    pub(crate) fn commit_submodule(&self, path: &str, files: &[(&str, &str)]) {
        self.make(SUBMODULE);
        self.commit_to(SUBMODULE, files);
        let from = self.shared.root.path().join(SUBMODULE);
        let clone = ["clone", "--quiet", from.to_str().unwrap(), path];
        self.git(REPOSITORY, &clone);
        let url = format!("../{SUBMODULE}");
        let add = ["submodule", "--quiet", "add", &url, path];
        self.git(REPOSITORY, &add);
        self.commit_to(REPOSITORY, &[]);
    }

    fn make(&self, repository: &str) {
        std::fs::create_dir(self.shared.root.path().join(repository)).unwrap();
        self.git(repository, &["init", "--quiet", "--initial-branch=main"]);
        self.git(repository, &["config", "user.name", "Test"]);
        self.git(repository, &["config", "user.email", "a@git.test"]);
    }

    fn commit_to(&self, repository: &str, files: &[(&str, &str)]) -> String {
        for (name, content) in files {
            let path = self.shared.root.path().join(repository).join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.git(repository, &["add", "--all"]);
        self.git(repository, &["commit", "--quiet", "--message=change"]);
        let commit = self.git(repository, &["rev-parse", "HEAD"]);
        commit.trim().to_owned()
    }

    fn git(&self, repository: &str, arguments: &[&str]) -> String {
        let directory = self.shared.root.path().join(repository);
        run(&[&["git", "-C", directory.to_str().unwrap()], arguments].concat())
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let header = |name: &str| Some(head.headers.get(name)?.to_str().unwrap().to_owned());
    if shared.authorization.is_some() && header("authorization") != shared.authorization {
        let asks = Response::builder().status(401);
        let asks = asks.header("www-authenticate", "Basic realm=\"git\"");
        return asks.body(Body::empty()).unwrap();
    }
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES).await.unwrap();
    let root: &Path = shared.root.path();
    let asked = BackendRequest {
        root,
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
