//! The operator as a process of the test, which is started again whenever the test has ended it.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use tokio::process::{Child, Command};

use crate::harness::Proxy;

/// How an operator is started.
pub(super) struct Launch {
    /// The image of the worker pods.
    pub(super) worker_image: String,
    /// The image of BuildKit.
    pub(super) builder_image: String,
    /// The one namespace that it watches; its Lease is there, too.
    pub(super) namespace: String,
    /// Where its log goes.
    pub(super) directory: PathBuf,
    /// The way to the API server.
    pub(super) proxy: Arc<Proxy>,
}

impl Launch {
    /// Keeps an operator running. Ends when one ends for another reason than that it was to; says how.
    pub(super) async fn keep_running(&self) -> String {
        let kubeconfig = self.proxy.kubeconfig(&self.directory);
        let mut was_cut = false;
        loop {
            let mut operator = self.spawn(&kubeconfig);
            self.proxy.serves(operator.id().unwrap());
            let status = operator.wait().await.unwrap();
            if status.signal() != Some(9) || was_cut || !self.proxy.is_cut() {
                return format!("the operator ended by itself: {status}");
            }
            was_cut = true;
        }
    }

    /// It ends with the handle.
    fn spawn(&self, kubeconfig: &Path) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("operator.log"))
            .unwrap();
        Command::new(assert_cmd::cargo::cargo_bin("transship"))
            .arg("controller")
            .args(["--worker-image", &self.worker_image])
            .args([
                "--builder-image",
                &format!("BuildKit={}", self.builder_image),
            ])
            .args(["--watch-namespace", &self.namespace])
            .args(["--lease-namespace", &self.namespace])
            // The same after a restart, as that of the only container of a pod: the Lease is its own still.
            .args(["--identity", "operator"])
            .args(["--metrics-address", "127.0.0.1:0"])
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }
}
