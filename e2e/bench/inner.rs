//! The inner loops of a copy: hashing, recompressing, reading manifests. Plain loops, of which the
//! best counts: what the machine did beside them is not theirs.
//!
//! `make bench-inner` prints one line for each. The content is what layers of images are made of: programs,
//! libraries and the texts beside them, from the system that this runs on.

use std::fs;
use std::hint::black_box;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde_json::json;
use transship::convert::{Compression, recompress};
use transship::oci::{Digest, Manifest, MediaType};

/// Runs of each loop.
const RUNS: u32 = 5;
/// Where the content is from.
const DIRECTORIES: [&str; 3] = ["/usr/bin", "/usr/lib", "/usr/share"];
/// Most bytes from each of them.
const DIRECTORY_BYTES: usize = 48 * 1024 * 1024;

fn main() -> anyhow::Result<()> {
    let mut content = Vec::new();
    for directory in DIRECTORIES {
        let end = content.len() + DIRECTORY_BYTES;
        append_files(directory.as_ref(), end, &mut content)
            .with_context(|| format!("cannot read {directory}"))?;
    }
    let length = content.len();
    let diff_id = Digest::sha256(&content);
    report("sha256", length, || {
        black_box(Digest::sha256(black_box(&content)));
        Ok(())
    })?;
    for from in ["none", "gzip", "zstd"] {
        let from: Compression = from.parse()?;
        let mut layer = Vec::new();
        recompress(&content[..], length as u64, &diff_id, from, &mut layer)?;
        for to in ["none", "gzip:1", "gzip", "zstd:1", "zstd", "zstd:9"] {
            let to: Compression = to.parse()?;
            report(&format!("{from} to {to}"), length, || {
                recompress(&layer[..], layer.len() as u64, &diff_id, to, io::sink())?;
                Ok(())
            })?;
        }
        for to in ["zstd:1", "zstd"] {
            let to: Compression = to.parse()?;
            report(&format!("{from} to {to}, two layers"), 2 * length, || {
                thread::scope(|scope| {
                    let convert =
                        || recompress(&layer[..], layer.len() as u64, &diff_id, to, io::sink());
                    let other = scope.spawn(convert);
                    convert()?;
                    other.join().map_err(|_| anyhow!("a thread panicked"))??;
                    Ok(())
                })
            })?;
        }
    }
    let manifest = manifest();
    report("manifest of 40 layers", manifest.bytes().len(), || {
        black_box(black_box(&manifest).content()?);
        Ok(())
    })
}

/// Appends all files of a directory in the order of their names, until there are `end` bytes.
fn append_files(directory: &Path, end: usize, content: &mut Vec<u8>) -> io::Result<()> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    for path in paths {
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            append_files(&path, end, content)?;
        } else if kind.is_file() {
            let rest = end.saturating_sub(content.len()) as u64;
            fs::File::open(&path)?.take(rest).read_to_end(content)?;
        }
    }
    Ok(())
}

/// Prints how many bytes of the uncompressed content pass in a second.
#[expect(clippy::print_stdout, reason = "the figures are the output")]
fn report(
    name: &str,
    bytes: usize,
    mut run: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed());
    }
    // Bytes in a microsecond are megabytes in a second.
    let rate = bytes as u128 / best.as_micros().max(1);
    println!("{name:30} {rate:8} MB/s");
    Ok(())
}

fn manifest() -> Manifest {
    let descriptor = |media_type: &str, index: u8| json!({"mediaType": media_type, "digest": Digest::sha256(&[index]), "size": 1_000_000});
    let layers: Vec<_> = (1..=40)
        .map(|index| descriptor(MediaType::OCI_LAYER_GZIP, index))
        .collect();
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor(MediaType::OCI_CONFIG, 0),
        "layers": layers,
    });
    Manifest::new(
        document.to_string().into(),
        MediaType::new(MediaType::OCI_MANIFEST),
    )
}
