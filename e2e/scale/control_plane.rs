//! etcd and the API server, and nothing else of Kubernetes: no node and no controller, so that a Job stays
//! what it was created as. It must not know: what is measured.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::{Client, Config};
use secrecy::SecretString;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::certificates::{Authority, Issued};
use super::operator::processor_seconds;

const ETCD: &str = "http://127.0.0.1:2379";
const API_SERVER: &str = "https://127.0.0.1:6443";
/// How long the API server may take to start.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// Who the operator is: as in a cluster, so that its requests are queued with those of its kind.
const OPERATOR: &str =
    "system:serviceaccount:transship-system:transship,transship,\"system:serviceaccounts\"";
/// Nobody waits for these.
const ADMINISTRATOR: &str = "administrator,administrator,\"system:masters\"";
/// Writes down what the operator asks for, and nothing of anybody else.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [
    {"level": "Metadata", "users": ["system:serviceaccount:transship-system:transship"]},
    {"level": "None"}
  ]
}"#;

/// A running control plane; its processes end with it.
pub(crate) struct ControlPlane {
    directory: PathBuf,
    token: String,
    processes: [Child; 2],
}

impl ControlPlane {
    /// Starts it. `program` is the one that has etcd and the API server in it.
    pub(crate) async fn start(
        program: &Path,
        directory: &Path,
        authority: &Authority,
    ) -> anyhow::Result<Self> {
        let token = secret()?;
        write_files(directory, authority, &token)?;
        let path = |name: &str| directory.join(name).display().to_string();
        let etcd = [
            format!("--data-dir={}", path("etcd")),
            "--unsafe-no-fsync".to_owned(),
            format!("--listen-client-urls={ETCD}"),
            format!("--advertise-client-urls={ETCD}"),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--initial-advertise-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--initial-cluster=default=http://127.0.0.1:2380".to_owned(),
        ];
        let apiserver = [
            format!("--etcd-servers={ETCD}"),
            "--bind-address=127.0.0.1".to_owned(),
            // Nobody is told of it: there is no endpoint without a reconciler.
            "--advertise-address=10.255.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--tls-cert-file={}", path("apiserver.crt")),
            format!("--tls-private-key-file={}", path("apiserver.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", path("apiserver.crt")),
            format!(
                "--service-account-signing-key-file={}",
                path("apiserver.key")
            ),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=AlwaysAllow".to_owned(),
            format!("--token-auth-file={}", path("tokens")),
            format!("--audit-policy-file={}", path("audit-policy.json")),
            format!("--audit-log-path={}", path("audit.log")),
            // Megabytes, after which a new file would begin.
            "--audit-log-maxsize=100000".to_owned(),
        ];
        let mut plane = Self {
            directory: directory.to_owned(),
            token,
            processes: [
                run(program, "etcd", &etcd, directory)?,
                run(program, "kube-apiserver", &apiserver, directory)?,
            ],
        };
        plane.wait_until_ready().await?;
        Ok(plane)
    }

    /// A client with all rights.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let mut config = Config::new(API_SERVER.parse()?);
        config.root_cert_file = Some(self.directory.join("authority.crt"));
        config.auth_info.token = Some(SecretString::from(self.token.clone()));
        Ok(Client::try_from(config)?)
    }

    /// What the operator reaches the API server with.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// Every request of the operator, a line each.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.directory.join("audit.log")
    }

    /// What etcd and the API server have used of processors so far, in seconds.
    pub(crate) fn processor_seconds(&self) -> anyhow::Result<f64> {
        let processes = self.processes.iter().filter_map(Child::id);
        processes.map(processor_seconds).sum()
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client()?);
        let begin = Instant::now();
        while let Err(error) = namespaces.list(&ListParams::default().limit(1)).await {
            let ended = self.processes.iter_mut().map(Child::try_wait);
            let ended = ended.collect::<Result<Vec<_>, _>>()?;
            if begin.elapsed() > START_TIMEOUT || ended.iter().any(Option::is_some) {
                let log = self.directory.join("kube-apiserver.log");
                bail!("no answer of the API server: {error}: {}", tail(&log));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

/// Starts a program, which ends with the handle. What it prints goes to `NAME.log`.
fn run(
    program: &Path,
    name: &str,
    arguments: &[String],
    directory: &Path,
) -> anyhow::Result<Child> {
    let log = File::create(directory.join(format!("{name}.log")))?;
    Command::new(program)
        .arg(name)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {name}"))
}

fn write_files(directory: &Path, authority: &Authority, token: &str) -> anyhow::Result<()> {
    let Issued { certificate, key } = authority.issue("127.0.0.1")?;
    let operator_token = secret()?;
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "scale",
        "clusters": [{"name": "scale", "cluster": {
            "server": API_SERVER, "certificate-authority": directory.join("authority.crt")}}],
        "users": [{"name": "operator", "user": {"token": operator_token}}],
        "contexts": [{"name": "scale", "context": {"cluster": "scale", "user": "operator"}}],
    });
    let files = [
        ("authority.crt", authority.certificate()),
        ("apiserver.crt", certificate),
        ("apiserver.key", key),
        (
            "tokens",
            format!("{token},{ADMINISTRATOR}\n{operator_token},{OPERATOR}\n"),
        ),
        ("audit-policy.json", AUDIT_POLICY.to_owned()),
        ("kubeconfig", kubeconfig.to_string()),
    ];
    for (name, content) in files {
        fs::write(directory.join(name), content).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// Something that nobody can guess.
fn secret() -> anyhow::Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(uuid.trim().to_owned())
}

/// The end of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
