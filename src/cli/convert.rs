//! `transship convert`: one image in another form, from one place to another.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::access::BothArguments;
use super::copy::one_image;
use super::places::{self, PLACES};
use super::run::{EXIT_CODES, RunArguments};

/// Copy an image and change its form: Docker or OCI, gzip or zstd
///
/// The configuration keeps its bytes, so the image keeps its ID, and every layer is verified to
/// unpack to what the configuration says. The result depends on the image and the options only. Done
/// again, nothing is compressed twice: the destination remembers what its layers were made from.
///
/// Signatures and other referrers of what changes are left behind, they are about the original.
/// What a format cannot express is refused unless it is to be left out.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  transship convert --format oci --compression zstd alpine:3.22 registry.example/alpine:zstd
  transship convert --format docker --leave-out-unsupported alpine:3.22 localhost:5000/alpine:3.22
  transship convert --compression gzip:9 --platform linux/amd64 a.example/app:1 b.example/app:1

{PLACES}

{EXIT_CODES}"))]
pub(super) struct Arguments {
    /// What to convert: HOST/REPOSITORY[:TAG][@DIGEST]
    #[arg(value_name = "SOURCE")]
    source: String,

    /// Where to: HOST/REPOSITORY[:TAG]; without a tag it is found by its new digest
    #[arg(value_name = "DESTINATION")]
    destination: String,

    #[command(flatten)]
    run: RunArguments,

    #[command(flatten)]
    access: BothArguments,
}

impl Arguments {
    pub(super) async fn run(self, cancel: &CancellationToken) -> anyhow::Result<ExitCode> {
        if !self.run.converts() {
            bail!("nothing to convert to: give --format, --compression, or both");
        }
        let (sources, destinations) = self.access.open()?;
        let opening = one_image(&self.source, &self.destination, &sources, &destinations);
        let to_one_place = places::holds_no_index(&self.destination);
        self.run.run(opening, to_one_place, cancel).await
    }
}
