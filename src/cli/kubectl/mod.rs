//! `kubectl transship` and `transship kubectl`: the `ImageMirror` and `ImageBuild` objects of a cluster, for people.
//!
//! | file | what it is | I/O |
//! |---|---|---|
//! | `arguments.rs` | durations and names as users write them | none |
//! | `cluster.rs` | kubeconfig, requests with a bound | API server |
//! | `error.rs` | why one failed, without secrets | none |
//! | `table.rs` | columns, ages, digests | none |
//! | `get.rs`, `overview.rs` | mirrors, and what is wrong with them | the first |
//! | `images.rs`, `listing.rs` | the images of a mirror | the first |
//! | `plan.rs` | tags that a mirror will remove | the API server |
//! | `sync.rs`, `wait.rs`, `follow.rs` | asking for a scan, waiting for an end | all |
//! | `request.rs` | the value by which something is asked for | none |
//! | `verdict.rs` | whether waiting is over | none |
//! | `build/` | asking for a build, stopping it, its log | API server |
//! | `suspension.rs`, `ownership.rs` | suspend and resume; what Git will say to it | the first |
//!
//! It reads and writes what every user of the API server can, and knows nothing of the operator but its
//! resources.

mod arguments;
mod build;
mod cluster;
mod error;
mod follow;
mod get;
mod images;
mod listing;
mod overview;
mod ownership;
mod plan;
mod request;
mod suspension;
mod sync;
mod table;
mod verdict;
mod wait;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::cluster::ConnectionArguments;
use crate::worker::EXIT_COPIES_FAILED;

/// The name by which kubectl finds its plugin `transship`.
const PLUGIN_NAME: &str = "kubectl-transship";
/// Exit code when images cannot be copied: that of `transship sync`.
const EXIT_FAILED: u8 = EXIT_COPIES_FAILED;
/// Exit code when the time is over before there was a result.
const EXIT_TIME_OVER: u8 = 12;

/// What the help texts say of exit codes and of the way to the API server.
const AFTER_HELP: &str = "\
Examples:
  kubectl transship get -A
  kubectl transship images alpine --state failed
  kubectl transship sync alpine --wait

kubectl finds the plugin when a link with the name kubectl-transship to this binary is on PATH; without \
one, `transship kubectl` takes the same commands. The API server and the credentials are those of \
kubectl: KUBECONFIG, ~/.kube/config, or in a pod its service account. Data goes to standard output, \
everything else to standard error.";

/// See and steer mirrors and builds of a cluster, as `kubectl transship` does
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    connection: ConnectionArguments,

    #[arg(skip)]
    called: Called,
}

/// See and steer mirrors and builds of a cluster
#[derive(Debug, Parser)]
#[command(
    name = PLUGIN_NAME,
    bin_name = "kubectl transship",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = AFTER_HELP
)]
pub(super) struct Plugin {
    #[command(flatten)]
    arguments: Arguments,
}

/// What people type to get here, for the commands that are recommended to them.
#[derive(Clone, Copy, Debug, Default)]
enum Called {
    /// `transship kubectl`.
    #[default]
    Directly,
    /// `kubectl transship`.
    ByKubectl,
}

#[derive(Debug, Subcommand)]
enum Command {
    Get(get::Arguments),
    Images(images::Arguments),
    Plan(plan::Arguments),
    Sync(sync::Arguments),
    Wait(wait::Arguments),
    Suspend(suspension::SuspendArguments),
    Resume(suspension::ResumeArguments),
    Build(build::BuildArguments),
    Cancel(build::CancelArguments),
    Logs(build::LogsArguments),
}

/// Whether the process was called by the name of the plugin.
pub(super) fn is_plugin(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(PLUGIN_NAME))
}

impl Plugin {
    /// The same as a subcommand of `transship`.
    pub(super) fn into_arguments(self) -> Arguments {
        Arguments {
            called: Called::ByKubectl,
            ..self.arguments
        }
    }
}

impl Called {
    const fn words(self) -> &'static str {
        match self {
            Self::Directly => "transship kubectl",
            Self::ByKubectl => "kubectl transship",
        }
    }
}

impl Arguments {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let cluster = self.connection.open().await?;
        let words = self.called.words();
        match self.command {
            Command::Get(arguments) => arguments.run(&cluster, words).await,
            Command::Images(arguments) => arguments.run(&cluster).await,
            Command::Plan(arguments) => arguments.run(&cluster).await,
            Command::Sync(arguments) => arguments.run(&cluster, words).await,
            Command::Wait(arguments) => arguments.run(&cluster).await,
            Command::Suspend(arguments) => arguments.run(&cluster).await,
            Command::Resume(arguments) => arguments.run(&cluster).await,
            Command::Build(arguments) => arguments.run(&cluster, words).await,
            Command::Cancel(arguments) => arguments.run(&cluster).await,
            Command::Logs(arguments) => Box::pin(arguments.run(&cluster)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("kubectl-transship", true)]
    #[case("/home/user/.krew/bin/kubectl-transship", true)]
    #[case("transship", false)]
    #[case("/opt/kubectl-transship/transship", false)]
    #[case("", false)]
    fn the_name_of_the_program_decides(#[case] program: &str, #[case] expected: bool) {
        assert_eq!(is_plugin(OsStr::new(program)), expected);
    }
}
