//! The options that say how a registry is reached: credentials, certificates, whether it may do without.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::credentials::Keychain;
use super::places::Places;
use crate::registry::Certificates;

/// Most bytes of a file with certificates.
const MAX_CERTIFICATES_BYTES: u64 = 4 * 1024 * 1024;

/// How to reach the one registry of a command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Access")]
pub(super) struct AccessArguments {
    /// File with one line USER:PASSWORD; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    creds_file: Option<PathBuf>,

    /// Read this file in place of those that docker, podman and skopeo log in to
    #[arg(long, value_name = "FILE", conflicts_with = "creds_file")]
    authfile: Option<PathBuf>,

    /// Allow plain HTTP and unverified TLS; loopback addresses need no permission
    #[arg(long)]
    insecure: bool,

    /// Certificate authorities (PEM) to trust beside those of the system
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// How to reach the registry that is read.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Access to the source")]
pub(super) struct SourceArguments {
    /// File with one line USER:PASSWORD; `-` reads standard input
    #[arg(long = "src-creds-file", id = "src-creds-file", value_name = "FILE")]
    creds_file: Option<PathBuf>,

    /// Read this file in place of those that docker, podman and skopeo log in to
    #[arg(
        long = "src-authfile",
        id = "src-authfile",
        value_name = "FILE",
        conflicts_with = "src-creds-file"
    )]
    authfile: Option<PathBuf>,

    /// Allow plain HTTP and unverified TLS; loopback addresses need no permission
    #[arg(long = "src-insecure", id = "src-insecure")]
    insecure: bool,

    /// Certificate authorities (PEM) to trust beside those of the system
    #[arg(long = "src-ca-file", id = "src-ca-file", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// How to reach the registry that is written.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Access to the destination")]
pub(super) struct DestinationArguments {
    /// File with one line USER:PASSWORD; `-` reads standard input
    #[arg(long = "dest-creds-file", id = "dest-creds-file", value_name = "FILE")]
    creds_file: Option<PathBuf>,

    /// Read this file in place of those that docker, podman and skopeo log in to
    #[arg(
        long = "dest-authfile",
        id = "dest-authfile",
        value_name = "FILE",
        conflicts_with = "dest-creds-file"
    )]
    authfile: Option<PathBuf>,

    /// Allow plain HTTP and unverified TLS; loopback addresses need no permission
    #[arg(long = "dest-insecure", id = "dest-insecure")]
    insecure: bool,

    /// Certificate authorities (PEM) to trust beside those of the system
    #[arg(long = "dest-ca-file", id = "dest-ca-file", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// How to reach both registries of a command.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct BothArguments {
    #[command(flatten)]
    source: SourceArguments,

    #[command(flatten)]
    destination: DestinationArguments,

    /// As --src-authfile and --dest-authfile
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["src-authfile", "dest-authfile"],
        help_heading = "Access"
    )]
    authfile: Option<PathBuf>,
}

impl From<SourceArguments> for AccessArguments {
    fn from(arguments: SourceArguments) -> Self {
        Self {
            creds_file: arguments.creds_file,
            authfile: arguments.authfile,
            insecure: arguments.insecure,
            ca_file: arguments.ca_file,
        }
    }
}

impl From<DestinationArguments> for AccessArguments {
    fn from(arguments: DestinationArguments) -> Self {
        Self {
            creds_file: arguments.creds_file,
            authfile: arguments.authfile,
            insecure: arguments.insecure,
            ca_file: arguments.ca_file,
        }
    }
}

impl BothArguments {
    /// Places to read, and places to write.
    pub(super) fn open(self) -> anyhow::Result<(Places, Places)> {
        let mut source = AccessArguments::from(self.source);
        let mut destination = AccessArguments::from(self.destination);
        let standard_input = Some(Path::new("-"));
        if source.creds_file.as_deref() == standard_input
            && destination.creds_file.as_deref() == standard_input
        {
            bail!(
                "standard input can hold the credentials of one side; write the other's to a file"
            );
        }
        for side in [&mut source, &mut destination] {
            if side.creds_file.is_none() && side.authfile.is_none() {
                side.authfile.clone_from(&self.authfile);
            }
        }
        Ok((source.open()?, destination.open()?))
    }
}

impl AccessArguments {
    /// Reads the files that the options name.
    pub(super) fn open(&self) -> anyhow::Result<Places> {
        let keychain = match (&self.creds_file, &self.authfile) {
            (Some(path), _) => Keychain::from_pair(path),
            (None, Some(path)) => Keychain::from_authfile(path),
            (None, None) => Keychain::of_user(|name| std::env::var_os(name)),
        }?;
        let ca_bundle = self.ca_file.as_deref().map(read_certificates).transpose()?;
        let certificates = Certificates {
            ca_bundle,
            identity: None,
        };
        Ok(Places::new(keychain, self.insecure, certificates))
    }
}

fn read_certificates(path: &Path) -> anyhow::Result<Vec<u8>> {
    let read = || {
        let size = std::fs::metadata(path)?.len();
        if size > MAX_CERTIFICATES_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        std::fs::read(path)
    };
    read().with_context(|| format!("cannot read the certificates in {}", path.display()))
}
