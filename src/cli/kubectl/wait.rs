//! `kubectl transship wait`: until a mirror is ready, or cannot become so.

use std::process::ExitCode;

use clap::Args;

use super::cluster::Cluster;
use super::follow::{TimeoutArguments, follow};
use super::{arguments, verdict};

/// Wait until a mirror is ready, and fail at once when it cannot become so by itself
///
/// Ready means: everything that its newest spec asks for is in place. Unlike `kubectl wait`, this ends as
/// soon as the mirror is `Stalled`, because somebody has to mend something then; and when it is suspended,
/// deleted or gone. What is waited for is told on standard error.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl transship wait alpine
  kubectl transship wait alpine --timeout 5m

Exit codes: 0 ready; 10 stalled, images cannot be copied; 12 the time is over; 1 there is no such mirror, \
it is suspended or being deleted, or the API server cannot be used; 2 wrong usage; 11 interrupted.")]
pub(super) struct Arguments {
    /// The mirror
    #[arg(value_name = "NAME", value_parser = arguments::name)]
    name: String,

    #[command(flatten)]
    limit: TimeoutArguments,
}

impl Arguments {
    pub(super) async fn run(self, cluster: &Cluster) -> anyhow::Result<ExitCode> {
        // What is not there is told apart from what goes away.
        cluster.get(&self.name).await?;
        follow(cluster, &self.name, self.limit.timeout, verdict::readiness).await
    }
}
