//! The command line: one subcommand per use of the binary. Thin; the work is in the library.

mod access;
mod build;
mod completion;
mod controller;
mod conversion;
mod convert;
mod copy;
mod crds;
mod credentials;
mod delete;
mod digest;
mod habits;
mod hint;
mod inspect;
mod kubectl;
mod list_tags;
mod output;
mod places;
mod progress;
mod report;
mod run;
mod seccomp_profile;
mod selection;
mod signatures;
mod sync;
mod tree;
mod verify;
mod worker;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

pub use self::output::sentence;
use crate::telemetry::{self, LogFormat};
use crate::worker::EXIT_INTERRUPTED;

/// Copies OCI images between registries, and keeps them mirrored
#[derive(Debug, Parser)]
#[command(
    name = "transship",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Examples:
  transship copy alpine:3.22 registry.example/mirror/alpine:3.22
  transship inspect alpine:3.22
  transship copy --help

`controller`, `worker`, `seccomp-profile` and the two stages of a build are what the operator runs in a cluster; `kubectl` is the way to its mirrors, \
also as `kubectl transship`; everything else needs no cluster. Data goes \
to standard output, everything else to standard error. Each command's --help has examples and its \
exit codes."
)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Copy(copy::Arguments),
    Convert(convert::Arguments),
    Sync(sync::Arguments),
    Inspect(inspect::Arguments),
    ListTags(list_tags::Arguments),
    Digest(digest::Arguments),
    Verify(verify::Arguments),
    Delete(delete::Arguments),
    Completion(completion::Arguments),
    Crds(crds::Arguments),
    Kubectl(kubectl::Arguments),
    Controller(controller::Arguments),
    Worker(worker::Arguments),
    BuildFetch(build::FetchArguments),
    BuildPublish(build::PublishArguments),
    SeccompProfile(seccomp_profile::Arguments),
}

/// How logs are written, to standard error.
#[derive(Debug, Args)]
struct LogArguments {
    /// Form of the log lines
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        global = true
    )]
    log_format: LogFormat,

    /// What is logged: a level, or directives such as `info,transship=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info", global = true)]
    log_level: String,
}

impl LogArguments {
    fn start(&self) -> anyhow::Result<()> {
        use anyhow::Context as _;

        telemetry::start(self.log_format, &self.log_level)
            .context("--log-level is not a list of directives")
    }
}

impl CommandLine {
    /// Reads the arguments of the process. Under the name by which kubectl finds its plugin, they are those
    /// of `kubectl transship`.
    pub fn read() -> Result<Self, clap::Error> {
        let mut words = std::env::args_os();
        if words
            .next()
            .is_some_and(|program| kubectl::is_plugin(&program))
        {
            let plugin = kubectl::Plugin::try_parse()?;
            let command = Command::Kubectl(plugin.into_arguments());
            return Ok(Self { command });
        }
        // Nobody has habits of skopeo there.
        let is_kubectl = words.next().is_some_and(|word| word == "kubectl");
        Self::try_parse().map_err(|mut error| {
            if !is_kubectl {
                habits::correct(&mut error);
            }
            error
        })
    }

    /// Runs the command until it is done or `cancel` is triggered.
    pub async fn run(self, cancel: CancellationToken) -> anyhow::Result<ExitCode> {
        let places = self.command.places();
        let result = self.command.run(&cancel).await;
        match places {
            Some(places) => result.map_err(|error| hint::add(error, places)),
            None => result,
        }
    }
}

impl Command {
    /// How many places it has options for, when it is one for people.
    const fn places(&self) -> Option<hint::Places> {
        match self {
            Self::Copy(_) | Self::Convert(_) | Self::Sync(_) => Some(hint::Places::Two),
            Self::Inspect(_)
            | Self::ListTags(_)
            | Self::Digest(_)
            | Self::Verify(_)
            | Self::Delete(_) => Some(hint::Places::One),
            Self::Completion(_)
            | Self::Crds(_)
            | Self::Kubectl(_)
            | Self::Controller(_)
            | Self::Worker(_)
            | Self::BuildFetch(_)
            | Self::BuildPublish(_)
            | Self::SeccompProfile(_) => None,
        }
    }

    async fn run(self, cancel: &CancellationToken) -> anyhow::Result<ExitCode> {
        match self {
            Self::Copy(arguments) => arguments.run(cancel).await,
            Self::Convert(arguments) => arguments.run(cancel).await,
            Self::Sync(arguments) => arguments.run(cancel).await,
            Self::Verify(arguments) => arguments.run(cancel).await,
            Self::Inspect(arguments) => until(cancel, arguments.run()).await,
            Self::ListTags(arguments) => until(cancel, arguments.run()).await,
            Self::Digest(arguments) => until(cancel, arguments.run()).await,
            Self::Delete(arguments) => until(cancel, arguments.run()).await,
            Self::Completion(arguments) => arguments.run(),
            Self::Crds(arguments) => arguments.run(),
            Self::Kubectl(arguments) => until(cancel, arguments.run()).await,
            Self::Controller(arguments) => arguments.run(cancel.clone()).await,
            Self::Worker(arguments) => arguments.run(cancel).await,
            Self::BuildFetch(arguments) => arguments.run(cancel).await,
            Self::BuildPublish(arguments) => arguments.run(cancel).await,
            Self::SeccompProfile(arguments) => arguments.run(cancel).await,
        }
    }
}

/// Runs a command that has nothing to put in order when it is interrupted.
async fn until(
    cancel: &CancellationToken,
    command: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    tokio::select! {
        result = command => result,
        () = cancel.cancelled() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
}
