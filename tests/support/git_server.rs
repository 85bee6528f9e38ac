//! Git repositories, and a server of them over HTTP: Git's own `git http-backend` behind a server of this
//! process, which can ask for credentials, speak TLS, answer something else, and remembers what it was asked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::serve::Listener;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::git_backend::BackendRequest;
use super::scripted_server::respond;
use super::tls::Issued;

const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// When all commits of the tests are made, in seconds since 1970.
pub(crate) const COMMIT_TIME: i64 = 1_700_000_000;

/// A repository with a work tree.
pub(crate) struct GitRepository {
    directory: TempDir,
}

impl GitRepository {
    /// One without a commit.
    pub(crate) fn new() -> Self {
        Self::with_format("sha1")
    }

    /// One whose objects are named by another hash.
    pub(crate) fn with_format(format: &str) -> Self {
        let repository = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let format = format!("--object-format={format}");
        repository.git(&["init", "--quiet", "--initial-branch=main", &format]);
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file of the work tree.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Makes a link in the work tree.
    pub(crate) fn link(&self, name: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.path().join(name)).unwrap();
    }

    /// Commits everything; gives the commit.
    pub(crate) fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Adds a commit of another repository at `path`, as `git submodule add` does.
    pub(crate) fn add_submodule(&self, path: &str, url: &str, commit: &str) {
        let name = format!("submodule.{path}");
        let git_modules = ["config", "--file", ".gitmodules"];
        for (field, value) in [("path", path), ("url", url)] {
            let field = format!("{name}.{field}");
            self.git(&[&git_modules[..], &[&field, value]].concat());
        }
        let entry = format!("160000,{commit},{path}");
        self.git(&["update-index", "--add", "--cacheinfo", &entry]);
        self.git(&["add", ".gitmodules"]);
        // Without it, the empty directory would be taken for a removal.
        std::fs::create_dir_all(self.path().join(path)).unwrap();
    }

    /// Commits what was added, and only that.
    pub(crate) fn commit_added(&self) -> String {
        self.git(&["commit", "--quiet", "--message=change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs `git` in the repository.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let time = format!("{COMMIT_TIME} +0000");
        let output = std::process::Command::new("git")
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs([("GIT_AUTHOR_NAME", "Test"), ("GIT_COMMITTER_NAME", "Test")])
            .envs([
                ("GIT_AUTHOR_EMAIL", "a@git.test"),
                ("GIT_COMMITTER_EMAIL", "a@git.test"),
            ])
            .envs([("GIT_AUTHOR_DATE", &time), ("GIT_COMMITTER_DATE", &time)])
            .output()
            .unwrap();
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {messages}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// What a server was asked.
#[derive(Clone, Debug)]
pub(crate) struct GitAsked {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

type Script = dyn Fn(&str) -> Option<Response<Body>> + Send + Sync;

/// How a server is to be.
#[derive(Default)]
pub(crate) struct GitServerBuilder {
    authorization: Option<String>,
    tls: Option<TlsAcceptor>,
    script: Option<Box<Script>>,
    old_protocol: bool,
}

impl GitServerBuilder {
    /// Ask for this user and password.
    pub(crate) fn basic(mut self, username: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{username}:{password}"));
        self.authorization = Some(format!("Basic {encoded}"));
        self
    }

    /// Ask for this token.
    pub(crate) fn bearer(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}"));
        self
    }

    pub(crate) fn tls(mut self, issued: &Issued) -> Self {
        self.tls = Some(issued.acceptor(&["http/1.1"]));
        self
    }

    /// Answer what `script` says of a path with its query, where it says anything.
    pub(crate) fn script(
        mut self,
        script: impl Fn(&str) -> Option<Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        self.script = Some(Box::new(script));
        self
    }

    /// Know nothing of protocol version 2, in which every commit is given out.
    pub(crate) fn old_protocol(mut self) -> Self {
        self.old_protocol = true;
        self
    }

    pub(crate) async fn start(self) -> GitServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            root: tempfile::tempdir().unwrap(),
            authorization: self.authorization,
            script: self.script,
            old_protocol: self.old_protocol,
            asked: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let task = match self.tls {
            Some(acceptor) => {
                let listener = TlsListener { listener, acceptor };
                tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
            }
            None => tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
        };
        GitServer {
            shared,
            origin: format!("{scheme}://{host}"),
            task,
        }
    }
}

struct Shared {
    root: TempDir,
    authorization: Option<String>,
    script: Option<Box<Script>>,
    old_protocol: bool,
    asked: Mutex<Vec<GitAsked>>,
}

/// A running server; dropping it ends it.
pub(crate) struct GitServer {
    shared: Arc<Shared>,
    origin: String,
    task: JoinHandle<()>,
}

impl GitServer {
    /// An open one without TLS.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> GitServerBuilder {
        GitServerBuilder::default()
    }

    /// Serves a repository as it is now; gives its address.
    pub(crate) fn serve(&self, name: &str, repository: &GitRepository) -> String {
        let to = self.path(name);
        let to = to.to_str().unwrap();
        repository.git(&["clone", "--quiet", "--bare", ".", to]);
        self.address(name)
    }

    /// The address of a repository, whether it is there or not.
    pub(crate) fn address(&self, name: &str) -> String {
        format!("{}/{name}", self.origin)
    }

    /// Where a repository is on the disk.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.shared.root.path().join(name)
    }

    pub(crate) fn asked(&self) -> Vec<GitAsked> {
        self.shared.asked.lock().unwrap().clone()
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
    let target = head.uri.to_string();
    shared.asked.lock().unwrap().push(GitAsked {
        path: target.clone(),
        authorization: header("authorization"),
    });
    if let Some(answer) = shared.script.as_ref().and_then(|script| script(&target)) {
        return answer;
    }
    if shared.authorization.is_some() && header("authorization") != shared.authorization {
        return respond(401, &[("www-authenticate", "Basic realm=\"git\"")], "");
    }
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES).await.unwrap();
    let query = head.uri.query().unwrap_or_default();
    let protocol = header("git-protocol").filter(|_| !shared.old_protocol);
    let asked = BackendRequest {
        root: shared.root.path(),
        method: head.method.as_str(),
        path: head.uri.path(),
        query,
        content_type: header("content-type"),
        content_encoding: header("content-encoding"),
        git_protocol: protocol,
        body: &body,
    };
    let answer = asked.answer().await;
    let headers = answer.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
    respond(answer.code, &headers.collect::<Vec<_>>(), answer.body)
}

/// Connections with TLS; those that cannot agree on it are dropped.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
