//! A web server in the cluster's network that serves one file.

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use transship::oci::Digest;

use super::registry::Registry;
use super::tool::run;

/// A server of one file without TLS; dropping it ends the server.
pub(crate) struct FileServer {
    /// The address of the file, as pods reach it.
    pub(crate) url: String,
    /// The checksum of the file.
    pub(crate) checksum: Digest,
    task: JoinHandle<()>,
}

impl FileServer {
    /// Starts it at the address of the plain registry, on a free port.
    pub(crate) async fn start(plain: &Registry, content: Vec<u8>) -> Self {
        let (name, _) = plain.host.split_once(':').unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let checksum = Digest::sha256(&content);
        let router = Router::new().route("/context.tar.gz", get(async move || content.clone()));
        Self {
            url: format!("http://{name}:{port}/context.tar.gz"),
            checksum,
            task: tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
        }
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A compressed tar file with these files, as people make it.
pub(crate) fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let context = directory.path().join("context");
    for (name, content) in files {
        let path = context.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let tar = directory.path().join("context.tar.gz");
    let (to, from) = (tar.to_str().unwrap(), context.to_str().unwrap());
    run(&[
        "tar",
        "--create",
        "--gzip",
        "--file",
        to,
        "--directory",
        from,
        ".",
    ]);
    std::fs::read(tar).unwrap()
}
