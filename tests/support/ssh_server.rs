//! OpenSSH's own server, for the user that runs the tests. It must not know: what is read through it.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

const SERVER: &str = "/usr/sbin/sshd";

/// A server that lets in who has the key `identity`; dropping it ends it. `stranger` is a key that it does not know.
pub(crate) struct SshServer {
    directory: TempDir,
    host: String,
    port: u16,
    child: Child,
}

impl SshServer {
    /// Starts it on a free port of the address `listen`, which others know as `host`.
    pub(crate) async fn start(listen: &str, host: &str) -> Self {
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
        let listener = std::net::TcpListener::bind((listen, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let path = |name: &str| directory.path().join(name).display().to_string();
        let config = format!(
            "ListenAddress {listen}:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
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
            host: host.to_owned(),
            port,
            child,
        };
        while tokio::net::TcpStream::connect((listen, port))
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
        server
    }

    /// The private key of this name.
    pub(crate) fn key(&self, name: &str) -> String {
        self.read(name)
    }

    /// The line that says that the server has the key of this name.
    pub(crate) fn known_hosts(&self, key: &str) -> String {
        let key = self.read(&format!("{key}.pub"));
        format!("[{}]:{} {key}", self.host, self.port)
    }

    /// The address of what is at this path of the disk.
    pub(crate) fn address(&self, path: &str) -> String {
        let output = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8(output.stdout).unwrap();
        format!("ssh://{}@{}:{}{path}", user.trim(), self.host, self.port)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
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
