//! Layers that are compressed anew: each once per run, as long as somebody needs its bytes.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::available_parallelism;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::spool::{self, Spool};
use crate::convert::{CodecError, Compression, Recompressed, recompress};
use crate::copy::progress::{BlobOutcome, Counters, Event, Observer};
use crate::copy::{Failure, Side};
use crate::oci::{Descriptor, Digest};
use crate::reason::Reason;
use crate::transport::{ByteStream, Error, Source, VerifiedBlob};

/// How often a layer is read, after all that its client repeats by itself.
const ATTEMPTS: u32 = 4;

/// One layer to be compressed anew.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// The layer as the source has it.
    pub(super) layer: Descriptor,
    /// What it unpacks to.
    pub(super) diff_id: Digest,
    /// What it is to be compressed with.
    pub(super) compression: Compression,
}

/// A layer in its new form.
#[derive(Clone, Debug)]
pub(super) struct ConvertedLayer {
    /// What it was made from.
    pub(super) task: Task,
    /// The digest of its bytes.
    pub(super) digest: Digest,
    /// How many there are.
    pub(super) size: u64,
    /// The bytes, unless it was made in an earlier run.
    pub(super) spool: Option<Arc<Spool>>,
}

impl ConvertedLayer {
    /// One that an earlier run has made.
    pub(super) const fn remembered(task: Task, digest: Digest, size: u64) -> Self {
        Self {
            task,
            digest,
            size,
            spool: None,
        }
    }
}

/// What is known of a layer in this run. The lock is held while it is being converted.
type Known = Arc<tokio::sync::Mutex<Option<(Recompressed, Weak<Spool>)>>>;

/// All layers of one run.
#[derive(Debug)]
pub(super) struct Layers {
    known: Mutex<HashMap<(Digest, Compression), Known>>,
    processors: Semaphore,
    counters: Arc<Counters>,
    observer: Arc<dyn Observer>,
    first_wait: Duration,
}

/// Why one attempt failed.
#[derive(Debug)]
enum Failed {
    Source(Error),
    Codec(CodecError),
}

impl Layers {
    pub(super) fn new(
        counters: Arc<Counters>,
        observer: Arc<dyn Observer>,
        first_wait: Duration,
    ) -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            known: Mutex::default(),
            processors: Semaphore::new(processors),
            counters,
            observer,
            first_wait,
        }
    }

    /// The layer of `task` in its new form, made now unless this run has made it before. Its bytes
    /// are there if they had to be made, or still lie around.
    pub(super) async fn convert(
        &self,
        source: &Arc<dyn Source>,
        task: Task,
    ) -> Result<ConvertedLayer, Failure> {
        let known = self.known(&task);
        let mut known = known.lock().await;
        let (result, spool) = if let Some((result, spool)) = known.as_ref() {
            (result.clone(), spool.upgrade())
        } else {
            let (result, spool) = self.make(source, &task).await?;
            *known = Some((result.clone(), Arc::downgrade(&spool)));
            (result, Some(spool))
        };
        Ok(ConvertedLayer {
            task,
            digest: result.digest,
            size: result.size,
            spool,
        })
    }

    /// The bytes of a layer whose descriptor is known, made anew if they are gone.
    pub(super) async fn content(
        &self,
        source: &Arc<dyn Source>,
        layer: &ConvertedLayer,
    ) -> Result<Arc<Spool>, Failure> {
        if let Some(spool) = &layer.spool {
            return Ok(Arc::clone(spool));
        }
        let known = self.known(&layer.task);
        let mut known = known.lock().await;
        if let Some(spool) = known.as_ref().and_then(|(_, spool)| spool.upgrade()) {
            return Ok(spool);
        }
        let (result, spool) = self.make(source, &layer.task).await?;
        *known = Some((result, Arc::downgrade(&spool)));
        Ok(spool)
    }

    fn known(&self, task: &Task) -> Known {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (task.layer.digest.clone(), task.compression);
        Arc::clone(known.entry(key).or_default())
    }

    async fn make(
        &self,
        source: &Arc<dyn Source>,
        task: &Task,
    ) -> Result<(Recompressed, Arc<Spool>), Failure> {
        // The semaphore is never closed.
        let _permit = self.processors.acquire().await.ok();
        let mut wait = self.first_wait;
        let mut attempt = 1;
        loop {
            self.observer.observe(&Event::BlobStarted {
                blob: &task.layer,
                destination: "conversion",
            });
            let made = self.make_once(source, task).await;
            self.observer.observe(&Event::BlobEnded {
                digest: &task.layer.digest,
                outcome: match &made {
                    Ok(_) => BlobOutcome::Converted,
                    Err(_) => BlobOutcome::Failed,
                },
            });
            match made {
                Ok((result, spool)) => {
                    self.counters.count_recompressed(result.uncompressed);
                    return Ok((result, Arc::new(spool)));
                }
                Err(Failed::Source(error)) if error.is_transient() && attempt < ATTEMPTS => {
                    tracing::warn!(digest = %task.layer.digest, attempt, %error, "conversion starts over");
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                    wait *= 2;
                }
                Err(failed) => return Err(failed.into_failure(source.as_ref(), &task.layer)),
            }
        }
    }

    async fn make_once(
        &self,
        source: &Arc<dyn Source>,
        task: &Task,
    ) -> Result<(Recompressed, Spool), Failed> {
        let cancelled = CancellationToken::new();
        // Whoever waits no longer leaves no thread behind.
        let _cancel = cancelled.clone().drop_guard();
        let content = VerifiedBlob::new(task.layer.clone(), Arc::new(Arc::clone(source)));
        let (task, observer) = (task.clone(), Arc::clone(&self.observer));
        let handle = Handle::current();
        let working = tokio::task::spawn_blocking(move || {
            let mut failure = None;
            let input = BlockingReader {
                content: content.read_from(0),
                piece: Bytes::new(),
                failure: &mut failure,
                handle,
                cancelled,
                observer,
                digest: &task.layer.digest,
            };
            let spool = Spool::create().map_err(|error| Failed::Source(spool::failed(error)))?;
            let result = recompress(
                input,
                task.layer.size,
                &task.diff_id,
                task.compression,
                spool.writer(),
            );
            match (failure, result) {
                (Some(error), Err(_)) => Err(Failed::Source(error)),
                (_, Err(CodecError::Output(error))) => Err(Failed::Source(spool::failed(error))),
                (_, Err(error)) => Err(Failed::Codec(error)),
                (_, Ok(result)) => Ok((result, spool)),
            }
        });
        working.await.unwrap_or_else(|_| {
            let ended = io::Error::other("the conversion ended unexpectedly");
            Err(Failed::Source(spool::failed(ended)))
        })
    }
}

impl Failed {
    fn into_failure(self, source: &dyn Source, layer: &Descriptor) -> Failure {
        match self {
            // Only the temporary file fails like that; it is no place of the run.
            Self::Source(error @ Error::File { .. }) => Failure {
                reason: Reason::StorageFailed,
                message: error.to_string(),
            },
            Self::Source(error) => Failure::of_place(Side::Source, &error),
            Self::Codec(error) => Failure {
                reason: Reason::SourceInvalid,
                message: format!(
                    "layer {} of {} cannot be converted: {error}",
                    layer.digest,
                    source.name()
                ),
            },
        }
    }
}

/// A stream as threads read it. What goes wrong in it is kept, because an [`io::Error`] is all that
/// a reader can say.
struct BlockingReader<'a> {
    content: ByteStream,
    piece: Bytes,
    failure: &'a mut Option<Error>,
    handle: Handle,
    cancelled: CancellationToken,
    observer: Arc<dyn Observer>,
    digest: &'a Digest,
}

impl Read for BlockingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = self
                .handle
                .block_on(self.cancelled.run_until_cancelled(self.content.next()));
            match next {
                None => return Err(io::Error::other("cancelled")),
                Some(None) => return Ok(0),
                Some(Some(Ok(piece))) => {
                    self.observer.observe(&Event::BlobBytes {
                        digest: self.digest,
                        bytes: piece.len() as u64,
                    });
                    self.piece = piece;
                }
                Some(Some(Err(error))) => {
                    *self.failure = Some(error);
                    return Err(io::Error::other("the source failed"));
                }
            }
        }
        let length = self.piece.len().min(buffer.len());
        let taken = self.piece.split_to(length);
        if let Some(target) = buffer.get_mut(..length) {
            target.copy_from_slice(&taken);
        }
        Ok(length)
    }
}
