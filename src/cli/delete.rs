//! `transship delete`: takes a tag or a manifest away.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::access::AccessArguments;
use super::output;
use super::places;
use crate::registry::ManifestReference;

/// Delete a tag, or a manifest by its digest
///
/// Deletes exactly what is named. A tag is taken away and its image stays, reachable by digest until
/// the registry collects it. A digest takes away the manifest with every tag that points at it. Never
/// deletes blobs: registries do that by themselves.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  transship delete registry.example/app:old
  transship delete registry.example/app@$(transship digest registry.example/app:1)

Exit codes: 0 deleted; 1 not deleted; 2 wrong usage; 11 interrupted.")]
pub(super) struct Arguments {
    /// What to delete: HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST
    #[arg(value_name = "IMAGE")]
    image: String,

    #[command(flatten)]
    access: AccessArguments,
}

impl Arguments {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let reference = places::parse_reference(&self.image)?;
        let named = places::last_component(&self.image);
        let target = match (reference.tag(), reference.digest()) {
            (Some(_), Some(_)) => {
                bail!("{reference} names a tag and a digest; name the one to delete")
            }
            (None, Some(digest)) => ManifestReference::Digest(digest),
            // `latest` is what a tag is when there is none, and not what anybody asked to delete.
            (Some(tag), None) if named.contains(':') => ManifestReference::Tag(tag),
            _ => bail!(
                "{0} names no tag and no digest, and nothing was deleted; name one of them, {0}:TAG \
                 or {0}@DIGEST",
                self.image
            ),
        };
        let places = self.access.open()?;
        let (registry, repository) = (reference.registry(), reference.repository());
        let client = places.client(registry, repository, false).await?;
        if client.delete_manifest(repository, target).await? {
            output::tell(match target {
                ManifestReference::Tag(_) => format!("deleted the tag {reference}"),
                ManifestReference::Digest(_) => {
                    format!("deleted the manifest {reference} and every tag that pointed at it")
                }
            });
            return Ok(ExitCode::SUCCESS);
        }
        match target {
            ManifestReference::Tag(tag) => bail!(
                "{registry} deletes manifests only, not tags: name the digest to delete the image \
                 with every tag that points at it (`transship digest {registry}/{repository}:{tag}`)"
            ),
            ManifestReference::Digest(_) => {
                bail!("{registry} does not allow deleting; whoever runs it can switch it on")
            }
        }
    }
}
