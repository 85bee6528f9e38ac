//! `transship digest`: the digest that an image has now.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::output;
use super::places::{self, AccessArguments};
use crate::transport::Source;

/// Print the digest that an image has now
///
/// Costs one request without a body. For an index of several platforms it is the digest of the index.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transship digest alpine:3.22
  transship digest --full registry.example/app:1    # registry.example/app:1@sha256:…

Exit codes: 0 printed; 1 there is none, or it cannot be read; 2 wrong usage.")]
pub(super) struct Arguments {
    /// The image: HOST/REPOSITORY[:TAG][@DIGEST]
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Print the whole image with the digest behind it
    #[arg(long)]
    full: bool,

    #[command(flatten)]
    access: AccessArguments,
}

impl Arguments {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let reference = places::parse_reference(&self.image)?;
        let repository = self.access.open()?.repository_of(&reference).await?;
        let digest = Source::find_manifest(repository.as_ref(), places::manifest_of(&reference)?)
            .await?
            .with_context(|| {
                format!("{reference} does not exist; see the tags with `transship list-tags`")
            })?;
        if self.full {
            let tag = reference.tag().map(|tag| format!(":{tag}"));
            let tag = tag.unwrap_or_default();
            output::line(format_args!("{}{tag}@{digest}", Source::name(&*repository)))?;
        } else {
            output::line(&digest)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
