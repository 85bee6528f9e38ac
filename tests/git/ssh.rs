//! Repositories over OpenSSH's own server.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use transship::git::GitAccess;
use transship::reason::Reason;

use super::{access, assert_brought, resolve_branch};
use crate::support::git_server::GitRepository;

const SERVER: &str = "/usr/sbin/sshd";

/// A server for the user that runs the tests; dropping it ends it.
struct SshServer {
    directory: TempDir,
    port: u16,
    child: Child,
}

impl SshServer {
    async fn start() -> Self {
        assert!(
            std::path::Path::new(SERVER).exists(),
            "{SERVER} does not exist: run `make packages` first"
        );
        // Where Debian's server wants to be able to go when it runs as root.
        let _ = std::fs::create_dir_all("/run/sshd");
        let directory = tempfile::tempdir().unwrap();
        for key in ["host", "identity", "stranger"] {
            let path = directory.path().join(key);
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path));
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let path = |name: &str| directory.path().join(name).display().to_string();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n\
             PermitRootLogin prohibit-password\n",
            path("host"),
            path("identity.pub"),
        );
        std::fs::write(directory.path().join("config"), config).unwrap();
        let child = Command::new(SERVER)
            .args(["-D", "-e", "-f", &path("config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            directory,
            port,
            child,
        };
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
        server
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    fn known_hosts(&self, key: &str) -> String {
        format!(
            "[127.0.0.1]:{} {}",
            self.port,
            self.read(&format!("{key}.pub"))
        )
    }

    fn access(&self, identity: &str, host: &str) -> GitAccess {
        access(&[
            ("identity", &self.read(identity)),
            ("known_hosts", &self.known_hosts(host)),
        ])
    }

    fn address(&self, path: &str) -> String {
        let output = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8(output.stdout).unwrap();
        format!("ssh://{}@127.0.0.1:{}{path}", user.trim(), self.port)
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success());
}

#[tokio::test]
async fn a_known_host_gives_out_its_repository() {
    let server = SshServer::start().await;
    let repository = GitRepository::new();
    repository.write("file", "content");
    let commit = repository.commit();
    let url = server.address(repository.path().to_str().unwrap());
    let access = server.access("identity", "host");
    assert_brought(&url, &commit, &access, "content").await;

    let missing = server.address("/nowhere/app.git");
    let error = resolve_branch(&missing, "main", &access).await.unwrap_err();
    assert_eq!(error.reason, Reason::RepositoryNotFound, "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_host_or_key_is_said() {
    let server = SshServer::start().await;
    let repository = GitRepository::new();
    repository.commit();
    let url = server.address(repository.path().to_str().unwrap());

    let changed = server.access("identity", "stranger");
    let unknown = access(&[
        ("identity", &server.read("identity")),
        ("known_hosts", "git.example ssh-ed25519 AAAA"),
    ]);
    for access in [&changed, &unknown] {
        let error = resolve_branch(&url, "main", access).await.unwrap_err();
        assert_eq!(error.reason, Reason::HostKeyMismatch, "{error}");
        assert!(error.message.contains("known_hosts"), "{error}");
    }

    let refused = server.access("stranger", "host");
    let error = resolve_branch(&url, "main", &refused).await.unwrap_err();
    assert_eq!(error.reason, Reason::SourceAuthenticationFailed, "{error}");

    let no_key = access(&[
        ("identity", "no key"),
        ("known_hosts", &server.known_hosts("host")),
    ]);
    let error = resolve_branch(&url, "main", &no_key).await.unwrap_err();
    assert_eq!(error.reason, Reason::SecretInvalid, "{error}");

    let password = access(&[("username", "user"), ("password", "password")]);
    let error = resolve_branch(&url, "main", &password).await.unwrap_err();
    assert_eq!(error.reason, Reason::SecretInvalid, "{error}");
    assert!(
        error.message.contains("identity and known_hosts"),
        "{error}"
    );
}

#[tokio::test]
async fn a_host_that_is_not_there_cannot_be_reached() {
    let server = SshServer::start().await;
    let access = server.access("identity", "host");
    let url = server.address("/app.git");
    drop(server);
    let error = resolve_branch(&url, "main", &access).await.unwrap_err();
    assert_eq!(error.reason, Reason::SourceUnreachable, "{error}");
}
