//! `transship digest`: the digest that an image has now.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::access::AccessArguments;
use super::output;
use crate::copy::ManifestName;

/// Print the digest that an image has now
///
/// Costs one request without a body. For an index of several platforms it is the digest of the index.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transship digest alpine:3.22
  transship digest --full registry.example/app:1    # registry.example/app:1@sha256:…

Exit codes: 0 printed; 1 there is none, or it cannot be read; 2 wrong usage; 11 interrupted.")]
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
        let opened = self.access.open()?.image(&self.image).await?;
        let digest = opened
            .source
            .find_manifest(opened.image.as_reference())
            .await?
            .with_context(|| {
                format!("{opened} does not exist; check the name, and see with `transship list-tags` what there is")
            })?;
        match &opened.image {
            ManifestName::Tag(_) if self.full => {
                output::line(format_args!("{opened}@{digest}"))?;
            }
            ManifestName::Digest(_) if self.full => output::line(&opened)?,
            _ => output::line(&digest)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
