//! Layers as threads read them: verified bytes, from a stream that belongs to the runtime.

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::spool;
use crate::convert::CodecError;
use crate::copy::progress::{Event, Observer};
use crate::copy::{Failure, Side};
use crate::oci::{Descriptor, Digest};
use crate::reason::Reason;
use crate::transport::{BlobReader, ByteStream, Error, Source, VerifiedBlob};

/// Why one reading failed.
#[derive(Debug)]
pub(super) enum Failed {
    Source(Error),
    Codec(CodecError),
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(formatter),
            Self::Codec(error) => error.fmt(formatter),
        }
    }
}

impl Failed {
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Source(error) if error.is_transient())
    }

    pub(super) fn into_failure(self, source: &dyn Source, layer: &Descriptor) -> Failure {
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

/// Lets `work` read `layer` on a thread that may block. Whoever waits no longer leaves no thread
/// behind.
pub(super) async fn read<T, W>(
    source: Arc<dyn BlobReader>,
    layer: &Descriptor,
    observer: &Arc<dyn Observer>,
    work: W,
) -> Result<T, Failed>
where
    T: Send + 'static,
    W: FnOnce(BlockingReader) -> Result<T, CodecError> + Send + 'static,
{
    let cancelled = CancellationToken::new();
    let _cancel = cancelled.clone().drop_guard();
    let failure = Arc::<Mutex<Option<Error>>>::default();
    let input = BlockingReader {
        content: VerifiedBlob::new(layer.clone(), source).read_from(0),
        piece: Bytes::new(),
        failure: Arc::clone(&failure),
        handle: Handle::current(),
        cancelled,
        observer: Arc::clone(observer),
        digest: layer.digest.clone(),
    };
    let result = tokio::task::spawn_blocking(move || work(input))
        .await
        .unwrap_or_else(|_| {
            let ended = io::Error::other("the conversion ended unexpectedly");
            Err(CodecError::Output(ended))
        });
    let failure = lock(&failure).take();
    match (failure, result) {
        (_, Ok(result)) => Ok(result),
        (Some(error), Err(_)) => Err(Failed::Source(error)),
        (None, Err(CodecError::Output(error))) => Err(Failed::Source(spool::failed(error))),
        (None, Err(error)) => Err(Failed::Codec(error)),
    }
}

fn lock(failure: &Mutex<Option<Error>>) -> MutexGuard<'_, Option<Error>> {
    failure.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream as threads read it. What goes wrong in it is kept, because an [`io::Error`] is all that
/// a reader can say.
pub(super) struct BlockingReader {
    content: ByteStream,
    piece: Bytes,
    failure: Arc<Mutex<Option<Error>>>,
    handle: Handle,
    cancelled: CancellationToken,
    observer: Arc<dyn Observer>,
    digest: Digest,
}

impl Read for BlockingReader {
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
                        digest: &self.digest,
                        bytes: piece.len() as u64,
                    });
                    self.piece = piece;
                }
                Some(Some(Err(error))) => {
                    *lock(&self.failure) = Some(error);
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
