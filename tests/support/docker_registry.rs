//! A real registry: Debian's `docker-registry` or a newer version of it, on a port of its own choice,
//! with storage of its own.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use tempfile::TempDir;
use transship::oci::Digest;

use super::tls::Issued;

/// A running registry; dropping it ends the process and removes its content.
pub(crate) struct DockerRegistry {
    child: Child,
    directory: TempDir,
    host: String,
}

/// What the registry asks of its clients.
#[derive(Default)]
pub(crate) struct Settings<'a> {
    /// Another program than the one in the path.
    pub(crate) program: Option<PathBuf>,
    /// Serve TLS with this certificate.
    pub(crate) tls: Option<&'a Issued>,
    /// Want client certificates from this authority (PEM).
    pub(crate) client_authority: Option<&'a str>,
    /// Take no pushes.
    pub(crate) read_only: bool,
    /// Want this user and password.
    pub(crate) login: Option<(&'a str, &'a str)>,
}

impl DockerRegistry {
    /// A registry without TLS and without users.
    pub(crate) fn plain() -> Self {
        Self::start(&Settings::default())
    }

    /// Starts a registry and returns when it listens.
    pub(crate) fn start(settings: &Settings<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("config.yml");
        std::fs::write(&configuration, configure(&directory, settings)).unwrap();
        let program = settings.program.clone();
        let mut child = Command::new(program.unwrap_or_else(|| "docker-registry".into()))
            .arg("serve")
            .arg(&configuration)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the Debian package docker-registry is needed for these tests");
        let host = wait_until_listening(child.stderr.take().unwrap());
        Self {
            child,
            directory,
            host,
        }
    }

    /// `ADDRESS:PORT`
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Changes one byte of a blob on disk.
    pub(crate) fn corrupt(&self, digest: &Digest) {
        let mut content = std::fs::read(self.blob_file(digest)).unwrap();
        *content.first_mut().unwrap() ^= 1;
        self.overwrite(digest, &content);
    }

    /// Puts other content in the place of a blob or manifest on disk.
    pub(crate) fn overwrite(&self, digest: &Digest, content: &[u8]) {
        std::fs::write(self.blob_file(digest), content).unwrap();
    }

    /// Removes a blob from disk, as a disk or a hasty garbage collection does.
    pub(crate) fn lose(&self, digest: &Digest) {
        std::fs::remove_file(self.blob_file(digest)).unwrap();
    }

    fn blob_file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.as_str().strip_prefix("sha256:").unwrap();
        self.directory
            .path()
            .join("storage/docker/registry/v2/blobs/sha256")
            .join(hex.get(..2).unwrap())
            .join(hex)
            .join("data")
    }

    /// How many upload sessions a repository has open.
    pub(crate) fn open_uploads(&self, repository: &str) -> usize {
        let uploads: PathBuf = self
            .directory
            .path()
            .join("storage/docker/registry/v2/repositories")
            .join(repository)
            .join("_uploads");
        std::fs::read_dir(uploads).map_or(0, Iterator::count)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configure(directory: &TempDir, settings: &Settings<'_>) -> String {
    let path = |name: &str| directory.path().join(name).display().to_string();
    let mut text = format!(
        "version: 0.1\n\
         log: {{level: info}}\n\
         storage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
         http:\n  addr: 127.0.0.1:0\n",
        path("storage")
    );
    if settings.read_only {
        text = text.replace(
            "  delete: {enabled: true}\n",
            "  maintenance: {readonly: {enabled: true}}\n",
        );
    }
    if let Some(issued) = settings.tls {
        std::fs::write(path("tls.crt"), &issued.certificate).unwrap();
        std::fs::write(path("tls.key"), &issued.key).unwrap();
        let (certificate, key) = (path("tls.crt"), path("tls.key"));
        write!(
            text,
            "  tls:\n    certificate: {certificate}\n    key: {key}\n"
        )
        .unwrap();
        if let Some(authority) = settings.client_authority {
            std::fs::write(path("clients.crt"), authority).unwrap();
            writeln!(text, "    clientcas: [{}]", path("clients.crt")).unwrap();
        }
    }
    if let Some((username, password)) = settings.login {
        let output = Command::new("htpasswd")
            .args(["-nbBC", "4", username, password])
            .output()
            .expect("the Debian package apache2-utils is needed for these tests");
        assert!(output.status.success(), "htpasswd failed");
        std::fs::write(path("htpasswd"), output.stdout).unwrap();
        writeln!(
            text,
            "auth:\n  htpasswd: {{realm: test, path: {}}}",
            path("htpasswd")
        )
        .unwrap();
    }
    text
}

/// The address that a registry prints once it listens. What it prints later is thrown away.
pub(super) fn wait_until_listening(log: ChildStderr) -> String {
    let mut log = BufReader::new(log);
    let mut printed = String::new();
    for line in log.by_ref().lines() {
        let line = line.unwrap();
        if let Some((_, rest)) = line.split_once("listening on ") {
            let address = rest.split([',', '"', ' ']).next().unwrap_or_default();
            // The pipe must not fill up.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return address.to_owned();
        }
        printed.push_str(&line);
        printed.push('\n');
    }
    panic!("the registry did not start:\n{printed}");
}
