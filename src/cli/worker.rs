//! `transship worker`: what the pods of a run execute.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::LogArguments;
use crate::worker::{
    self, CERTIFICATES_DIRECTORY, CREDENTIALS_DIRECTORY, EXIT_COPIES_FAILED, EXIT_INTERRUPTED,
    Options, PLAN_DIRECTORY, PLAN_FILE, VERIFICATION_DIRECTORY,
};

/// Copy what a plan says, and report
///
/// The controller starts this in the pods of a Job; there is no need to run it by hand. It reads the
/// plan and credentials from files, and writes one line of JSON to the termination log.
#[derive(Debug, Args)]
#[command(after_help = format!(
    "Exit codes: 0 everything is in place; {EXIT_COPIES_FAILED} some copies failed, the report says which; \
     {EXIT_INTERRUPTED} stopped before the end; 1 it could not start."
))]
pub(super) struct Arguments {
    /// The plan
    #[arg(long, value_name = "FILE", default_value_os_t = PathBuf::from(PLAN_DIRECTORY).join(PLAN_FILE))]
    plan: PathBuf,

    /// Directory with one directory per Secret with credentials
    #[arg(long, value_name = "DIRECTORY", default_value = CREDENTIALS_DIRECTORY)]
    credentials: PathBuf,

    /// Directory with one directory per Secret with certificates
    #[arg(long, value_name = "DIRECTORY", default_value = CERTIFICATES_DIRECTORY)]
    certificates: PathBuf,

    /// Directory with one directory per Secret with keys or trusted roots
    #[arg(long, value_name = "DIRECTORY", default_value = VERIFICATION_DIRECTORY)]
    verification: PathBuf,

    /// Where the report goes
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    termination_log: PathBuf,

    /// Where the state of uploads is kept, to go on with them after a kill
    #[arg(long, value_name = "DIRECTORY")]
    state_directory: Option<PathBuf>,

    /// The number of this worker among those that share the plan, from 0
    #[arg(
        long,
        value_name = "NUMBER",
        env = "JOB_COMPLETION_INDEX",
        default_value_t = 0
    )]
    shard: u32,

    /// When to stop, whatever is missing (RFC 3339)
    #[arg(long, value_name = "TIME")]
    deadline: Option<Timestamp>,

    #[command(flatten)]
    log: LogArguments,
}

impl Arguments {
    pub(super) async fn run(self, cancel: &CancellationToken) -> anyhow::Result<ExitCode> {
        let Self {
            plan,
            credentials,
            certificates,
            verification,
            termination_log,
            state_directory,
            shard,
            deadline,
            log,
        } = self;
        log.start()?;
        let options = Options {
            plan,
            credentials,
            certificates,
            verification,
            termination_log,
            state_directory,
            shard,
            deadline,
        };
        let outcome = worker::run(&options, cancel).await?;
        Ok(ExitCode::from(outcome.exit_code()))
    }
}
