//! Brings one blob to one destination: already there, mounted, or streamed from the source.
//!
//! Within a run every blob moves at most once per destination registry: whoever comes second waits
//! for the first and then mounts from its repository.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;

use super::bandwidth::{Limiter, limited};
use super::place::DestinationState;
use super::progress::{BlobOutcome, Counters, Event, Observer};
use super::{Failure, Side};
use crate::oci::{Descriptor, Digest, Repository};
use crate::transport::{
    BlobError, BlobReader, ByteStream, Destination, Error, Existing, Placed, Source, VerifiedBlob,
};

/// Blobs in flight at once, each with one connection to either side; what one registry bears is the
/// business of its client.
const PARALLEL_BLOBS: usize = 32;
/// Bytes from which on a blob takes the room of two: it fills the buffers of its connections, of up to
/// 1 MiB together, and more of them are not faster.
const LARGE_BLOB_BYTES: u64 = 1024 * 1024;
/// How often one blob is tried, after all that its client repeats by itself.
const ATTEMPTS: u32 = 4;

/// Repositories of one destination registry that hold a blob. The lock is held while the blob is
/// brought to one more.
type Holders = Arc<tokio::sync::Mutex<BTreeSet<String>>>;

/// The blob transfers of one run.
#[derive(Debug)]
pub(super) struct BlobTransfers {
    holders: Mutex<HashMap<(String, Digest), Holders>>,
    permits: Semaphore,
    counters: Arc<Counters>,
    observer: Arc<dyn Observer>,
    limiter: Option<Arc<Limiter>>,
    /// Before the second try; it doubles from there.
    pub(super) first_wait: Duration,
}

/// How far what was learnt before is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// What this run did, and what was there before it, is there.
    Known,
    /// The destination lacks something that it should have: everything is looked up anew.
    Nothing,
}

/// A failed attempt, and whether another may succeed.
struct FailedAttempt {
    failure: Failure,
    is_transient: bool,
}

impl FailedAttempt {
    fn of(side: Side) -> impl FnOnce(Error) -> Self {
        move |error| Self {
            failure: Failure::of_place(side, &error),
            is_transient: error.is_transient(),
        }
    }
}

impl BlobTransfers {
    pub(super) fn new(
        counters: Arc<Counters>,
        observer: Arc<dyn Observer>,
        limiter: Option<Arc<Limiter>>,
        first_wait: Duration,
    ) -> Self {
        Self {
            holders: Mutex::default(),
            permits: Semaphore::new(PARALLEL_BLOBS),
            counters,
            observer,
            limiter,
            first_wait,
        }
    }

    /// Makes sure that the destination holds the blob.
    pub(super) async fn bring(
        &self,
        source: &Arc<dyn Source>,
        destination: &DestinationState,
        blob: &Descriptor,
        trust: Trust,
    ) -> Result<(), Failure> {
        let place = destination.place.as_ref();
        let holders = self.holders(place, blob);
        let mut holders = holders.lock().await;
        let name = place.name();
        if trust == Trust::Nothing {
            holders.clear();
        } else if holders.contains(&name) {
            return Ok(());
        }
        // The semaphore is never closed, so that a permit always comes.
        let room = if blob.size < LARGE_BLOB_BYTES { 1 } else { 2 };
        let _permit = self.permits.acquire_many(room).await.ok();
        let mount_from = mount_candidate(source.as_ref(), place, &holders);
        let outcome = self
            .bring_with_retries(source, destination, blob, mount_from.as_ref())
            .await?;
        holders.insert(name);
        self.counters.count(blob, outcome);
        Ok(())
    }

    fn holders(&self, place: &dyn Destination, blob: &Descriptor) -> Holders {
        let store = place
            .location()
            .map_or_else(|| place.name(), |location| location.registry.to_string());
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(holders.entry((store, blob.digest.clone())).or_default())
    }

    async fn bring_with_retries(
        &self,
        source: &Arc<dyn Source>,
        destination: &DestinationState,
        blob: &Descriptor,
        mount_from: Option<&Repository>,
    ) -> Result<BlobOutcome, Failure> {
        let mut wait = self.first_wait;
        let mut attempt = 1;
        let name = destination.place.name();
        loop {
            self.observer.observe(&Event::BlobStarted {
                blob,
                destination: &name,
            });
            let result = self.bring_once(source, destination, blob, mount_from).await;
            self.observer.observe(&Event::BlobEnded {
                digest: &blob.digest,
                outcome: result.as_ref().copied().unwrap_or(BlobOutcome::Failed),
            });
            match result {
                Err(failed) if failed.is_transient && attempt < ATTEMPTS => {
                    tracing::warn!(digest = %blob.digest, attempt, failure = %failed.failure, "blob transfer starts over");
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                    wait *= 2;
                }
                result => return result.map_err(|failed| failed.failure),
            }
        }
    }

    async fn bring_once(
        &self,
        source: &Arc<dyn Source>,
        destination: &DestinationState,
        blob: &Descriptor,
        mount_from: Option<&Repository>,
    ) -> Result<BlobOutcome, FailedAttempt> {
        let place = &destination.place;
        let existing = destination.existing().await;
        // In an empty repository nothing has to be looked for.
        if *existing != Existing::Nothing
            && destination
                .has_blob(blob)
                .await
                .map_err(FailedAttempt::of(Side::Destination))?
        {
            return Ok(BlobOutcome::Existing);
        }
        let content = VerifiedBlob::new(blob.clone(), self.reader(source, blob));
        match place.put_blob(&content, mount_from).await {
            Ok(Placed::Sent) => Ok(BlobOutcome::Sent),
            Ok(Placed::Mounted) => Ok(BlobOutcome::Mounted),
            Err(BlobError::Source(error)) => Err(FailedAttempt::of(Side::Source)(error)),
            Err(BlobError::Destination(error)) => Err(FailedAttempt::of(Side::Destination)(error)),
        }
    }

    /// What gives the bytes of `blob`: the descriptor itself, if it holds them.
    fn reader(&self, source: &Arc<dyn Source>, blob: &Descriptor) -> Arc<dyn BlobReader> {
        let reader: Arc<dyn BlobReader> = match &blob.data {
            Some(data) => Arc::new(Inline {
                source: Arc::clone(source),
                data: data.clone(),
            }),
            None => Arc::new(Arc::clone(source)),
        };
        Arc::new(Observed {
            reader: limited(reader, self.limiter.as_ref()),
            observer: Arc::clone(&self.observer),
        })
    }
}

/// A repository of the destination's registry that has the blob, so that it need not be sent.
fn mount_candidate(
    source: &dyn Source,
    destination: &dyn Destination,
    holders: &BTreeSet<String>,
) -> Option<Repository> {
    let here = destination.location()?;
    let prefix = format!("{}/", here.registry);
    holders
        .iter()
        .find_map(|holder| holder.strip_prefix(&prefix)?.parse().ok())
        .or_else(|| {
            source
                .location()
                .filter(|from| from.registry == here.registry && from.repository != here.repository)
                .map(|from| from.repository.clone())
        })
}

/// Content that came with its descriptor (image-spec, descriptor.md, `data`).
#[derive(Debug)]
struct Inline {
    source: Arc<dyn Source>,
    data: Bytes,
}

impl BlobReader for Inline {
    fn place(&self) -> String {
        self.source.name()
    }

    fn read(&self, _blob: &Descriptor, offset: u64) -> ByteStream {
        let offset = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.data.len());
        stream::iter([Ok(self.data.slice(offset..))]).boxed()
    }
}

/// Tells the observer of every piece.
struct Observed {
    reader: Arc<dyn BlobReader>,
    observer: Arc<dyn Observer>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reader.fmt(formatter)
    }
}

impl BlobReader for Observed {
    fn place(&self) -> String {
        self.reader.place()
    }

    fn read(&self, blob: &Descriptor, offset: u64) -> ByteStream {
        let (observer, digest) = (Arc::clone(&self.observer), blob.digest.clone());
        self.reader
            .read(blob, offset)
            .inspect_ok(move |piece| {
                observer.observe(&Event::BlobBytes {
                    digest: &digest,
                    bytes: piece.len() as u64,
                });
            })
            .boxed()
    }
}
