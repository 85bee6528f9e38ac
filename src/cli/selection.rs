//! The options that say what is copied of each image.

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::copy::{Referrers, Selection};
use crate::oci::{MediaType, Platform};

/// What is copied of each image.
#[derive(Args, Clone, Debug)]
pub(super) struct SelectionArguments {
    /// Copy these platforms of an index only, for example linux/arm64; may be repeated
    ///
    /// A platform without a variant stands for all of its variants. Attestations of the chosen images
    /// come along.
    #[arg(long = "platform", value_name = "OS/ARCHITECTURE")]
    platforms: Vec<Platform>,

    /// What becomes of an index of which only some platforms are copied
    ///
    /// Without this option it is `none` for docker-archive: and docker-daemon:, which hold no index,
    /// and `rewrite` for every other place.
    #[arg(long, value_name = "POLICY", value_enum, requires = "platforms")]
    index_policy: Option<IndexPolicy>,

    /// Leave signatures, attestations and other referrers behind
    #[arg(long)]
    no_referrers: bool,

    /// Copy only referrers of this type, for example application/spdx+json; may be repeated
    ///
    /// It is the `artifactType` of a referrer, or the media type of its configuration. The tags of cosign
    /// have none: see --no-cosign-tags.
    #[arg(
        long = "artifact-type",
        value_name = "TYPE",
        conflicts_with = "no_referrers"
    )]
    artifact_types: Vec<String>,

    /// Leave the tags behind that cosign makes of a digest: sha256-....sig, .att and .sbom
    #[arg(long, conflicts_with = "no_referrers")]
    no_cosign_tags: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum IndexPolicy {
    /// A new index that names the chosen platforms only; it has another digest
    Rewrite,
    /// The same index; it names images that are not there, which some registries refuse
    Sparse,
    /// No index: the image of the one platform that was chosen, under its own digest
    None,
}

impl SelectionArguments {
    /// The platforms that are copied, if any are named; `to_one_place` says that the destination holds images
    /// of one platform and no index.
    pub(super) fn selection(&self, to_one_place: bool) -> anyhow::Result<Option<Selection>> {
        let platforms = self.platforms.clone();
        let usual = if to_one_place {
            IndexPolicy::None
        } else {
            IndexPolicy::Rewrite
        };
        Ok(Some(
            match (self.index_policy.unwrap_or(usual), platforms.as_slice()) {
                (_, []) => return Ok(None),
                (IndexPolicy::None, [platform]) => Selection::Image(platform.clone()),
                (IndexPolicy::None, _) => bail!(
                    "without an index there can be one image only: name one --platform, or write \
                     to a registry, oci: or oci-archive:"
                ),
                (IndexPolicy::Rewrite, _) => Selection::Rewrite(platforms),
                (IndexPolicy::Sparse, _) => Selection::Sparse(platforms),
            },
        ))
    }

    /// The referrers that come along, if anything is said of them.
    pub(super) fn referrers(&self) -> Option<Referrers> {
        if self.no_referrers {
            return Some(Referrers::None);
        }
        let types = self.artifact_types.iter();
        let chosen = !self.artifact_types.is_empty() || self.no_cosign_tags;
        chosen.then(|| Referrers::All {
            artifact_types: types.map(|kind| MediaType::new(kind)).collect(),
            cosign_tags: !self.no_cosign_tags,
        })
    }
}
