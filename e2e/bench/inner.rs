//! The inner loops of a copy: hashing, recompressing, reading manifests. Plain loops, of which the
//! best counts: what the machine did beside them is not theirs.
//!
//! `make bench-inner` prints one line for each. The content is this program itself, which is what
//! layers mostly are: machine code and tables.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use transship::convert::{Compression, recompress};
use transship::oci::{Digest, Manifest, MediaType};

/// Runs of each loop.
const RUNS: u32 = 5;
/// Most bytes of this program that are used.
const MAX_CONTENT: usize = 64 * 1024 * 1024;

fn main() -> anyhow::Result<()> {
    let mut content = std::fs::read(std::env::current_exe()?).context("this program")?;
    content.truncate(MAX_CONTENT);
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
    }
    let manifest = manifest();
    report("manifest of 40 layers", manifest.bytes().len(), || {
        black_box(black_box(&manifest).content()?);
        Ok(())
    })
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
    println!("{name:24} {rate:8} MB/s");
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
