//! The cluster, and namespaces of tests on it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Client;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::registry::Registry;
use super::tool::{run, run_with_input, try_run};
use super::wait::eventually;

/// Tests that disturb everybody (restart a registry, kill the leader) hold it alone.
static DISTURBANCE: RwLock<()> = RwLock::const_new(());

/// Where the chart is installed.
pub(crate) const OPERATOR_NAMESPACE: &str = "transship-system";

/// Namespaces made by this process so far.
static NAMESPACES: AtomicU32 = AtomicU32::new(0);

/// What tests know of the cluster.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) plain: Registry,
    pub(crate) secure: Registry,
    /// The script that starts and stops parts of the cluster.
    pub(crate) script: String,
    _scratch: TempDir,
    _quiet: Option<RwLockReadGuard<'static, ()>>,
    _alone: Option<RwLockWriteGuard<'static, ()>>,
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run these tests with `make e2e`"))
}

impl Cluster {
    /// For a test that others may run beside.
    pub(crate) async fn shared() -> Self {
        let quiet = DISTURBANCE.read().await;
        Self::connect(Some(quiet), None).await
    }

    /// For a test that disturbs others.
    pub(crate) async fn alone() -> Self {
        let alone = DISTURBANCE.write().await;
        Self::connect(None, Some(alone)).await
    }

    async fn connect(
        quiet: Option<RwLockReadGuard<'static, ()>>,
        alone: Option<RwLockWriteGuard<'static, ()>>,
    ) -> Self {
        // A second installation fails, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let state = PathBuf::from(variable("TRANSSHIP_E2E_STATE"));
        let scratch = tempfile::tempdir().unwrap();
        let plain = Registry::plain(&variable("TRANSSHIP_E2E_PLAIN_REGISTRY"), &state);
        let password =
            std::fs::read_to_string(variable("TRANSSHIP_E2E_SECURE_PASSWORD_FILE")).unwrap();
        let secure = Registry::secure(
            &variable("TRANSSHIP_E2E_SECURE_REGISTRY"),
            &state,
            &variable("TRANSSHIP_E2E_SECURE_CA"),
            (&variable("TRANSSHIP_E2E_SECURE_USERNAME"), password.trim()),
            scratch.path(),
        );
        Self {
            client: Client::try_default()
                .await
                .expect("the cluster of `make e2e`"),
            plain,
            secure,
            script: variable("TRANSSHIP_E2E_CLUSTER"),
            _scratch: scratch,
            _quiet: quiet,
            _alone: alone,
        }
    }

    /// The record of the Lease that the replicas of the operator compete for.
    pub(crate) fn lease() -> LeaseSpec {
        let lease = [
            "get",
            "lease",
            "transship",
            "--namespace",
            OPERATOR_NAMESPACE,
            "--output",
            "json",
        ];
        let lease: Lease =
            serde_json::from_str(&run(&[&["kubectl"], &lease[..]].concat())).unwrap();
        lease.spec.unwrap()
    }

    /// Waits until so many replicas of the operator are ready; those that are too many end.
    pub(crate) fn scale(replicas: u8) {
        let deployment = ["deployment/transship", "--namespace", OPERATOR_NAMESPACE];
        let replicas = format!("--replicas={replicas}");
        run(&[&["kubectl", "scale", &replicas], &deployment[..]].concat());
        run(&[
            &["kubectl", "rollout", "status", "--timeout=90s"],
            &deployment[..],
        ]
        .concat());
        if replicas == "--replicas=0" {
            let pods = [
                "app.kubernetes.io/name=transship",
                "--namespace",
                OPERATOR_NAMESPACE,
            ];
            let gone = [
                "kubectl",
                "wait",
                "--for=delete",
                "pods",
                "--timeout=90s",
                "--selector",
            ];
            run(&[&gone[..], &pods[..]].concat());
        }
    }

    /// The pod that leads, as soon as there is one.
    pub(crate) async fn leader() -> String {
        eventually("a leader", || async {
            Self::lease()
                .holder_identity
                .filter(|holder| !holder.is_empty())
                .ok_or_else(|| "nobody holds the Lease".to_owned())
        })
        .await
    }

    /// What a pod of the operator answers on its port for probes and metrics, once the API server knows where
    /// that is.
    pub(crate) fn answer_of(pod: &str, path: &str) -> Result<String, String> {
        let port = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{pod}:8080/proxy{path}");
        try_run(&["kubectl", "get", "--raw", &port])
    }

    /// A namespace of its own for a test, that enforces Pod Security `restricted`, with the Secrets
    /// `registry-push` and `registry-ca` for the secure registry.
    pub(crate) fn namespace(&self, purpose: &str) -> Namespace {
        self.namespace_with(purpose, "restricted")
    }

    /// The same with another level of Pod Security.
    pub(crate) fn namespace_with(&self, purpose: &str, level: &str) -> Namespace {
        let number = NAMESPACES.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{purpose}-{}-{number}", std::process::id());
        let namespace = Namespace { name };
        namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace.name, "labels": {"pod-security.kubernetes.io/enforce": level}},
        }));
        namespace.apply(&namespace.docker_config("registry-push", &self.secure.docker_config()));
        namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "registry-ca", "namespace": namespace.name},
            "stringData": {"ca.crt": self.secure.authority()},
        }));
        namespace
    }
}

/// A namespace that goes with the test, unless `TRANSSHIP_E2E_KEEP` is set.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// Applies an object as a user would.
    pub(crate) fn apply(&self, object: &serde_json::Value) {
        let applied = run_with_input(
            &["kubectl", "apply", "--filename", "-"],
            &object.to_string(),
        );
        applied.unwrap_or_else(|message| panic!("kubectl apply in {}: {message}", self.name));
    }

    /// A Secret with registry credentials.
    pub(crate) fn docker_config(&self, name: &str, content: &str) -> serde_json::Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name, "namespace": self.name},
            "stringData": {".dockerconfigjson": content},
        })
    }

    /// Runs kubectl in the namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = vec!["kubectl", "--namespace", &self.name];
        command.extend(arguments);
        run(&command)
    }

    /// The names of all Jobs.
    pub(crate) fn jobs(&self) -> Vec<String> {
        let names = self.kubectl(&[
            "get",
            "jobs",
            "--output",
            "jsonpath={.items[*].metadata.name}",
        ]);
        names.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "{}",
                self.kubectl(&["get", "imir,jobs,pods,events", "--output", "wide"])
            );
        }
        if std::env::var_os("TRANSSHIP_E2E_KEEP").is_none() {
            run(&["kubectl", "delete", "namespace", &self.name, "--wait=false"]);
        }
    }
}
