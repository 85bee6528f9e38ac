//! Brings one blob to one destination: already there, mounted, or streamed from the source.
//!
//! Within a run every blob moves at most once per destination registry: whoever comes second waits
//! for the first and then mounts from its repository.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::sync::Semaphore;

use super::{Failure, Side};
use crate::oci::{Descriptor, Digest, RegistryHost, Repository};
use crate::reason::Reason;
use crate::registry::{Client, Upload, UploadError};

/// Blobs in flight at once. More do not help one registry and cost memory: each holds one
/// connection's buffers on both sides.
const PARALLEL_BLOBS: usize = 4;
/// How often one blob is started from its first byte.
const ATTEMPTS: u32 = 3;

/// One repository with the client that may use it.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) client: Client,
    pub(super) registry: RegistryHost,
    pub(super) repository: Repository,
}

/// What the blobs of a run cost, as it goes on.
#[derive(Debug, Default)]
pub(super) struct BlobCounters {
    pub(super) bytes: AtomicU64,
    pub(super) copied: AtomicU64,
    pub(super) mounted: AtomicU64,
    pub(super) skipped: AtomicU64,
}

/// A repository of a destination registry that holds the blob, once one is known. The lock is held
/// while the blob is brought there.
type KnownLocation = Arc<tokio::sync::Mutex<Option<Repository>>>;

/// The blob transfers of one run.
#[derive(Debug)]
pub(super) struct BlobTransfers {
    locations: Mutex<HashMap<(RegistryHost, Digest), KnownLocation>>,
    permits: Semaphore,
    counters: Arc<BlobCounters>,
}

enum Brought {
    Copied,
    Mounted,
    Skipped,
}

impl BlobTransfers {
    pub(super) fn new(counters: Arc<BlobCounters>) -> Self {
        Self {
            locations: Mutex::default(),
            permits: Semaphore::new(PARALLEL_BLOBS),
            counters,
        }
    }

    /// Makes sure that the destination repository holds the blob.
    pub(super) async fn bring(
        &self,
        source: &Endpoint,
        destination: &Endpoint,
        blob: &Descriptor,
    ) -> Result<(), Failure> {
        let known = {
            let mut locations = self
                .locations
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let key = (destination.registry.clone(), blob.digest.clone());
            Arc::clone(locations.entry(key).or_default())
        };
        let mut known = known.lock().await;
        if known.as_ref() == Some(&destination.repository) {
            return Ok(());
        }
        // The semaphore is never closed, so that a permit always comes.
        let _permit = self.permits.acquire().await.ok();
        let brought = self
            .bring_with_retries(source, destination, blob, known.as_ref())
            .await?;
        *known = Some(destination.repository.clone());
        let counter = match brought {
            Brought::Copied => {
                self.counters.bytes.fetch_add(blob.size, Ordering::Relaxed);
                &self.counters.copied
            }
            Brought::Mounted => &self.counters.mounted,
            Brought::Skipped => &self.counters.skipped,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn bring_with_retries(
        &self,
        source: &Endpoint,
        destination: &Endpoint,
        blob: &Descriptor,
        mount_from: Option<&Repository>,
    ) -> Result<Brought, Failure> {
        let mut attempt = 1;
        loop {
            match bring_once(source, destination, blob, mount_from).await {
                Err((failure, true)) if attempt < ATTEMPTS => {
                    tracing::warn!(digest = %blob.digest, attempt, %failure, "blob transfer starts over");
                    attempt += 1;
                }
                result => return result.map_err(|(failure, _)| failure),
            }
        }
    }
}

/// One attempt; an error says whether another may succeed.
async fn bring_once(
    source: &Endpoint,
    destination: &Endpoint,
    blob: &Descriptor,
    mount_from: Option<&Repository>,
) -> Result<Brought, (Failure, bool)> {
    let of = |side| {
        move |error: crate::registry::Error| {
            (Failure::of_registry(side, &error), error.is_transient())
        }
    };
    let (client, repository) = (&destination.client, &destination.repository);
    if client
        .blob_exists(repository, &blob.digest)
        .await
        .map_err(of(Side::Destination))?
    {
        return Ok(Brought::Skipped);
    }
    let upload = client
        .start_upload(repository, &blob.digest, mount_from)
        .await
        .map_err(of(Side::Destination))?;
    let session = match upload {
        Upload::Mounted => return Ok(Brought::Mounted),
        Upload::Session(session) => session,
    };
    // The source is asked only when the upload's request wants its first byte, so that a source
    // that fails ends the session like one that fails half-way.
    let content = verified(
        source.client.read_blob(&source.repository, blob, 0),
        blob.clone(),
    );
    match client.upload_blob(session, blob, content).await {
        Ok(()) => Ok(Brought::Copied),
        Err(UploadError::Source(SourceError::Registry(error))) => Err(of(Side::Source)(error)),
        Err(UploadError::Source(error @ SourceError::Digest { .. })) => Err((
            Failure {
                reason: Reason::RegistryError,
                message: error.to_string(),
            },
            true,
        )),
        Err(UploadError::Destination(error)) => Err(of(Side::Destination)(error)),
        Err(error @ UploadError::SourceLength { .. }) => Err((
            Failure {
                reason: Reason::RegistryError,
                message: error.to_string(),
            },
            true,
        )),
    }
}

/// Why a source gave no content.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    #[error("the content of the source has the digest {actual}, expected {expected}")]
    Digest { expected: Digest, actual: Digest },
}

/// `content`, which fails instead of giving out the last piece when it is not `blob`.
fn verified(
    content: impl Stream<Item = Result<Bytes, crate::registry::Error>> + Send + 'static,
    blob: Descriptor,
) -> impl Stream<Item = Result<Bytes, SourceError>> + Send + 'static {
    let (mut hasher, mut received) = (blob.digest.hasher(), 0);
    content.map(move |piece| {
        let piece = piece?;
        hasher.update(&piece);
        received += piece.len() as u64;
        if received == blob.size {
            let actual = hasher.clone().finish();
            if actual != blob.digest {
                return Err(SourceError::Digest {
                    expected: blob.digest.clone(),
                    actual,
                });
            }
        }
        Ok(piece)
    })
}
