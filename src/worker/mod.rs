//! The entry point of the pods of a run: reads the plan and the mounted Secrets, runs the copy
//! engine, leaves a report in the termination message.
//!
//! It has no Kubernetes token and knows nothing of the API: files in, exit code and report out.

mod access;
pub mod build;
mod verification;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::copy::{self, Clients, Plan, Report};
use crate::packed::{self, PackError};

/// Where the plan is mounted.
pub const PLAN_DIRECTORY: &str = "/run/transship/plan";
/// The file in [`PLAN_DIRECTORY`].
pub const PLAN_FILE: &str = "plan.json.zst";
/// Most bytes of a plan when it is unpacked: of ten thousand images, each with sixteen destinations.
pub const MAX_PLAN_BYTES: u64 = 256 * 1024 * 1024;
/// Where Secrets with credentials are mounted, each in a directory of its own name.
pub const CREDENTIALS_DIRECTORY: &str = "/run/transship/credentials";
/// Where Secrets with certificates are mounted, each in a directory of its own name.
pub const CERTIFICATES_DIRECTORY: &str = "/run/transship/certificates";
/// Where Secrets with keys and trusted roots are mounted, each in a directory of its own name.
pub const VERIFICATION_DIRECTORY: &str = "/run/transship/verification";
/// Where a volume for the state of open uploads is mounted.
pub const STATE_DIRECTORY: &str = "/run/transship/state";
/// How long a sleep may be before the clock is asked again.
const LONGEST_TRUSTED_SLEEP: Duration = Duration::from_secs(1);
/// Exit code of a worker that did all it could and reports failures; another pod would not do better.
pub const EXIT_COPIES_FAILED: u8 = 10;
/// Exit code of a worker that was told to stop before it had finished.
pub const EXIT_INTERRUPTED: u8 = 11;

/// The files that a worker reads and writes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The plan, a JSON document that is compressed with zstd.
    pub plan: PathBuf,
    /// The directory with one directory per Secret with credentials.
    pub credentials: PathBuf,
    /// The directory with one directory per Secret with certificates.
    pub certificates: PathBuf,
    /// The directory with one directory per Secret with keys or trusted roots.
    pub verification: PathBuf,
    /// Where the report goes.
    pub termination_log: PathBuf,
    /// Where uploads of large blobs are written down, so that this worker can go on with them when
    /// it is started again; nowhere without it. The directory must exist.
    pub state_directory: Option<PathBuf>,
    /// The number of this worker among those that share the plan, from 0.
    pub shard: u32,
    /// When it must have stopped, whatever it has come to; never without it.
    pub deadline: Option<Timestamp>,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is in place.
    Succeeded,
    /// Some copies failed; the report says which.
    CopiesFailed,
    /// It was told to stop.
    Interrupted,
}

impl Outcome {
    /// The exit code of the process.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::CopiesFailed => EXIT_COPIES_FAILED,
            Self::Interrupted => EXIT_INTERRUPTED,
        }
    }
}

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot access {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The plan is not one.
    #[error("malformed plan")]
    Plan(#[source] PackError),
    /// The plan was written by another version of the controller.
    #[error("the plan has version {found}, this worker reads version {expected}")]
    PlanVersion {
        /// The version of the plan.
        found: u32,
        /// The version that this code reads.
        expected: u32,
    },
    /// A Secret has content that is not what it should be.
    #[error(transparent)]
    Access(#[from] access::AccessError),
    /// Signatures cannot be verified.
    #[error(transparent)]
    Verification(#[from] verification::VerificationError),
    /// The report cannot be written as JSON.
    #[error("cannot write the report")]
    Report(#[source] serde_json::Error),
}

/// Carries out the plan until it is done or `cancel` is triggered.
pub async fn run(options: &Options, cancel: &CancellationToken) -> Result<Outcome, Error> {
    let plan = read_plan(&options.plan).await?.of_shard(options.shard);
    let catalog =
        access::load(plan.accesses(), &options.credentials, &options.certificates).await?;
    let signatures = verification::load(&plan.options.verify, &options.verification).await?;
    let clients = Clients::new(catalog).saving_uploads_in(options.state_directory.clone());
    tracing::info!(images = plan.images.len(), "copying");
    let report = tokio::select! {
        report = copy::execute(&plan, &clients, signatures) => report,
        () = cancel.cancelled() => {
            tracing::warn!("told to stop; what is missing is copied by the next run");
            clients.end_open_uploads().await;
            return Ok(Outcome::Interrupted);
        }
        // Nothing is written any more, not even the end of an upload: another worker may be at it.
        () = reached(options.deadline) => {
            tracing::error!("out of time; what is missing is copied by the next run");
            return Ok(Outcome::Interrupted);
        }
    };
    log_summary(&report).await;
    let message = report.to_termination_message().map_err(Error::Report)?;
    tokio::fs::write(&options.termination_log, message)
        .await
        .map_err(file_error(&options.termination_log))?;
    Ok(if report.failures.is_empty() {
        Outcome::Succeeded
    } else {
        Outcome::CopiesFailed
    })
}

/// Waits until `deadline`. The clock is asked again and again: one that is set, or a machine that slept, must
/// not give a worker more time than it has.
async fn reached(deadline: Option<Timestamp>) {
    let Some(deadline) = deadline else {
        return std::future::pending().await;
    };
    while let Ok(left) = Duration::try_from(deadline.duration_since(Timestamp::now()))
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(LONGEST_TRUSTED_SLEEP)).await;
    }
}

async fn read_plan(path: &Path) -> Result<Plan, Error> {
    let bytes = tokio::fs::read(path).await.map_err(file_error(path))?;
    let plan: Plan = packed::unpack(&bytes, MAX_PLAN_BYTES).map_err(Error::Plan)?;
    if plan.version == Plan::VERSION {
        Ok(plan)
    } else {
        Err(Error::PlanVersion {
            found: plan.version,
            expected: Plan::VERSION,
        })
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| Error::File {
        path: path.to_owned(),
        source,
    }
}

async fn log_summary(report: &Report) {
    tracing::info!(
        images_copied = report.images_copied,
        failures = report.failures.len(),
        bytes = report.bytes,
        blobs_copied = report.blobs_copied,
        blobs_mounted = report.blobs_mounted,
        blobs_skipped = report.blobs_skipped,
        peak_resident_bytes = peak_resident_bytes().await,
        "run finished"
    );
}

/// The most memory this process has had resident, as the kernel counted it (`VmHWM`).
async fn peak_resident_bytes() -> Option<u64> {
    let status = tokio::fs::read_to_string("/proc/self/status").await.ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
