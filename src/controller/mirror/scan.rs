//! The scan: lists the tags of repositories, and asks every source and every destination for the digest
//! it has now.
//!
//! Small requests only; content is for workers. Only `latest` by `Created` reads manifests and configurations.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;

use super::spec_error::SpecError;
use super::wanted::{Selected, UnlistedRepository, Wanted, WantedImage, WantedRepository};
use crate::controller::creation_times::Creation;
use crate::controller::registries::{Registries, naming_secret};
use crate::copy::{Failure, Side};
use crate::inspect::creation_time;
use crate::oci::{Digest, Reference, Tag};
use crate::reason::Reason;
use crate::registry::ManifestHead;
use crate::tag_selection::CreationTimes;
use crate::transport::{RegistryRepository, Source};

/// Images that are asked about at once: of ten thousand, which are 50 ms away, in 16 s.
const PARALLEL_IMAGES: usize = 32;
/// Most tags of one repository that are looked at.
const MAX_TAGS: usize = 100_000;

/// What a scan found.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) images: Vec<ImageScan>,
    /// Repositories of which nobody knows what is wanted.
    pub(super) unlisted: Vec<UnlistedRepository>,
}

impl Scan {
    /// Everything that is wanted of destinations.
    pub(super) fn destinations(&self) -> impl Iterator<Item = &Reference> {
        let images = self.images.iter();
        let wanted = images.flat_map(|image| &image.wanted.destinations);
        wanted.map(|wanted| &wanted.reference)
    }
}

/// What was found of one image.
#[derive(Clone, Debug)]
pub(super) struct ImageScan {
    pub(super) wanted: WantedImage,
    /// What the source has.
    pub(super) source: Result<ManifestHead, Failure>,
    /// What each destination has, in the order of the wanted ones; [`None`] when it has nothing.
    pub(super) destinations: Vec<Result<Option<Digest>, Failure>>,
}

/// Some at once, results in their order.
async fn at_once<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    futures::stream::iter(futures)
        .buffered(PARALLEL_IMAGES)
        .collect()
        .await
}

impl Registries {
    /// Scans everything that is wanted. The error is that what the repositories have makes the spec one that
    /// cannot be acted upon.
    pub(super) async fn scan(&self, wanted: &Wanted) -> Result<Scan, SpecError> {
        let selecting: Vec<_> = wanted
            .repositories()
            .map(|repository| self.select_tags(repository))
            .collect();
        let selected: Vec<Selected> = at_once(selecting).await;
        let images = wanted.expand(selected)?;
        let scanning = images.images.into_iter();
        let scanning = scanning.map(|image| self.scan_image(image));
        Ok(Scan {
            images: at_once(scanning).await,
            unlisted: images.unlisted,
        })
    }

    /// The tags of one repository that its rules select.
    async fn select_tags(&self, wanted: &WantedRepository) -> Selected {
        let (location, access) = (&wanted.location, &wanted.access);
        let listing = self.unless_silent(location, async {
            let client = self.client(Side::Source, location, access)?;
            let listed = client.list_tags(location.repository(), MAX_TAGS).await;
            listed.map_err(|error| Failure::of_registry(Side::Source, &error))
        });
        let listed = listing
            .await
            .map_err(|failure| naming_secret(failure, access))?
            .ok_or_else(|| source_not_found(&wanted.name()))?;
        let undated = wanted.undated(&listed)?.into_iter().cloned();
        let dating: Vec<_> = undated
            .map(|tag| self.creation_time(wanted, tag).boxed())
            .collect();
        let mut created = CreationTimes::new();
        for dated in at_once(dating).await {
            created.extend(dated?);
        }
        wanted.select(&listed, &created)
    }

    /// When the image of a tag was created, if it says so. An image is read once, as long as the process lives.
    async fn creation_time(
        &self,
        wanted: &WantedRepository,
        tag: Tag,
    ) -> Result<Option<(Tag, Timestamp)>, Failure> {
        let image = wanted.location.with_tag(tag.clone());
        let Some(head) = self.head(Side::Source, &image, &wanted.access).await? else {
            return Ok(None);
        };
        let created = if let Some(known) = self.creation_times().get(&head.digest) {
            known
        } else {
            let client = self.client(Side::Source, &image, &wanted.access)?;
            let source: Arc<dyn Source> = Arc::new(RegistryRepository::new(
                client,
                image.registry().clone(),
                image.repository().clone(),
            ));
            let created = Creation::from(creation_time(&source, &head.digest).await?);
            self.creation_times().insert(head.digest, created);
            created
        };
        Ok(match created {
            Creation::At(time) => Some((tag, time)),
            Creation::NotSaid => None,
        })
    }

    async fn scan_image(&self, image: WantedImage) -> ImageScan {
        let destinations = image.destinations.iter().map(|destination| async {
            let head = self
                .head(
                    Side::Destination,
                    &destination.reference,
                    &destination.access,
                )
                .await?;
            Ok(head.map(|head| head.digest))
        });
        let (source, destinations) = futures::join!(
            self.head(Side::Source, &image.source, &image.access),
            futures::future::join_all(destinations)
        );
        let source =
            source.and_then(|head| head.ok_or_else(|| source_not_found(&image.source.to_string())));
        let source = match self.unverifiable() {
            Some(failure) => Err(failure.clone()),
            None => source,
        };
        ImageScan {
            wanted: image,
            source,
            destinations,
        }
    }
}

fn source_not_found(source: &str) -> Failure {
    Failure {
        reason: Reason::SourceNotFound,
        message: format!(
            "the source registry has no {source}; correct the reference or push the image"
        ),
    }
}
