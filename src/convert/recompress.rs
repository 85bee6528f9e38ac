//! The filter that a layer runs through: decompressed, verified, compressed in another way.
//!
//! Two threads share the work: one reads, decompresses and hashes, the other compresses. A few
//! buffers go round between them, so that memory does not depend on the size of the layer.
//!
//! The same bytes go in, the same bytes come out: buffers are filled to the last byte before they
//! are handed on, so that it makes no difference in which pieces a layer arrives, and neither library
//! looks at the processor or the number of its cores for anything but speed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use flate2::GzBuilder;
use flate2::bufread::MultiGzDecoder;

use super::Compression;
use crate::oci::{Digest, Hasher, LayerCompression};

/// Goes up when the same layer would be compressed to other bytes than before.
pub(super) const ENCODER_VERSION: u32 = 1;

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
    let limit = size
        .saturating_mul(MAX_RATIO)
        .saturating_add(FREE_BYTES)
        .min(MAX_BYTES);
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
            unpacking.run(input, diff_id)
        });
        let written = write_all(&full, &empty, compression, output);
        // The reader stops as soon as nobody takes its buffers.
        drop((full, empty));
        let read = reader.join().unwrap_or_else(|_| {
            Err(CodecError::Output(io::Error::other(
                "the decompression ended unexpectedly",
            )))
        });
        match (read, written) {
            (Ok(Some(uncompressed)), Ok((digest, size))) => Ok(Recompressed {
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

/// The half that reads.
struct Unpacking {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    limit: u64,
}

impl Unpacking {
    /// Gives out everything and says how much it was; [`None`] when nobody wants it any more.
    fn run(&self, input: impl Read, diff_id: &Digest) -> Result<Option<u64>, CodecError> {
        let mut total = 0;
        let damaged = |offset| {
            move |error: io::Error| CodecError::Input {
                offset,
                kind: error.kind(),
            }
        };
        let mut content = decoder(input).map_err(damaged(0))?;
        let mut hasher = diff_id.hasher();
        while let Ok(mut buffer) = self.empty.recv() {
            buffer.clear();
            content
                .by_ref()
                .take(BUFFER_BYTES as u64)
                .read_to_end(&mut buffer)
                .map_err(damaged(total))?;
            total += buffer.len() as u64;
            if total > self.limit {
                return Err(CodecError::Bomb { limit: self.limit });
            }
            hasher.update(&buffer);
            let is_last = buffer.len() < BUFFER_BYTES;
            if is_last {
                let actual = hasher.finish();
                if actual != *diff_id {
                    return Err(CodecError::DiffId {
                        expected: diff_id.clone(),
                        actual,
                    });
                }
                return Ok(self.full.send(buffer).is_ok().then_some(total));
            }
            if self.full.send(buffer).is_err() {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

/// Decompresses what the first bytes say: media types are not always right.
fn decoder<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::with_capacity(ZSTD_MAGIC.len());
    let mut input = input;
    input
        .by_ref()
        .take(ZSTD_MAGIC.len() as u64)
        .read_to_end(&mut start)?;
    let kind = compression_of(&start);
    let input = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(start).chain(input));
    Ok(match kind {
        LayerCompression::Gzip => Box::new(MultiGzDecoder::new(input)),
        LayerCompression::Zstd => Box::new(zstd_decoder(input)?),
        LayerCompression::None => Box::new(input),
    })
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

/// The half that writes: until the other one has ended.
fn write_all(
    full: &Receiver<Vec<u8>>,
    empty: &Sender<Vec<u8>>,
    compression: Compression,
    output: impl Write,
) -> io::Result<(Digest, u64)> {
    let mut encoder = Encoder::new(compression, Hashed::new(output))?;
    while let Ok(buffer) = full.recv() {
        encoder.write_all(&buffer)?;
        // An error says that the reader has ended: it needs no more buffers.
        let _ = empty.send(buffer);
    }
    encoder.finish()
}

enum Encoder<W: Write> {
    Plain(Hashed<W>),
    Gzip(flate2::write::GzEncoder<Hashed<W>>),
    Zstd(zstd::stream::write::Encoder<'static, Hashed<W>>),
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
            LayerCompression::Zstd => {
                Self::Zstd(zstd::stream::write::Encoder::new(output, i32::from(level))?)
            }
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<(Digest, u64)> {
        let mut output = match self {
            Self::Plain(output) => output,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Gives at most `piece` bytes at a time.
    struct Pieces<'a> {
        content: &'a [u8],
        piece: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.piece.min(buffer.len());
            self.content.read(&mut buffer[..length])
        }
    }

    /// Text like that in a layer: it compresses, but not to nothing.
    fn content(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut words = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("word{} ", state >> 20)
        });
        let mut content = String::new();
        while content.len() < length {
            content.push_str(&words.next().unwrap());
        }
        content.truncate(length);
        content.into_bytes()
    }

    fn run(layer: &[u8], diff_id: &Digest, compression: &str) -> Result<Vec<u8>, CodecError> {
        let mut output = Vec::new();
        let size = layer.len() as u64;
        let result = recompress(
            layer,
            size,
            diff_id,
            compression.parse().unwrap(),
            &mut output,
        )?;
        assert_eq!(result.size, output.len() as u64);
        assert_eq!(result.digest, Digest::sha256(&output));
        Ok(output)
    }

    fn compressed(content: &[u8], compression: &str) -> Vec<u8> {
        run(content, &Digest::sha256(content), compression).unwrap()
    }

    #[rstest]
    fn a_layer_unpacks_to_the_same_in_every_compression(
        #[values("none", "gzip", "zstd")] from: &str,
        #[values("none", "gzip:1", "gzip:9", "zstd:1", "zstd:19")] to: &str,
        #[values(0, 1, BUFFER_BYTES - 1, BUFFER_BYTES, 3 * BUFFER_BYTES + 7)] length: usize,
    ) {
        let content = content(length);
        let diff_id = Digest::sha256(&content);
        let layer = compressed(&content, from);
        let converted = run(&layer, &diff_id, to).unwrap();
        assert!(run(&converted, &diff_id, "none").unwrap() == content);
    }

    /// If it fails after an update of a library, images that are converted anew get other digests:
    /// [`ENCODER_VERSION`] has to go up and the release notes have to say so.
    #[rstest]
    #[case(
        "gzip:1",
        "4024bb41bdc4ab4fb1f3616f6570dd9708108af9bdb0645d76badafc3f3e1546"
    )]
    #[case(
        "gzip:6",
        "8f36bbf75f3f14033efea1e48ee7f126cd48f5f9ea1855c46bb6d04b7dfaafa1"
    )]
    #[case(
        "gzip:9",
        "b1baacfd97ebde574ace85d992d4d5fe2c70d08a7d32aa41b0727c4678263090"
    )]
    #[case(
        "zstd:1",
        "8d485eae47294998b00bcfc2959b41aca452976dc8de669e75189fbb6b54046d"
    )]
    #[case(
        "zstd:3",
        "fd994e9493cad1ae81ae12f720cb6a28cd13a4eea2245642aaa311b18dc89401"
    )]
    #[case(
        "zstd:19",
        "c8ef5cd51a4e1432058c4775492d6446a76095959b99d71d87b7a53da8108188"
    )]
    fn the_same_bytes_come_out_on_every_machine(#[case] compression: &str, #[case] digest: &str) {
        let content = content(5_000_000);
        let made = Digest::sha256(&compressed(&content, compression));
        assert_eq!(made.as_str(), format!("sha256:{digest}"));
    }

    #[rstest]
    fn it_makes_no_difference_in_which_pieces_a_layer_arrives(
        #[values("none", "gzip", "zstd")] to: &str,
    ) {
        let content = content(1_000_000);
        let diff_id = Digest::sha256(&content);
        let layer = compressed(&content, "gzip");
        let whole = run(&layer, &diff_id, to).unwrap();
        for piece in [1, 7, 4096, 65_537] {
            let mut output = Vec::new();
            let input = Pieces {
                content: &layer,
                piece,
            };
            let compression = to.parse().unwrap();
            recompress(
                input,
                layer.len() as u64,
                &diff_id,
                compression,
                &mut output,
            )
            .unwrap();
            assert!(output == whole, "pieces of {piece}");
        }
    }

    #[rstest]
    fn members_and_frames_one_after_the_other_are_one_layer(#[values("gzip", "zstd")] from: &str) {
        let content = content(700_000);
        let (start, end) = content.split_at(300_000);
        let mut layer = Vec::new();
        if from == "zstd" {
            // A frame for somebody else.
            layer.extend_from_slice(&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        }
        layer.extend(compressed(start, from));
        layer.extend(compressed(end, from));
        assert!(run(&layer, &Digest::sha256(&content), "none").unwrap() == content);
    }

    #[rstest]
    fn damaged_layers_are_refused(#[values("gzip", "zstd")] from: &str) {
        let content = content(100_000);
        let diff_id = Digest::sha256(&content);
        let layer = compressed(&content, from);
        for length in (0..layer.len()).step_by(997).chain([layer.len() - 1]) {
            assert!(run(&layer[..length], &diff_id, "zstd").is_err(), "{length}");
        }
        for position in (0..layer.len()).step_by(997) {
            let mut layer = layer.clone();
            layer[position] ^= 0x10;
            // Some bytes of a header mean nothing; then it unpacks to what it should.
            if let Ok(result) = run(&layer, &diff_id, "none") {
                assert!(result == content, "{position}");
            }
        }
        let mut layer = layer;
        layer.extend_from_slice(b"something behind the end");
        assert!(run(&layer, &diff_id, "zstd").is_err());
    }

    #[rstest]
    #[case::gzip("gzip", LayerCompression::Gzip)]
    #[case::zstd("zstd", LayerCompression::Zstd)]
    #[case::none("none", LayerCompression::None)]
    fn case_82_the_bytes_say_how_a_layer_is_compressed(
        #[case] from: &str,
        #[case] expected: LayerCompression,
    ) {
        assert_eq!(compression_of(&compressed(b"some layer", from)), expected);
    }

    #[test]
    fn what_unpacks_to_something_else_is_refused() {
        let layer = compressed(b"one", "gzip");
        let error = run(&layer, &Digest::sha256(b"other"), "zstd").unwrap_err();
        assert!(matches!(error, CodecError::DiffId { .. }), "{error}");
    }

    /// Only with zstd: what gzip can do at most is what a layer of zeros is.
    #[test]
    fn case_81_a_layer_that_unpacks_to_too_much_is_refused() {
        let mut bomb = Vec::new();
        let mut encoder = zstd::stream::write::Encoder::new(&mut bomb, 1).unwrap();
        io::copy(&mut io::repeat(0).take(400 * 1024 * 1024), &mut encoder).unwrap();
        encoder.finish().unwrap();
        let mut written = 0;
        let result = recompress(
            &bomb[..],
            bomb.len() as u64,
            &Digest::sha256(b""),
            Compression::NONE,
            CountingWriter(&mut written),
        );
        assert!(matches!(result, Err(CodecError::Bomb { .. })), "{result:?}");
        assert!(written < 128 * 1024 * 1024, "{written}");
    }

    struct CountingWriter<'a>(&'a mut usize);

    impl Write for CountingWriter<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            *self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused() {
        // A frame without a size, with a window of 2^28 bytes and one empty last block.
        let frame = [
            0x28,
            0xb5,
            0x2f,
            0xfd,
            0x00,
            (28 - 10) << 3,
            0x01,
            0x00,
            0x00,
        ];
        let error = run(&frame, &Digest::sha256(b""), "none").unwrap_err();
        assert!(matches!(error, CodecError::Input { .. }), "{error}");
    }

    #[test]
    fn a_full_disk_ends_the_work() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let content = content(10 * BUFFER_BYTES);
        let diff_id = Digest::sha256(&content);
        let result = recompress(&content[..], 1, &diff_id, Compression::ZSTD, Full);
        assert!(matches!(result, Err(CodecError::Output(_))), "{result:?}");
    }
}
