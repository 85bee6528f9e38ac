//! `transship controller`: the operator.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::StrDeserializer;
use tokio_util::sync::CancellationToken;

use super::LogArguments;
use crate::api::BuilderType;
use crate::builder::SeccompFilter;
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

    /// Image of a builder, for builds that name none; repeated for each: BuildKit, Buildah, Kaniko, Img
    #[arg(long = "builder-image", value_name = "BUILDER=IMAGE", value_parser = builder_image)]
    builder_images: Vec<(BuilderType, String)>,

    /// Image with Syft, which finds out what is in an image, for builds with attest.sbom
    #[arg(long, value_name = "IMAGE")]
    scanner_image: Option<String>,

    /// Filter of system calls for builders that mount: Unset (the kubelet's default), Unconfined, or Localhost/PATH of
    /// a profile that every node has below its seccomp directory
    #[arg(long, value_name = "PROFILE", default_value = "Unset", value_parser = seccomp_filter)]
    builder_seccomp: SeccompFilter,

    #[command(flatten)]
    log: LogArguments,
}

fn builder_image(text: &str) -> Result<(BuilderType, String), String> {
    let (builder, image) = text
        .split_once('=')
        .ok_or("expected BUILDER=IMAGE, for example BuildKit=registry.example/buildkit:1")?;
    let deserializer: StrDeserializer<'_, serde::de::value::Error> = builder.into_deserializer();
    let builder = BuilderType::deserialize(deserializer)
        .map_err(|_| format!("{builder} is none of BuildKit, Buildah, Kaniko and Img"))?;
    Ok((builder, image.to_owned()))
}

fn seccomp_filter(text: &str) -> Result<SeccompFilter, String> {
    match text {
        "Unset" => Ok(SeccompFilter::Unset),
        "Unconfined" => Ok(SeccompFilter::Unconfined),
        _ => text
            .strip_prefix("Localhost/")
            .filter(|path| !path.is_empty())
            .map(|path| SeccompFilter::Localhost(path.to_owned()))
            .ok_or_else(|| "expected Unset, Unconfined or Localhost/PATH".to_owned()),
    }
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
            builder_images,
            scanner_image,
            builder_seccomp,
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
            builder_images: builder_images.into_iter().collect(),
            scanner_image,
            builder_seccomp,
        };
        controller::run(options, cancel).await?;
        Ok(ExitCode::SUCCESS)
    }
}
