//! Layers that are compressed anew: each once per run, as long as somebody needs its bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};

use super::reader::{self, BlockingReader};
use super::spool::Spool;
use crate::convert::{CodecError, Compression, Measured, Recompressed, measure, recompress};
use crate::copy::Failure;
use crate::copy::bandwidth::{Limiter, limited};
use crate::copy::progress::{BlobOutcome, Counters, Event, Observer};
use crate::oci::{Descriptor, Digest};
use crate::transport::Source;

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
    measured: Mutex<HashMap<Digest, Arc<OnceCell<Measured>>>>,
    processors: Semaphore,
    counters: Arc<Counters>,
    observer: Arc<dyn Observer>,
    limiter: Option<Arc<Limiter>>,
    first_wait: Duration,
}

impl Layers {
    pub(super) fn new(
        counters: Arc<Counters>,
        observer: Arc<dyn Observer>,
        limiter: Option<Arc<Limiter>>,
        first_wait: Duration,
    ) -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            known: Mutex::default(),
            measured: Mutex::default(),
            processors: Semaphore::new(processors),
            counters,
            observer,
            limiter,
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
        let Task {
            layer,
            diff_id,
            compression,
        } = task.clone();
        let size = layer.size;
        let (result, spool) = self
            .read(source, &layer, move |input| {
                let spool = Spool::create().map_err(CodecError::Output)?;
                let result = recompress(input, size, &diff_id, compression, spool.writer())?;
                Ok((result, spool))
            })
            .await?;
        self.counters.count_recompressed(result.uncompressed);
        Ok((result, Arc::new(spool)))
    }

    /// What `layer` is, looked at once per run.
    pub(super) async fn measure(
        &self,
        source: &Arc<dyn Source>,
        layer: &Descriptor,
    ) -> Result<Measured, Failure> {
        let measured = Arc::clone(
            self.measured
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(layer.digest.clone())
                .or_default(),
        );
        let size = layer.size;
        measured
            .get_or_try_init(|| self.read(source, layer, move |input| measure(input, size)))
            .await
            .cloned()
    }

    /// Reads a layer on a thread of its own as `work` does, from the start again when its source
    /// fails on the way.
    async fn read<T, W>(
        &self,
        source: &Arc<dyn Source>,
        layer: &Descriptor,
        work: W,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        W: FnOnce(BlockingReader) -> Result<T, CodecError> + Clone + Send + 'static,
    {
        // The semaphore is never closed.
        let _permit = self.processors.acquire().await.ok();
        let mut wait = self.first_wait;
        let mut attempt = 1;
        loop {
            self.observer.observe(&Event::BlobStarted {
                blob: layer,
                destination: "conversion",
            });
            let content = limited(Arc::new(Arc::clone(source)), self.limiter.as_ref());
            let read = reader::read(content, layer, &self.observer, work.clone()).await;
            self.observer.observe(&Event::BlobEnded {
                digest: &layer.digest,
                outcome: match &read {
                    Ok(_) => BlobOutcome::Converted,
                    Err(_) => BlobOutcome::Failed,
                },
            });
            match read {
                Ok(result) => return Ok(result),
                Err(failed) if failed.is_transient() && attempt < ATTEMPTS => {
                    tracing::warn!(digest = %layer.digest, attempt, %failed, "conversion starts over");
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                    wait *= 2;
                }
                Err(failed) => return Err(failed.into_failure(source.as_ref(), layer)),
            }
        }
    }
}
