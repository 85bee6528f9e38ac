//! `transship build-fetch` and `transship build-publish`: the stages of a build that its pod runs around the
//! builder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::LogArguments;
use crate::build::{
    BASE_IMAGES_FILE, CONTEXT_DIRECTORY, FILES_DIRECTORY, OUTPUT_DIRECTORY, PLAN_DIRECTORY,
    PLAN_FILE, SBOM_DIRECTORY, SOURCE_DATE_EPOCH_FILE, WORKSPACE_DIRECTORY,
};
use crate::worker::build::{FetchOptions, PublishOptions, StageOptions, run_fetch, run_publish};
use crate::worker::{
    CERTIFICATES_DIRECTORY, CREDENTIALS_DIRECTORY, EXIT_COPIES_FAILED, EXIT_INTERRUPTED,
};

/// What both stages take.
#[derive(Debug, Args)]
struct StageArguments {
    /// The plan
    #[arg(long, value_name = "FILE", default_value_os_t = PathBuf::from(PLAN_DIRECTORY).join(PLAN_FILE))]
    plan: PathBuf,

    /// Directory with one directory per Secret with credentials
    #[arg(long, value_name = "DIRECTORY", default_value = CREDENTIALS_DIRECTORY)]
    credentials: PathBuf,

    /// Directory with one directory per Secret with certificates
    #[arg(long, value_name = "DIRECTORY", default_value = CERTIFICATES_DIRECTORY)]
    certificates: PathBuf,

    /// Where the report goes
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    termination_log: PathBuf,

    #[command(flatten)]
    log: LogArguments,
}

impl StageArguments {
    fn start(self) -> anyhow::Result<StageOptions> {
        self.log.start()?;
        Ok(StageOptions {
            plan: self.plan,
            credentials: self.credentials,
            certificates: self.certificates,
            termination_log: self.termination_log,
        })
    }
}

/// Bring the context of a build, and report
///
/// The controller starts this as the first container in the pod of a build; there is no need to run it by
/// hand. It reads the plan and credentials from files, makes a directory with the context, and writes one line of
/// JSON to the termination log.
#[derive(Debug, Args)]
#[command(after_help = format!(
    "Exit codes: 0 the context is there; {EXIT_COPIES_FAILED} it is not, the report says why; \
     {EXIT_INTERRUPTED} stopped before the end; 1 it could not start."
))]
pub(super) struct FetchArguments {
    #[command(flatten)]
    stage: StageArguments,

    /// The volume that the builder gets as well
    #[arg(long, value_name = "DIRECTORY", default_value = WORKSPACE_DIRECTORY)]
    workspace: PathBuf,

    /// The directory to make there
    #[arg(long, value_name = "DIRECTORY", default_value = CONTEXT_DIRECTORY)]
    context: PathBuf,

    /// The file to make there with the time of the commit
    #[arg(long, value_name = "FILE", default_value = SOURCE_DATE_EPOCH_FILE)]
    source_date_epoch: PathBuf,

    /// The file to make there that says where base images are
    #[arg(long, value_name = "FILE", default_value = BASE_IMAGES_FILE)]
    base_images: PathBuf,

    /// The files of a context that is mounted
    #[arg(long, value_name = "DIRECTORY", default_value = FILES_DIRECTORY)]
    files: PathBuf,

    /// Where files with credentials may be meanwhile; nothing that the builder gets
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,

    /// Do nothing unless the pod has a user namespace
    #[arg(long)]
    user_namespace: bool,
}

impl FetchArguments {
    pub(super) async fn run(self, cancel: &CancellationToken) -> anyhow::Result<ExitCode> {
        let options = FetchOptions {
            stage: self.stage.start()?,
            workspace: self.workspace,
            context: self.context,
            source_date_epoch: self.source_date_epoch,
            base_images: self.base_images,
            files: self.files,
            scratch: self.scratch,
            needs_user_namespace: self.user_namespace,
        };
        let outcome = Box::pin(run_fetch(&options, cancel)).await?;
        Ok(ExitCode::from(outcome.exit_code()))
    }
}

/// Push the image of a build, and report
///
/// The controller starts this as the last container in the pod of a build; there is no need to run it by hand.
/// It verifies every byte of what the builder has left, pushes it, and writes one line of JSON to the
/// termination log.
#[derive(Debug, Args)]
#[command(after_help = format!(
    "Exit codes: 0 the image is in place; {EXIT_COPIES_FAILED} it is not, the report says why; \
     {EXIT_INTERRUPTED} stopped before the end; 1 it could not start."
))]
pub(super) struct PublishArguments {
    #[command(flatten)]
    stage: StageArguments,

    /// The volume that the builder has written to
    #[arg(long, value_name = "DIRECTORY", default_value = OUTPUT_DIRECTORY)]
    output: PathBuf,

    /// The volume that the scanner has written to, if there was one
    #[arg(long, value_name = "DIRECTORY", default_value = SBOM_DIRECTORY)]
    sbom: PathBuf,
}

impl PublishArguments {
    pub(super) async fn run(self, cancel: &CancellationToken) -> anyhow::Result<ExitCode> {
        let options = PublishOptions {
            stage: self.stage.start()?,
            output: self.output,
            sbom: self.sbom,
        };
        let outcome = Box::pin(run_publish(&options, cancel)).await?;
        Ok(ExitCode::from(outcome.exit_code()))
    }
}
