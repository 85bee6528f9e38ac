//! Watches the content of an upload pass by: counts it, notices its end, its failure, and standstill.
//!
//! It knows nothing of HTTP; it stands between the stream of a caller and the body of a request.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

/// What passed so far.
pub(super) struct Meter<E> {
    size: u64,
    /// Grows with every piece and once more at the end.
    progress: AtomicU64,
    /// Whether the source is what everybody waits for; it has a timeout of its own.
    source_is_late: AtomicBool,
    ended: AtomicBool,
    interruption: Mutex<Option<Interruption<E>>>,
}

/// Why content did not pass to its end.
#[derive(Debug)]
pub(super) enum Interruption<E> {
    /// The source failed.
    Source(E),
    /// The source gave fewer or more bytes than announced.
    Length,
}

/// Ends the body of a request without completing it.
#[derive(Debug, thiserror::Error)]
#[error("the content ended before its time")]
pub(super) struct Broken;

/// A stream that is being watched.
struct Watched<E, S> {
    meter: Arc<Meter<E>>,
    content: Pin<Box<S>>,
    remaining: u64,
}

impl<E: Send + 'static> Meter<E> {
    /// For content of `size` bytes.
    pub(super) fn new(size: u64) -> Self {
        Self {
            size,
            progress: AtomicU64::new(0),
            source_is_late: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            interruption: Mutex::new(None),
        }
    }

    /// `content`, watched. The result fails instead of ending when it is not exactly as long as
    /// announced.
    pub(super) fn watch<S>(
        self: Arc<Self>,
        content: S,
    ) -> impl Stream<Item = Result<Bytes, Broken>> + Send + 'static
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    {
        let watched = Watched {
            remaining: self.size,
            meter: self,
            content: Box::pin(content),
        };
        stream::try_unfold(watched, |mut watched| async move {
            Ok(watched.next().await?.map(|bytes| (bytes, watched)))
        })
    }

    /// Why the content stopped, if it stopped. Taken once.
    pub(super) fn interruption(&self) -> Option<Interruption<E>> {
        self.interruption
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn interrupt(&self, interruption: Interruption<E>) -> Broken {
        *self
            .interruption
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(interruption);
        Broken
    }
}

impl<E> Meter<E> {
    /// Returns when the receiving side has taken nothing for `idle`, or has not answered for `commit`
    /// after the end.
    pub(super) async fn stalled(&self, idle: Duration, commit: Duration) {
        let mut seen = self.progress.load(Ordering::Relaxed);
        loop {
            let ended = self.ended.load(Ordering::Relaxed);
            tokio::time::sleep(if ended { commit } else { idle }).await;
            let now = self.progress.load(Ordering::Relaxed);
            if now == seen && !self.source_is_late.load(Ordering::Relaxed) {
                return;
            }
            seen = now;
        }
    }
}

impl<E: Send + 'static, S: Stream<Item = Result<Bytes, E>>> Watched<E, S> {
    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        let meter = &self.meter;
        meter.source_is_late.store(true, Ordering::Relaxed);
        let item = self.content.next().await;
        meter.source_is_late.store(false, Ordering::Relaxed);
        meter.progress.fetch_add(1, Ordering::Relaxed);
        match item {
            Some(Ok(bytes)) => {
                self.remaining = self
                    .remaining
                    .checked_sub(bytes.len() as u64)
                    .ok_or_else(|| meter.interrupt(Interruption::Length))?;
                if self.remaining == 0 {
                    meter.ended.store(true, Ordering::Relaxed);
                }
                Ok(Some(bytes))
            }
            Some(Err(error)) => Err(meter.interrupt(Interruption::Source(error))),
            None if self.remaining == 0 => Ok(None),
            None => Err(meter.interrupt(Interruption::Length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Item = Result<Bytes, &'static str>;

    fn pieces(items: &[Result<&'static str, &'static str>]) -> Vec<Item> {
        items
            .iter()
            .map(|item| item.map(|text| Bytes::from_static(text.as_bytes())))
            .collect()
    }

    async fn pass(
        size: u64,
        items: Vec<Item>,
    ) -> (usize, bool, Option<Interruption<&'static str>>) {
        let meter = Arc::new(Meter::new(size));
        let out: Vec<_> = meter.clone().watch(stream::iter(items)).collect().await;
        let bytes = out.iter().flatten().map(Bytes::len).sum();
        (bytes, out.iter().all(Result::is_ok), meter.interruption())
    }

    #[tokio::test]
    async fn content_of_the_announced_length_passes() {
        let (bytes, complete, interruption) = pass(5, pieces(&[Ok("abc"), Ok(""), Ok("de")])).await;
        assert_eq!(bytes, 5);
        assert!(complete && interruption.is_none());
    }

    #[tokio::test]
    async fn other_lengths_break_the_request() {
        for items in [pieces(&[Ok("abc")]), pieces(&[Ok("abc"), Ok("def")])] {
            let (bytes, complete, interruption) = pass(5, items).await;
            assert!(bytes < 5 && !complete);
            assert!(matches!(interruption, Some(Interruption::Length)));
        }
    }

    #[tokio::test]
    async fn the_error_of_the_source_is_kept() {
        let (_, complete, interruption) = pass(5, pieces(&[Ok("abc"), Err("lost")])).await;
        assert!(!complete);
        assert!(matches!(interruption, Some(Interruption::Source("lost"))));
    }

    #[tokio::test(start_paused = true)]
    async fn standstill_is_the_receivers_only_when_the_source_is_ready() {
        let (idle, commit) = (Duration::from_mins(1), Duration::from_mins(5));
        let meter = Arc::new(Meter::<&'static str>::new(3));
        let started = tokio::time::Instant::now();
        meter.stalled(idle, commit).await;
        assert_eq!(started.elapsed(), idle, "nobody takes anything");

        let source = stream::once(async {
            tokio::time::sleep(Duration::from_secs(1000)).await;
            Ok(Bytes::from_static(b"abc"))
        });
        let mut watched = Box::pin(meter.clone().watch(source));
        let started = tokio::time::Instant::now();
        tokio::select! {
            () = meter.stalled(idle, commit) => panic!("blamed the receiver for a late source"),
            piece = watched.next() => assert!(piece.unwrap().is_ok()),
        }
        assert_eq!(started.elapsed().as_secs(), 1000);

        let started = tokio::time::Instant::now();
        meter.stalled(idle, commit).await;
        assert_eq!(
            started.elapsed(),
            commit,
            "the registry may take its time to commit"
        );
    }
}
