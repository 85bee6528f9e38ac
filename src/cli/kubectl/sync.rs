//! `kubectl transship sync`: a scan now.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::cluster::{Cluster, read};
use super::follow::{TimeoutArguments, follow};
use super::{arguments, request, verdict};
use crate::api::RECONCILE_REQUEST_ANNOTATIONS;
use crate::cli::output;

/// Compare sources and destinations now, and copy what is missing
///
/// Asks the operator by a new value of the annotation reconcile.transship.dev/requestedAt. With --wait, follows the scan and the run that it starts to their end.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl transship sync alpine
  kubectl transship sync alpine --wait
  kubectl transship sync alpine --wait --timeout 1h

Exit codes: 0 asked for, with --wait: everything is in place; 10 with --wait, images could not be copied; \
12 with --wait, the time is over; 1 there is no such mirror, it is suspended or being deleted, or the API \
server cannot be used; 2 wrong usage; 11 interrupted, the operator goes on.")]
pub(super) struct Arguments {
    /// The mirror
    #[arg(value_name = "NAME", value_parser = arguments::name)]
    name: String,

    /// Wait for the result
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    limit: TimeoutArguments,
}

impl Arguments {
    pub(super) async fn run(self, cluster: &Cluster, words: &str) -> anyhow::Result<ExitCode> {
        let full_name = cluster.full_name(&self.name);
        let mirror = read(cluster.get(&self.name).await?)?;
        if mirror.spec.suspend {
            bail!(
                "{full_name} is suspended; `{words} resume {}` goes first",
                self.name
            );
        }
        let [annotation, _] = RECONCILE_REQUEST_ANNOTATIONS;
        let handled = mirror.status.as_ref();
        let handled = handled.and_then(|status| status.last_handled_reconcile_at.as_deref());
        let value = request::ask(&full_name, &mirror.metadata, handled)?;
        let patch = json!({"metadata": {"annotations": {annotation: value}}});
        cluster.patch(&self.name, &patch).await?;
        output::tell(format!("asked for a scan of {full_name}"));
        if !self.wait {
            return Ok(ExitCode::SUCCESS);
        }
        follow(cluster, &self.name, self.limit.timeout, |mirror| {
            verdict::request(mirror, &value)
        })
        .await
    }
}
