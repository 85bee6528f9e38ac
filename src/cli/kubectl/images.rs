//! `kubectl transship images`: what became of each image of a mirror.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::arguments;
use super::cluster::{Cluster, read};
use super::listing::{Listing, State};
use crate::api::{ImageMirror, ImageStatus};
use crate::cli::output;

/// Show the images of a mirror: digests at both ends, state, and why one failed
///
/// One line for each image and destination, failed ones first. The status of a mirror lists at most 100
/// images; of a larger one all are read from the `ConfigMaps` that it names. When these cannot be read, a
/// line on standard error says how many are missing. On a terminal that is too narrow, digests are cut.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl transship images alpine
  kubectl transship images alpine --state failed
  kubectl transship images alpine -o json

Exit codes: 0 printed, whatever the state of the images; 1 they cannot be read; 2 wrong usage; \
11 interrupted.")]
pub(super) struct Arguments {
    /// The mirror
    #[arg(value_name = "NAME", value_parser = arguments::name)]
    name: String,

    /// Only images in this state; several with commas
    #[arg(
        long,
        value_name = "STATE",
        value_enum,
        ignore_case = true,
        value_delimiter = ','
    )]
    state: Vec<State>,

    /// Print one JSON object: `mirror`, `desired`, `listed` and `images`
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    output: Option<Format>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Json,
}

impl Arguments {
    pub(super) async fn run(self, cluster: &Cluster) -> anyhow::Result<ExitCode> {
        let mut mirror = read(cluster.get(&self.name).await?)?;
        match cluster.reported_images(&mirror).await {
            Ok(all) => replace_images(&mut mirror, all),
            // What the status lists can be shown all the same.
            Err(error) => output::tell(error.to_string()),
        }
        let listing = Listing::new(&mirror, &self.state);
        match self.output {
            Some(Format::Json) => output::json(&listing)?,
            None => output::raw(listing.render(output::width_of_stdout()).as_bytes())?,
        }
        if let Some(gap) = listing.gap() {
            output::tell(gap);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Shows all images instead of those that the status has room for.
fn replace_images(mirror: &mut ImageMirror, all: Option<Vec<ImageStatus>>) {
    if let (Some(status), Some(mut all)) = (&mut mirror.status, all) {
        let worst = |image: &ImageStatus| {
            let states = image
                .destinations
                .iter()
                .map(|destination| destination.state);
            states.min()
        };
        all.sort_by_key(worst);
        status.images = all;
    }
}
