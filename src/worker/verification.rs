//! Reads the Secrets with keys and trusted roots that are mounted for a run: one directory per Secret, one file per
//! entry.

use std::io;
use std::path::Path;

use tokio::io::AsyncReadExt as _;

use crate::copy::{Failure, SecretEntry, SignatureCheck, VerificationCatalog, VerificationSecrets};
use crate::verify::{Policy, PolicyError};

/// Most entries of a Secret that are looked at, and most bytes of each: Kubernetes takes a mebibyte in all.
const MAX_ENTRIES: usize = 1000;
const MAX_ENTRY_BYTES: u64 = 2 * 1024 * 1024;

/// Why a worker cannot verify signatures.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// A mounted Secret cannot be read.
    #[error("cannot read Secret {secret}")]
    Read {
        /// The Secret.
        secret: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error(transparent)]
    Content(#[from] Failure),
    /// A policy of the plan means nothing.
    #[error("the plan's policy for signatures")]
    Policy(#[from] PolicyError),
}

/// The check by `policies`, with the Secrets in `directory`.
pub(super) async fn load(
    policies: &[Policy],
    directory: &Path,
) -> Result<Option<SignatureCheck>, VerificationError> {
    let secrets = VerificationSecrets::of(policies);
    let mut catalog = VerificationCatalog::default();
    for name in secrets.names() {
        let entries = read(&directory.join(name)).await;
        let entries = entries.map_err(|source| VerificationError::Read {
            secret: name.clone(),
            source,
        })?;
        catalog.add(&secrets, name, &entries)?;
    }
    Ok(catalog.check(policies)?)
}

async fn read(directory: &Path) -> io::Result<Vec<SecretEntry>> {
    let mut listing = tokio::fs::read_dir(directory).await?;
    let mut entries = Vec::new();
    while let Some(file) = listing.next_entry().await? {
        let name = file.file_name().to_string_lossy().into_owned();
        // The kubelet keeps what it replaces behind names that begin with two dots.
        if name.starts_with("..") || entries.len() == MAX_ENTRIES {
            continue;
        }
        let mut content = Vec::new();
        let opened = tokio::fs::File::open(file.path()).await?;
        opened
            .take(MAX_ENTRY_BYTES)
            .read_to_end(&mut content)
            .await?;
        entries.push((name, content));
    }
    Ok(entries)
}
