//! `kubectl transship suspend` and `resume`: `spec.suspend` by hand.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::cluster::{Cluster, read};
use super::overview::current_run;
use super::{arguments, ownership};
use crate::cli::output;

/// Stop scanning a mirror and starting runs for it
///
/// Sets spec.suspend. A run that is going on is finished by its pods, and what is in place stays. Argo CD
/// and Flux may put the field back: a line on standard error says so when one of them manages the mirror.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl transship suspend alpine
  kubectl transship suspend alpine --namespace platform

Exit codes: 0 suspended, also before; 1 not suspended; 2 wrong usage; 11 interrupted.")]
pub(super) struct SuspendArguments {
    /// The mirror
    #[arg(value_name = "NAME", value_parser = arguments::name)]
    name: String,
}

/// Go on with a mirror that was suspended
///
/// Takes spec.suspend back; the mirror is scanned at once. Argo CD and Flux may put the field back: a line
/// on standard error says so when one of them manages the mirror.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl transship resume alpine
  kubectl transship resume alpine --namespace platform

Exit codes: 0 resumed, also before; 1 not resumed; 2 wrong usage; 11 interrupted.")]
pub(super) struct ResumeArguments {
    /// The mirror
    #[arg(value_name = "NAME", value_parser = arguments::name)]
    name: String,
}

impl SuspendArguments {
    pub(super) async fn run(self, cluster: &Cluster) -> anyhow::Result<ExitCode> {
        set(cluster, &self.name, true).await
    }
}

impl ResumeArguments {
    pub(super) async fn run(self, cluster: &Cluster) -> anyhow::Result<ExitCode> {
        set(cluster, &self.name, false).await
    }
}

async fn set(cluster: &Cluster, name: &str, suspend: bool) -> anyhow::Result<ExitCode> {
    let full_name = cluster.full_name(name);
    let state = if suspend { "suspended" } else { "resumed" };
    let before = read(cluster.get(name).await?)?;
    if before.spec.suspend == suspend {
        output::tell(format!("{full_name} is {state} already"));
    } else {
        let patch = json!({"spec": {"suspend": suspend}});
        let mirror = read(cluster.patch(name, &patch).await?)?;
        output::tell(format!("{full_name} is {state}"));
        let run = mirror.status.as_ref().and_then(current_run);
        if let (true, Some(run)) = (suspend, run) {
            output::tell(format!(
                "Job {} is going on and is finished by its pods",
                run.job
            ));
        }
    }
    if let Some(owner) = ownership::owner(&before.metadata) {
        output::tell(format!(
            "{owner} manages {full_name} and may put spec.suspend back to what Git says; change it there \
             for good"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
