//! `transship verify`: reads every byte and says what is not what it claims to be.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::list_tags::MAX_TAGS;
use super::output;
use super::places::AccessArguments;
use crate::copy::ManifestName;
use crate::inspect::{Verified, verify};
use crate::transport::Source;

/// Verify that every byte of images hashes to what it claims
///
/// Reads all manifests and blobs of the images, with their referrers, and prints every object that is
/// missing or damaged. What several images share is read once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transship verify registry.example/app:1
  transship verify --all-tags registry.example/app

Exit codes: 0 everything is sound; 1 something is not, or could not be read; 2 wrong usage.")]
pub(super) struct Arguments {
    /// The images: HOST/REPOSITORY[:TAG][@DIGEST]
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// The arguments are repositories: verify every tag
    #[arg(short, long)]
    all_tags: bool,

    /// Print one JSON object per argument
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    access: AccessArguments,
}

impl Arguments {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let places = self.access.open()?;
        let mut is_sound = true;
        for image in &self.images {
            let (source, roots): (Arc<dyn Source>, Vec<ManifestName>) = if self.all_tags {
                let source = places.source_named(image).await?;
                let tags = source
                    .tags(MAX_TAGS)
                    .await?
                    .with_context(|| format!("{image} has more than {MAX_TAGS} tags"))?;
                (source, tags.into_iter().map(ManifestName::Tag).collect())
            } else {
                let opened = places.image(image).await?;
                (opened.source, vec![opened.image])
            };
            let mut seen = BTreeSet::new();
            let mut result = Verified::default();
            for root in &roots {
                let root = root.as_reference();
                let digest = source.find_manifest(root).await?.with_context(|| {
                    format!("{} has no {root}; see `transship list-tags`", source.name())
                })?;
                result.add(verify(&source, &digest, &mut seen).await);
            }
            is_sound &= result.faults.is_empty();
            self.print(image, &result)?;
        }
        Ok(if is_sound {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn print(&self, image: &str, result: &Verified) -> anyhow::Result<()> {
        if self.json {
            return output::json(&serde_json::json!({"image": image, "result": result}));
        }
        for fault in &result.faults {
            output::line(format_args!("{}: {}", fault.digest, fault.problem))?;
        }
        let sound = format!("{} objects, {}", result.sound, output::size(result.bytes));
        output::tell(if result.faults.is_empty() {
            format!("{image}: sound ({sound})")
        } else {
            format!(
                "{image}: {} objects are wrong ({sound} are sound)",
                result.faults.len()
            )
        });
        if result.elsewhere > 0 {
            output::tell(format_args!(
                "{image}: {} layers are kept elsewhere by their publisher and were not read",
                result.elsewhere
            ));
        }
        Ok(())
    }
}
