//! Layers that go through, and those that do not.

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
    "d81ecba3750c4d596a7250c20d209ae93e476a7d4fe1bb731bb29ce1f0c48057"
)]
#[case(
    "zstd:3",
    "a6d6fcb88aa6ef5f5dc32e4eac2ae79d160dbfaa3b2de6406d80b88468406116"
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

/// Layers that are converted side by side do not disturb each other.
#[rstest]
fn it_makes_no_difference_how_many_layers_are_converted_at_once(
    #[values("gzip:6", "zstd:3")] compression: &str,
) {
    let content = content(300_000);
    let alone = Digest::sha256(&compressed(&content, compression));
    for threads in 1..=16 {
        let all: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| Digest::sha256(&compressed(&content, compression))))
                .collect();
            running.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(all.iter().all(|digest| *digest == alone), "{threads}");
    }
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

#[rstest]
#[case::none("none", LayerCompression::None)]
#[case::gzip("gzip", LayerCompression::Gzip)]
#[case::zstd("zstd", LayerCompression::Zstd)]
fn a_layer_is_measured(#[case] from: &str, #[case] compression: LayerCompression) {
    let content = content(3 * BUFFER_BYTES + 7);
    let layer = compressed(&content, from);
    let expected = Measured {
        compression,
        diff_id: Digest::sha256(&content),
    };
    let input = Pieces {
        content: &layer,
        piece: 1000,
    };
    assert_eq!(measure(input, layer.len() as u64).unwrap(), expected);
    if compression != LayerCompression::None {
        let cut = &layer[..layer.len() - 1];
        assert!(matches!(
            measure(cut, cut.len() as u64),
            Err(CodecError::Input { .. })
        ));
    }
}

#[test]
fn a_bomb_is_not_measured_to_its_end() {
    let bomb = zstd::stream::encode_all(io::repeat(0).take(400 * 1024 * 1024), 1).unwrap();
    let measured = measure(&bomb[..], bomb.len() as u64);
    assert!(
        matches!(measured, Err(CodecError::Bomb { .. })),
        "{measured:?}"
    );
}
