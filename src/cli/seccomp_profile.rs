//! `transship seccomp-profile`: puts the profile of builders that mount onto a node.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

/// The profile: the chart's file, which is all there is of it.
const PROFILE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/charts/transship/files/seccomp/build.json"
));
/// Where it is below the kubelet's directory of profiles. Pods name it so.
const PATH: &str = "transship/build.json";

/// Write the seccomp profile of builders onto a node
///
/// The profile lets BuildKit, Buildah and img make user namespaces and mount in them, on nodes whose kubelet gives
/// containers a filter that forbids it. It becomes `transship/build.json` below the directory, at once as a whole;
/// builders use it when the operator has --builder-seccomp=Localhost/transship/build.json.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transship seccomp-profile --directory /var/lib/kubelet/seccomp
  transship seccomp-profile --directory /var/lib/kubelet/seccomp --check

Exit codes: 0 it is there; 1 it cannot be written, or --check finds another or none; 2 wrong usage.")]
pub(super) struct Arguments {
    /// Where the kubelet looks for profiles: `seccomp` in its root directory. It is made when it is not there
    #[arg(long, value_name = "DIRECTORY")]
    directory: PathBuf,

    /// When it is written, wait for a signal: for a pod on every node
    #[arg(long, conflicts_with = "check")]
    wait: bool,

    /// Write nothing, and fail unless the profile is there
    #[arg(long)]
    check: bool,
}

impl Arguments {
    pub(super) async fn run(self, cancel: &CancellationToken) -> anyhow::Result<ExitCode> {
        let path = self.directory.join(PATH);
        if self.check {
            let found =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            anyhow::ensure!(
                found == PROFILE.as_bytes(),
                "{} is another profile than that of this version",
                path.display()
            );
        } else {
            write(&path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        if self.wait {
            cancel.cancelled().await;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the profile beside its place and moves it there, so that nobody ever reads half of it.
fn write(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory)?;
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(PROFILE.as_bytes())?;
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
