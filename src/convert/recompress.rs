//! The filter that a layer runs through: decompressed, verified, compressed in another way.
//!
//! Threads share the work: one reads and decompresses, another hashes and compresses, with two more if
//! that is zstd. A few buffers go round between them, so that memory does not depend on the size of
//! the layer.
//!
//! The same bytes go in, the same bytes come out: buffers are filled to the last byte before they
//! are handed on, so that it makes no difference in which pieces a layer arrives, and neither library
//! looks at the processor or the number of its cores for anything but speed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::{mem, thread};

pub use self::measure::{Measured, measure};
use self::zstd_frame::ZstdFrame;
use super::Compression;
use crate::oci::{Digest, Hasher, LayerCompression};
use flate2::GzBuilder;
use flate2::bufread::MultiGzDecoder;

/// Goes up when the same layer would be compressed to other bytes than before.
pub(super) const ENCODER_VERSION: u32 = 2;

/// Bytes of one buffer.
const BUFFER_BYTES: usize = 256 * 1024;
/// Buffers that go round.
const BUFFERS: usize = 6;
/// The largest window that is decompressed, as a power of two: 128 MiB, which is what the `zstd`
/// program takes without being asked for more.
const MAX_WINDOW_LOG: u32 = 27;
/// What a layer may always unpack to, in bytes.
const FREE_BYTES: u64 = 64 * 1024 * 1024;
/// How many times more than that and its own size: gzip reaches 1032.
const MAX_RATIO: u64 = 1100;
/// Most bytes that any layer may unpack to: 256 GiB.
const MAX_BYTES: u64 = 256 * 1024 * 1024 * 1024;

/// Threads that zstd compresses with, beside those that decompress and write. A second one takes memory, and
/// cores have other layers to convert.
const ZSTD_THREADS: u32 = 1;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What came out of the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recompressed {
    /// The digest of what was written.
    pub digest: Digest,
    /// Bytes that were written.
    pub size: u64,
    /// Bytes that the layer unpacks to.
    pub uncompressed: u64,
}

/// Why a layer did not get through.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The layer cannot be read, or is not what its compression says.
    #[error("its content is damaged or cut after {offset} uncompressed bytes ({kind})")]
    Input {
        /// How much could be decompressed.
        offset: u64,
        /// What the decoder found.
        kind: io::ErrorKind,
    },
    /// It unpacks to something else than the configuration says.
    #[error("it unpacks to {actual}, but the configuration of its image says {expected}")]
    DiffId {
        /// The entry of `rootfs.diff_ids`.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// It unpacks to far more than any real layer of its size.
    #[error("it unpacks to more than {limit} bytes, which no real layer of its size does")]
    Bomb {
        /// The most that it may have.
        limit: u64,
    },
    /// The result cannot be written.
    #[error("{0}")]
    Output(#[source] io::Error),
}

/// Reads a layer of `size` bytes in whatever compression it is, makes sure that it unpacks to
/// `diff_id`, and writes it with `compression`.
///
/// What was written is of no use unless this succeeds.
pub fn recompress(
    input: impl Read + Send,
    size: u64,
    diff_id: &Digest,
    compression: Compression,
    output: impl Write,
) -> Result<Recompressed, CodecError> {
    let limit = unpacking_limit(size);
    thread::scope(|scope| {
        let (full_sender, full) = sync_channel(BUFFERS);
        let (empty, empty_receiver) = channel();
        for _ in 0..BUFFERS {
            // The receiver is alive: it is moved into the thread below.
            let _ = empty.send(Vec::with_capacity(BUFFER_BYTES));
        }
        let reader = scope.spawn(move || {
            let unpacking = Unpacking {
                full: full_sender,
                empty: empty_receiver,
                limit,
            };
            unpacking.run(input)
        });
        let written = write_all(&full, &empty, diff_id.hasher(), compression, output);
        // The reader stops as soon as nobody takes its buffers.
        drop((full, empty));
        let read = reader.join().unwrap_or_else(|_| {
            Err(CodecError::Output(io::Error::other(
                "the decompression ended unexpectedly",
            )))
        });
        match (read, written) {
            (Ok(Some(_)), Ok((actual, _))) if actual != *diff_id => Err(CodecError::DiffId {
                expected: diff_id.clone(),
                actual,
            }),
            (Ok(Some(uncompressed)), Ok((_, (digest, size)))) => Ok(Recompressed {
                digest,
                size,
                uncompressed,
            }),
            (Err(error), _) => Err(error),
            (_, Err(error)) => Err(CodecError::Output(error)),
            (Ok(None), Ok(_)) => Err(CodecError::Output(io::ErrorKind::UnexpectedEof.into())),
        }
    })
}

/// The most that a layer of `size` bytes may unpack to.
fn unpacking_limit(size: u64) -> u64 {
    size.saturating_mul(MAX_RATIO)
        .saturating_add(FREE_BYTES)
        .min(MAX_BYTES)
}

/// The half that reads.
struct Unpacking {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    limit: u64,
}

impl Unpacking {
    /// Gives out everything and says how much it was; [`None`] when nobody wants it any more.
    fn run(&self, input: impl Read) -> Result<Option<u64>, CodecError> {
        let mut total = 0;
        let (_, mut content) = decoder(input).map_err(damaged(0))?;
        while let Ok(mut buffer) = self.empty.recv() {
            buffer.resize(BUFFER_BYTES, 0);
            let filled = fill(&mut content, &mut buffer).map_err(damaged(total))?;
            buffer.truncate(filled);
            total += filled as u64;
            if total > self.limit {
                return Err(CodecError::Bomb { limit: self.limit });
            }
            let is_last = filled < BUFFER_BYTES;
            if self.full.send(buffer).is_err() {
                return Ok(None);
            }
            if is_last {
                return Ok(Some(total));
            }
        }
        Ok(None)
    }
}

fn damaged(offset: u64) -> impl Fn(io::Error) -> CodecError {
    move |error| CodecError::Input {
        offset,
        kind: error.kind(),
    }
}

/// Reads until the buffer is full or the content ends, and says how much there is now. In pieces as large
/// as they can be: decoders are slow with small ones.
fn fill(content: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match content.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The content of something that may be compressed, by its first bytes.
pub fn decompress<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(decoder(input)?.1)
}

/// Decompresses what the first bytes say: media types are not always right.
fn decoder<'a>(input: impl Read + 'a) -> io::Result<(LayerCompression, Box<dyn Read + 'a>)> {
    let mut start = Vec::with_capacity(ZSTD_MAGIC.len());
    let mut input = input;
    input
        .by_ref()
        .take(ZSTD_MAGIC.len() as u64)
        .read_to_end(&mut start)?;
    let kind = compression_of(&start);
    let input = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(start).chain(input));
    let content: Box<dyn Read + 'a> = match kind {
        LayerCompression::Gzip => Box::new(MultiGzDecoder::new(input)),
        LayerCompression::Zstd => Box::new(zstd_decoder(input)?),
        LayerCompression::None => Box::new(input),
    };
    Ok((kind, content))
}

fn compression_of(start: &[u8]) -> LayerCompression {
    if start.starts_with(&GZIP_MAGIC) {
        LayerCompression::Gzip
    } else if start.starts_with(&ZSTD_MAGIC) || is_skippable_frame(start) {
        LayerCompression::Zstd
    } else {
        LayerCompression::None
    }
}

/// Whether it is a zstd frame for whoever understands it (RFC 8878, 3.1.2).
fn is_skippable_frame(start: &[u8]) -> bool {
    matches!(start, [first, 0x2a, 0x4d, 0x18] if first & 0xf0 == 0x50)
}

fn zstd_decoder<R: BufRead>(input: R) -> io::Result<zstd::stream::read::Decoder<'static, R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(decoder)
}

/// The half that writes: until the other one has ended. What it takes is hashed here, because reading is
/// more work than handing on.
///
/// Returns the digest of what came in, and the digest and size of what went out.
fn write_all(
    full: &Receiver<Vec<u8>>,
    empty: &Sender<Vec<u8>>,
    mut hasher: Hasher,
    compression: Compression,
    output: impl Write,
) -> io::Result<(Digest, (Digest, u64))> {
    let mut encoder = Encoder::new(compression, Hashed::new(output))?;
    // One is held back, so that the encoder is told of the last one that it is.
    let mut last = Vec::new();
    while let Ok(buffer) = full.recv() {
        hasher.update(&buffer);
        let before = mem::replace(&mut last, buffer);
        if !before.is_empty() {
            encoder.write_all(&before)?;
            // An error says that the reader has ended: it needs no more buffers.
            let _ = empty.send(before);
        }
    }
    Ok((hasher.finish(), encoder.finish(&last)?))
}

enum Encoder<W: Write> {
    Plain(Hashed<W>),
    Gzip(flate2::write::GzEncoder<Hashed<W>>),
    Zstd(ZstdFrame<Hashed<W>>),
}

impl<W: Write> Encoder<W> {
    fn new(compression: Compression, output: Hashed<W>) -> io::Result<Self> {
        let level = compression.level();
        Ok(match compression.algorithm() {
            LayerCompression::None => Self::Plain(output),
            LayerCompression::Gzip => Self::Gzip(
                GzBuilder::new()
                    .operating_system(GZIP_UNKNOWN_SYSTEM)
                    .write(output, flate2::Compression::new(u32::from(level))),
            ),
            LayerCompression::Zstd => Self::Zstd(ZstdFrame::new(output, level, ZSTD_THREADS)?),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(frame) => frame.write(bytes),
        }
    }

    fn finish(self, last: &[u8]) -> io::Result<(Digest, u64)> {
        let mut output = match self {
            Self::Plain(mut output) => {
                output.write_all(last)?;
                output
            }
            Self::Gzip(mut encoder) => {
                encoder.write_all(last)?;
                encoder.finish()?
            }
            Self::Zstd(frame) => frame.finish(last)?,
        };
        output.flush()?;
        Ok((output.hasher.finish(), output.written))
    }
}

/// The operating system in a gzip header (RFC 1952, 2.3.1) that says nothing.
const GZIP_UNKNOWN_SYSTEM: u8 = 255;

/// Hashes and counts what passes.
struct Hashed<W> {
    output: W,
    hasher: Hasher,
    written: u64,
}

impl<W: Write> Hashed<W> {
    fn new(output: W) -> Self {
        Self {
            output,
            hasher: Digest::sha256_hasher(),
            written: 0,
        }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

mod measure;
#[cfg(test)]
mod tests;
mod zstd_frame;
