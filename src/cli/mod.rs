//! The command line: one subcommand per use of the binary. Thin; the work is in the library.

mod controller;
mod crds;
mod worker;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::telemetry::{self, LogFormat};

/// Keeps OCI images mirrored between registries.
#[derive(Debug, Parser)]
#[command(
    name = "transship",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Controller(controller::Arguments),
    Worker(worker::Arguments),
    Crds(crds::Arguments),
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
    /// Runs the command until it is done or `cancel` is triggered.
    pub async fn run(self, cancel: CancellationToken) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Controller(arguments) => arguments.run(cancel).await,
            Command::Worker(arguments) => arguments.run(&cancel).await,
            Command::Crds(arguments) => arguments.run(),
        }
    }
}
