//! `transship controller`: the operator.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::LogArguments;
use crate::controller::{self, Options};

/// Run the operator
///
/// Watches the custom resources, compares source and destination registries, and starts a Job for
/// what differs. Replicas elect a leader by a Lease; the others stand by. Reaches the API server by
/// the pod's service account or by KUBECONFIG.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Image of the worker pods: the one that this binary is in
    #[arg(long, value_name = "IMAGE")]
    worker_image: String,

    /// When nodes pull the image of the worker pods
    #[arg(
        long,
        value_name = "POLICY",
        value_enum,
        default_value = "IfNotPresent"
    )]
    worker_image_pull_policy: PullPolicy,

    /// Namespace to watch; may be repeated. All namespaces when absent
    #[arg(long = "watch-namespace", value_name = "NAMESPACE")]
    watch_namespaces: Vec<String>,

    /// Name of the Lease that the replicas compete for
    #[arg(long, value_name = "NAME", default_value = "transship")]
    lease_name: String,

    /// Namespace of the Lease
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    lease_namespace: String,

    /// Name of this replica, different from every other's
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: String,

    /// Address for /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,

    /// Objects that are reconciled at once, not counting those that wait for a registry
    #[arg(long, value_name = "NUMBER", default_value_t = 32)]
    concurrency: u16,

    #[command(flatten)]
    log: LogArguments,
}

/// Kubernetes' own names, spelled as in a pod.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PullPolicy {
    #[value(name = "Always")]
    Always,
    #[value(name = "IfNotPresent")]
    IfNotPresent,
    #[value(name = "Never")]
    Never,
}

impl PullPolicy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl Arguments {
    pub(super) async fn run(self, cancel: CancellationToken) -> anyhow::Result<ExitCode> {
        let Self {
            worker_image,
            worker_image_pull_policy,
            watch_namespaces,
            lease_name,
            lease_namespace,
            identity,
            metrics_address,
            concurrency,
            log,
        } = self;
        log.start()?;
        let options = Options {
            metrics_address,
            worker_image,
            worker_image_pull_policy: worker_image_pull_policy.as_str().to_owned(),
            lease_name,
            lease_namespace,
            identity,
            watch_namespaces,
            concurrency,
        };
        controller::run(options, cancel).await?;
        Ok(ExitCode::SUCCESS)
    }
}
