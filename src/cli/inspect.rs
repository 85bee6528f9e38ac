//! `transship inspect`: what an image consists of.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use futures::TryStreamExt as _;

use super::access::AccessArguments;
use super::output;
use super::places::PLACES;
use super::tree;
use crate::copy::{Root, Selection};
use crate::inspect::read_tree;
use crate::oci::{Content, Descriptor, MAX_CONFIG_BYTES, Manifest, Platform};
use crate::transport::{Source, VerifiedBlob};

/// Show what an image consists of
///
/// Prints the tree of index, manifests, configurations, layers and referrers with their sizes, digests
/// and media types. What an image adds up to stands beside its platform. No layer is read. On a
/// narrow terminal digests are cut to twelve digits and media types are left out.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  transship inspect alpine:3.22
  transship inspect oci:images:alpine-3.22
  transship inspect --raw registry.example/app:1 | jq .
  transship inspect --config --platform linux/arm64 registry.example/app:1 | jq .config.Env
  transship inspect --json registry.example/app:1 | jq '[.. | .layers? // empty | .[].size] | add'

{PLACES}

Exit codes: 0 shown; 1 it cannot be read; 2 wrong usage; 11 interrupted."))]
pub(super) struct Arguments {
    /// The image: HOST/REPOSITORY[:TAG][@DIGEST], or another place
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
        let platform = self.platform.clone();
        let selection = platform.map_or(Selection::All, Selection::Image);
        let root = Root::read(source.as_ref(), opened.image.as_reference(), &selection).await?;
        let manifest = root.manifest;
        if self.form.raw {
            output::raw(manifest.bytes())?;
        } else if self.form.config {
            output::raw(&read_config(source, &manifest).await?)?;
        } else {
            let tree = read_tree(source, manifest, !self.no_referrers).await?;
            if self.form.json {
                output::json(&tree)?;
            } else {
                let width = output::width_of_stdout();
                output::raw(tree::draw(&opened.to_string(), &tree, width).as_bytes())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
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
