//! The two stages of a build's pod that are ours: [`run_fetch`] brings the context, [`run_publish`] pushes
//! the image that a builder has made of it.
//!
//! They run before and after code of users, never beside it, and share nothing with it but two volumes.
//! What the builder leaves is looked at as what it is: files that somebody else has written. Like the
//! worker of a mirror they have no Kubernetes token: files in, exit code and report out.

mod failure;
mod fetch;
mod publish;
mod user_namespace;

use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{EXIT_COPIES_FAILED, EXIT_INTERRUPTED, Error, file_error, peak_resident_bytes};
use crate::build::{BuildFailure, BuildPlan, MAX_PLAN_BYTES, StageReport};
use crate::oci::{Descriptor, Digest};
use crate::packed;

/// The files that both stages read and write.
#[derive(Clone, Debug)]
pub struct StageOptions {
    /// The plan, a JSON document that is compressed with zstd.
    pub plan: PathBuf,
    /// The directory with one directory per Secret with credentials.
    pub credentials: PathBuf,
    /// The directory with one directory per Secret with certificates.
    pub certificates: PathBuf,
    /// Where the report goes.
    pub termination_log: PathBuf,
}

/// The places that only the first stage knows.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// What both stages have.
    pub stage: StageOptions,
    /// Where the volume for the context is mounted.
    pub workspace: PathBuf,
    /// The directory to make there.
    pub context: PathBuf,
    /// The file to make there with the time of the commit, if it is one that is fetched.
    pub source_date_epoch: PathBuf,
    /// The file to make there that says where base images are, if not where the Dockerfile says.
    pub base_images: PathBuf,
    /// The files of a context that is mounted.
    pub files: PathBuf,
    /// Where files with credentials may be for as long as it takes; on no volume that the builder has.
    pub scratch: PathBuf,
    /// Whether nothing may be done unless the pod has a user namespace.
    pub needs_user_namespace: bool,
}

/// The places that only the last stage knows.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// What both stages have.
    pub stage: StageOptions,
    /// Where the volume is mounted that the builder has written to.
    pub output: PathBuf,
    /// The same of the scanner.
    pub sbom: PathBuf,
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageOutcome {
    /// It did what the plan says.
    Succeeded,
    /// It did not; the report says why.
    Failed,
    /// It was told to stop, and reports nothing.
    Interrupted,
}

impl StageOutcome {
    /// The exit code of the process: those of a worker.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Failed => EXIT_COPIES_FAILED,
            Self::Interrupted => EXIT_INTERRUPTED,
        }
    }
}

/// Brings the context of a build.
pub async fn run_fetch(
    options: &FetchOptions,
    cancel: &CancellationToken,
) -> Result<StageOutcome, Error> {
    let plan = read_plan(&options.stage.plan).await?;
    let fetching = Box::pin(async {
        if options.needs_user_namespace {
            user_namespace::check().await?;
        }
        fetch::fetch(&plan, options).await
    });
    finish(fetching, &options.stage.termination_log, cancel).await
}

/// Pushes the image of a build.
pub async fn run_publish(
    options: &PublishOptions,
    cancel: &CancellationToken,
) -> Result<StageOutcome, Error> {
    let plan = read_plan(&options.stage.plan).await?;
    let publishing = Box::pin(publish::publish(&plan.output, options));
    finish(publishing, &options.stage.termination_log, cancel).await
}

/// Waits for a stage and writes its report.
async fn finish<T: Serialize>(
    stage: impl Future<Output = Result<T, BuildFailure>>,
    termination_log: &Path,
    cancel: &CancellationToken,
) -> Result<StageOutcome, Error> {
    let result = tokio::select! {
        result = stage => result,
        () = cancel.cancelled() => {
            tracing::warn!("told to stop");
            return Ok(StageOutcome::Interrupted);
        }
    };
    let (report, outcome) = match result {
        Ok(done) => (StageReport::Succeeded(done), StageOutcome::Succeeded),
        Err(failure) => {
            tracing::error!(class = ?failure.class, reason = %failure.reason, failure = %failure.message, "stage failed");
            (StageReport::Failed(failure), StageOutcome::Failed)
        }
    };
    tracing::info!(
        peak_resident_bytes = peak_resident_bytes().await,
        "stage ended"
    );
    let message = report.to_termination_message().map_err(Error::Report)?;
    tokio::fs::write(termination_log, message)
        .await
        .map_err(file_error(termination_log))?;
    Ok(outcome)
}

/// The image that an index has, if it is one alone. Attestations are none.
fn only_image(manifests: Vec<Descriptor>) -> Option<Digest> {
    let images = manifests.into_iter();
    let mut images = images.filter(|child| !child.is_attestation());
    match (images.next(), images.next()) {
        (Some(only), None) => Some(only.digest),
        _ => None,
    }
}

async fn read_plan(path: &Path) -> Result<BuildPlan, Error> {
    let bytes = tokio::fs::read(path).await.map_err(file_error(path))?;
    let plan: BuildPlan = packed::unpack(&bytes, MAX_PLAN_BYTES).map_err(Error::Plan)?;
    if plan.version == BuildPlan::VERSION {
        Ok(plan)
    } else {
        Err(Error::PlanVersion {
            found: plan.version,
            expected: BuildPlan::VERSION,
        })
    }
}
