//! `transship inspect`: what an image consists of.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use futures::TryStreamExt as _;

use super::output;
use super::places::AccessArguments;
use super::tree;
use crate::inspect::read_tree;
use crate::oci::{Content, Descriptor, MAX_CONFIG_BYTES, Manifest, Platform};
use crate::registry::ManifestReference;
use crate::transport::{Source, VerifiedBlob};

/// Show what an image consists of
///
/// Prints the tree of index, manifests, configurations, layers and referrers with their sizes. No
/// layer is read.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transship inspect alpine:3.22
  transship inspect --raw registry.example/app:1 | jq .
  transship inspect --config --platform linux/arm64 registry.example/app:1 | jq .config.Env
  transship inspect --json registry.example/app:1 | jq '[.. | .layers? // empty | .[].size] | add'

Exit codes: 0 shown; 1 it cannot be read; 2 wrong usage.")]
pub(super) struct Arguments {
    /// The image: HOST/REPOSITORY[:TAG][@DIGEST]
    #[arg(value_name = "IMAGE")]
    image: String,

    #[command(flatten)]
    form: Form,

    /// Show this image of an index only, for example linux/arm64
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Option<Platform>,

    /// Do not look for signatures, attestations and other referrers
    #[arg(long)]
    no_referrers: bool,

    #[command(flatten)]
    access: AccessArguments,
}

/// What is printed.
#[derive(Args, Debug)]
struct Form {
    /// Print the manifest or index exactly as the registry has it
    #[arg(long, conflicts_with_all = ["config", "json"])]
    raw: bool,

    /// Print the configuration of the image exactly as the registry has it
    #[arg(long, conflicts_with = "json")]
    config: bool,

    /// Print the tree as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let opened = self.access.open()?.image(&self.image).await?;
        let source = &opened.source;
        let mut manifest = source.manifest(opened.image.as_reference()).await?;
        if let Some(platform) = &self.platform {
            manifest = image_for(source, manifest, platform).await?;
        }
        if self.form.raw {
            output::raw(manifest.bytes())?;
        } else if self.form.config {
            output::raw(&read_config(source, &manifest).await?)?;
        } else {
            let tree = read_tree(source, manifest, !self.no_referrers).await?;
            if self.form.json {
                output::json(&tree)?;
            } else {
                output::raw(tree::draw(&opened.to_string(), &tree).as_bytes())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The manifest of one platform, when `manifest` is an index.
async fn image_for(
    source: &Arc<dyn Source>,
    manifest: Manifest,
    platform: &Platform,
) -> anyhow::Result<Manifest> {
    let Content::Index { manifests, .. } = manifest.content()? else {
        return Ok(manifest);
    };
    let child = manifests
        .iter()
        .find(|child| {
            child
                .platform
                .as_ref()
                .is_some_and(|found| found.matches(platform))
        })
        .with_context(|| {
            let known: Vec<_> = manifests
                .iter()
                .filter_map(|child| child.platform.as_ref())
                .filter(|platform| !platform.is_unknown())
                .map(ToString::to_string)
                .collect();
            format!("the index has no {platform}, it has {}", known.join(", "))
        })?;
    Ok(source
        .manifest(ManifestReference::Digest(&child.digest))
        .await?)
}

async fn read_config(source: &Arc<dyn Source>, manifest: &Manifest) -> anyhow::Result<Vec<u8>> {
    let config: Descriptor = match manifest.content()? {
        Content::Image { config, .. } => config,
        Content::Index { .. } => {
            bail!("this is an index, which has no configuration; choose an image with --platform")
        }
        Content::Artifact { .. } => bail!("this is an artifact without a configuration"),
    };
    if config.size > MAX_CONFIG_BYTES as u64 {
        bail!("the configuration has more than {MAX_CONFIG_BYTES} bytes");
    }
    let content = VerifiedBlob::new(config, Arc::new(Arc::clone(source)));
    Ok(content
        .read_from(0)
        .map_ok(|piece| piece.to_vec())
        .try_concat()
        .await?)
}
