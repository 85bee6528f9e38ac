//! One blob on its way: read again from any byte, and hashed so that no false byte is passed on.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::{ByteStream, Error, Source};
use crate::oci::{Descriptor, Hasher};

/// Bytes between two remembered states of the hash: how much is read again, at most, to go on from
/// a byte in the middle.
const CHECKPOINT_SPACING: u64 = 1024 * 1024;
/// States that are remembered, of about 200 bytes each; beyond them reading starts at the beginning.
const MAX_CHECKPOINTS: usize = 256;

/// Reads the bytes of one blob from an offset to the end.
pub trait BlobReader: Send + Sync + fmt::Debug {
    /// How messages call the place that is read.
    fn place(&self) -> String;

    /// The bytes from `offset` on; nothing is read before the stream is polled.
    fn read(&self, blob: &Descriptor, offset: u64) -> ByteStream;
}

impl BlobReader for Arc<dyn Source> {
    fn place(&self) -> String {
        self.name()
    }

    fn read(&self, blob: &Descriptor, offset: u64) -> ByteStream {
        self.blob(blob, offset)
    }
}

/// A blob that gives out exactly the bytes that its descriptor describes.
///
/// The last piece is given out only after all bytes were verified, so whoever needs all bytes to
/// act never acts on false ones. That holds for every reading, also for one that starts in the
/// middle: what lies before was hashed when it was read, or is read again.
pub struct VerifiedBlob {
    blob: Descriptor,
    reader: Arc<dyn BlobReader>,
    checkpoints: Arc<Mutex<Vec<Checkpoint>>>,
}

/// The state of the hash after the first `offset` bytes.
#[derive(Clone)]
struct Checkpoint {
    offset: u64,
    hasher: Hasher,
}

/// A reading in progress.
struct Reading {
    blob: Descriptor,
    reader: Arc<dyn BlobReader>,
    checkpoints: Arc<Mutex<Vec<Checkpoint>>>,
    content: ByteStream,
    /// What was read, which may be less than what was asked to start with.
    state: Checkpoint,
    /// The first byte to give out.
    start: u64,
    ended: bool,
}

impl fmt::Debug for VerifiedBlob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VerifiedBlob")
            .field("blob", &self.blob)
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

impl VerifiedBlob {
    /// The blob `blob` as `reader` has it.
    #[must_use]
    pub fn new(blob: Descriptor, reader: Arc<dyn BlobReader>) -> Self {
        Self {
            blob,
            reader,
            checkpoints: Arc::default(),
        }
    }

    /// What the blob is.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.blob
    }

    /// How messages call the place that it is read from.
    #[must_use]
    pub fn place(&self) -> String {
        self.reader.place()
    }

    /// The bytes from `offset` to the end.
    #[must_use]
    pub fn read_from(&self, offset: u64) -> ByteStream {
        let state = self.latest_checkpoint(offset);
        let reading = Reading {
            content: self.reader.read(&self.blob, state.offset),
            blob: self.blob.clone(),
            reader: Arc::clone(&self.reader),
            checkpoints: Arc::clone(&self.checkpoints),
            state,
            start: offset,
            ended: false,
        };
        stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|piece| (piece, reading)))
        })
        .boxed()
    }

    /// The last known state of the hash before `offset`.
    fn latest_checkpoint(&self, offset: u64) -> Checkpoint {
        let mut checkpoints = lock(&self.checkpoints);
        // What lies behind belongs to a reading that is over.
        checkpoints.retain(|checkpoint| checkpoint.offset <= offset);
        checkpoints.last().cloned().unwrap_or_else(|| Checkpoint {
            offset: 0,
            hasher: self.blob.digest.hasher(),
        })
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.ended {
            return Ok(None);
        }
        loop {
            let Some(piece) = self.content.next().await.transpose()? else {
                self.ended = true;
                // An empty blob has no last piece to be verified with.
                if self.state.offset == self.blob.size && self.blob.size == 0 {
                    self.verify()?;
                }
                return if self.state.offset == self.blob.size {
                    Ok(None)
                } else {
                    Err(self.wrong_length())
                };
            };
            let begin = self.state.offset;
            let end = begin.saturating_add(piece.len() as u64);
            if end > self.blob.size {
                return Err(self.wrong_length());
            }
            self.state.hasher.update(&piece);
            self.state.offset = end;
            if end == self.blob.size {
                self.verify()?;
            } else {
                self.remember();
            }
            let before_start =
                usize::try_from(self.start.saturating_sub(begin)).unwrap_or(usize::MAX);
            if before_start < piece.len() {
                return Ok(Some(piece.slice(before_start..)));
            }
        }
    }

    fn verify(&self) -> Result<(), Error> {
        let actual = self.state.hasher.clone().finish();
        if actual == self.blob.digest {
            return Ok(());
        }
        // Nothing that was read can be trusted.
        lock(&self.checkpoints).clear();
        Err(Error::Digest {
            place: self.reader.place(),
            expected: self.blob.digest.clone(),
            actual,
        })
    }

    fn remember(&self) {
        let mut checkpoints = lock(&self.checkpoints);
        let last = checkpoints.last().map_or(0, |checkpoint| checkpoint.offset);
        if self.state.offset >= last.saturating_add(CHECKPOINT_SPACING) {
            if checkpoints.len() == MAX_CHECKPOINTS {
                checkpoints.remove(0);
            }
            checkpoints.push(self.state.clone());
        }
    }

    fn wrong_length(&self) -> Error {
        lock(&self.checkpoints).clear();
        Error::Length {
            place: self.reader.place(),
            digest: self.blob.digest.clone(),
            expected: self.blob.size,
        }
    }
}

fn lock(checkpoints: &Mutex<Vec<Checkpoint>>) -> MutexGuard<'_, Vec<Checkpoint>> {
    checkpoints.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;
    use crate::oci::{Digest, MediaType};

    /// Gives `content` in pieces of `piece` bytes, and remembers from where it was read.
    #[derive(Debug)]
    struct Pieces {
        content: Bytes,
        piece: usize,
        reads: Mutex<Vec<u64>>,
    }

    impl BlobReader for Pieces {
        fn place(&self) -> String {
            "memory".to_owned()
        }

        fn read(&self, _blob: &Descriptor, offset: u64) -> ByteStream {
            self.reads.lock().unwrap().push(offset);
            let rest = self.content.slice(usize::try_from(offset).unwrap()..);
            let pieces: Vec<_> = rest
                .chunks(self.piece)
                .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                .collect();
            stream::iter(pieces).boxed()
        }
    }

    fn content(length: usize) -> Bytes {
        (0..=250).cycle().take(length).collect()
    }

    fn blob(described: &[u8], content: Bytes, piece: usize) -> (VerifiedBlob, Arc<Pieces>) {
        let reader = Arc::new(Pieces {
            content,
            piece,
            reads: Mutex::default(),
        });
        let descriptor = Descriptor::new(
            MediaType::new("application/octet-stream"),
            Digest::sha256(described),
            described.len() as u64,
        );
        (VerifiedBlob::new(descriptor, reader.clone()), reader)
    }

    async fn read(blob: &VerifiedBlob, offset: u64) -> (Vec<u8>, Option<Error>) {
        let mut stream = blob.read_from(offset);
        let mut read = Vec::new();
        loop {
            match stream.try_next().await {
                Ok(Some(piece)) => read.extend_from_slice(&piece),
                Ok(None) => return (read, None),
                Err(error) => return (read, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn a_blob_is_read_from_any_byte() {
        let content = content(3_000_000);
        let (blob, reader) = blob(&content, content.clone(), 100_000);
        for offset in [0_usize, 1, 2_500_000, 2_999_999, 1_048_576, 3_000_000] {
            let (read, error) = read(&blob, offset as u64).await;
            assert!(error.is_none(), "{error:?}");
            assert!(read == content[offset..], "from {offset}");
        }
        // Readings in the middle start at the last known state of the hash, not at the beginning.
        assert_eq!(
            *reader.reads.lock().unwrap(),
            [0, 0, 2_200_000, 2_200_000, 0, 2_200_000]
        );
    }

    #[tokio::test]
    async fn an_empty_blob_is_verified() {
        let (empty, _) = blob(b"", Bytes::new(), 1);
        assert!(read(&empty, 0).await.1.is_none());
        let (other, _) = blob(b"x", Bytes::new(), 1);
        assert!(matches!(
            read(&other, 0).await.1,
            Some(Error::Length { .. })
        ));
    }

    #[tokio::test]
    async fn the_last_piece_of_false_content_is_never_given_out() {
        let described = content(10_000);
        let mut changed = described.to_vec();
        changed[17] ^= 1;
        let (blob, _) = blob(&described, Bytes::from(changed), 1000);
        let (first, error) = read(&blob, 0).await;
        assert!(matches!(error, Some(Error::Digest { .. })), "{error:?}");
        assert_eq!(first.len(), 9000);
        let (rest, error) = read(&blob, 5000).await;
        assert!(matches!(error, Some(Error::Digest { .. })), "{error:?}");
        assert_eq!(rest.len(), 4000);
    }

    #[tokio::test]
    async fn more_and_fewer_bytes_than_described_are_refused() {
        let described = content(5000);
        for length in [4999, 5001, 9000] {
            let (blob, _) = blob(&described, content(length), 1000);
            let (_, error) = read(&blob, 0).await;
            assert!(matches!(error, Some(Error::Length { .. })), "{length}");
        }
    }
}
