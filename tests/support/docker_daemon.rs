//! A real Docker daemon: Debian's `docker.io`, with a socket and storage of its own and no network.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running daemon; dropping it ends it and removes what it stored.
pub(crate) struct DockerDaemon {
    child: Child,
    directory: TempDir,
}

impl DockerDaemon {
    /// Starts a daemon and returns when it answers.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let log = File::create(path("log")).unwrap();
        let child = Command::new("dockerd")
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--pidfile", &path("pid")])
            .args(["--host", &format!("unix://{}", path("docker.sock"))])
            .args(["--bridge=none", "--iptables=false", "--storage-driver=vfs"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the Debian package docker.io is needed for these tests");
        let mut daemon = Self { child, directory };
        daemon.wait_until_it_answers().await;
        daemon
    }

    async fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.docker(&["version"]).status.success() {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap();
                panic!("dockerd does not answer:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// As in `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Runs `docker` with this daemon.
    pub(crate) fn docker(&self, arguments: &[&str]) -> std::process::Output {
        Command::new("docker")
            .args(["--host", &self.host()])
            .args(arguments)
            .output()
            .expect("the Debian package docker.io is needed for these tests")
    }

    /// What `docker` prints, which must succeed.
    pub(crate) fn answer(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for DockerDaemon {
    fn drop(&mut self) {
        // With a signal that it handles, it ends its containerd and undoes its mounts.
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
