//! `transship copy`: one image, or all tags of a repository, from one place to another.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::access::BothArguments;
use super::places::{self, PLACES, Places};
use super::run::{EXIT_CODES, RunArguments};
use crate::copy::{ImageCopy, ManifestName, TagPolicy, Target};

/// Copy an image from one place to another
///
/// Every byte is as it was: all platforms, the same digest, with signatures, attestations and other
/// referrers, unless the form of the image is to change: see `transship convert`. What the
/// destination has is not sent. The tag moves last, when everything else is in
/// place. Prints what is now at the destination, with its digest.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  transship copy alpine:3.22 registry.example/mirror/alpine:3.22
  transship copy --all-tags quay.io/org/app registry.example/org/app
  transship copy --all-tags quay.io/org/app oci:app
  transship copy --platform linux/amd64 alpine:3.22 localhost:5000/alpine:3.22
  transship copy alpine:3.22 oci:images:alpine-3.22
  transship copy oci-archive:bundle.tar:v1 registry.example/app:v1
  transship copy --no-referrers --platform linux/amd64 alpine:3.22 docker-daemon:alpine:3.22
  transship copy --verify-key cosign.pub alpine:3.22 registry.example/mirror/alpine:3.22
  transship copy --dry-run alpine:3.22 localhost:5000/alpine:3.22
  transship copy --dest-creds-file - a.example/app:1 b.example/app:1 < user-and-password

{PLACES}

Credentials: the files that `docker login`, `podman login` and `skopeo login` write, with their \
credential helpers; REGISTRY_AUTH_FILE names another.

{EXIT_CODES}"))]
pub(super) struct Arguments {
    /// What to copy: HOST/REPOSITORY[:TAG][@DIGEST], or another place
    #[arg(value_name = "SOURCE")]
    source: String,

    /// Where to: HOST/REPOSITORY[:TAG]; @DIGEST stores it without a tag; or another place
    #[arg(value_name = "DESTINATION")]
    destination: String,

    /// Source and destination are repositories or layouts: copy every tag
    #[arg(short, long)]
    all_tags: bool,

    #[command(flatten)]
    run: RunArguments,

    #[command(flatten)]
    access: BothArguments,
}

impl Arguments {
    pub(super) async fn run(self, cancel: &CancellationToken) -> anyhow::Result<ExitCode> {
        let (sources, destinations) = self.access.open()?;
        let opening = async {
            if self.all_tags {
                all_tags(&self.source, &self.destination, &sources, &destinations).await
            } else {
                one_image(&self.source, &self.destination, &sources, &destinations).await
            }
        };
        let to_one_place = places::holds_no_index(&self.destination);
        self.run.run(opening, to_one_place, cancel).await
    }
}

pub(super) async fn one_image(
    source: &str,
    destination: &str,
    sources: &Places,
    destinations: &Places,
) -> anyhow::Result<Vec<ImageCopy>> {
    let from = sources.image(source).await?;
    Ok(vec![ImageCopy {
        source: from.source,
        image: from.image,
        targets: vec![destinations.target(destination).await?],
    }])
}

async fn all_tags(
    source: &str,
    destination: &str,
    sources: &Places,
    destinations: &Places,
) -> anyhow::Result<Vec<ImageCopy>> {
    let (from, tags) = sources.all_tagged(source).await?;
    let to = destinations.destination_named(destination).await?;
    Ok(tags
        .into_iter()
        .map(|tag| ImageCopy {
            source: Arc::clone(&from),
            image: ManifestName::Tag(tag.clone()),
            targets: vec![Target {
                place: Arc::clone(&to),
                tag: Some(tag),
                existing: TagPolicy::default(),
            }],
        })
        .collect())
}
