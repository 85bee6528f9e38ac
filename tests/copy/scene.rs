//! Two registries in this process, images in one of them, and the engine between.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use transship::copy::{
    Copied, Counters, Counts, Failure, ImageCopy, ImageOutcome, ManifestName, Options, TagPolicy,
    Target, Unobserved, copy_images,
};
use transship::oci::Digest;
use transship::registry::{Client, Patience};
use transship::transport::RegistryRepository;

use crate::support::registry::Registry;
use crate::support::{install_tls_provider, plain};

/// A source, a destination, and clients that lose no time.
pub(super) struct Scene {
    pub(super) source: Registry,
    pub(super) destination: Registry,
    /// What becomes of tags that are there.
    pub(super) existing: TagPolicy,
    source_client: Client,
    destination_client: Client,
}

/// `REPOSITORY:TAG` at the source, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) from: (&'static str, String),
    pub(super) to: (&'static str, String),
}

/// One tag that keeps its name.
pub(super) fn wish(from: &'static str, to: &'static str, tag: &str) -> Wish {
    Wish {
        from: (from, tag.to_owned()),
        to: (to, tag.to_owned()),
    }
}

impl Scene {
    pub(super) async fn start() -> Self {
        Self::between(Registry::start().await, Registry::start().await)
    }

    pub(super) fn between(source: Registry, destination: Registry) -> Self {
        install_tls_provider();
        let client = |registry: &Registry| {
            let patience = Patience {
                first_wait: Duration::from_millis(1),
                attempts: 3,
                ..Patience::default()
            };
            Client::with_patience(&registry.host().parse().unwrap(), &plain(), patience).unwrap()
        };
        Self {
            source_client: client(&source),
            destination_client: client(&destination),
            source,
            destination,
            existing: TagPolicy::default(),
        }
    }

    /// An index of two platforms, each an image of the given layers and one of its own.
    pub(super) fn seed_index(&self, repository: &str, tag: &str, layers: &[&[u8]]) -> Digest {
        let entries: Vec<_> = ["amd64", "arm64"]
            .into_iter()
            .map(|architecture| {
                let own = format!("{repository}:{tag} for {architecture}");
                let mut layers = layers.to_vec();
                layers.push(own.as_bytes());
                let image = self.source.seed_image(repository, None, &layers);
                let stored = self.source.manifest(repository, image.as_str()).unwrap();
                json!({
                    "mediaType": stored.media_type,
                    "digest": image,
                    "size": stored.bytes.len(),
                    "platform": {"os": "linux", "architecture": architecture},
                })
            })
            .collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": entries,
        });
        self.source.seed_manifest(repository, Some(tag), &index)
    }

    pub(super) async fn copy(&self, wishes: &[Wish]) -> (Vec<ImageOutcome>, Counts) {
        self.copy_with(wishes, Options::default()).await
    }

    /// Copies as `options` say, but without losing time.
    pub(super) async fn copy_with(
        &self,
        wishes: &[Wish],
        options: Options,
    ) -> (Vec<ImageOutcome>, Counts) {
        let place = |client: &Client, registry: &Registry, repository: &str| {
            Arc::new(RegistryRepository::new(
                client.clone(),
                registry.host().parse().unwrap(),
                repository.parse().unwrap(),
            ))
        };
        let copies: Vec<_> = wishes
            .iter()
            .map(|Wish { from, to }| ImageCopy {
                source: place(&self.source_client, &self.source, from.0),
                image: ManifestName::Tag(from.1.parse().unwrap()),
                targets: vec![Target {
                    place: place(&self.destination_client, &self.destination, to.0),
                    tag: Some(to.1.parse().unwrap()),
                    existing: self.existing,
                }],
            })
            .collect();
        let counters = Arc::new(Counters::default());
        let options = Options {
            first_wait: Duration::from_millis(1),
            ..options
        };
        let outcomes = copy_images(&copies, &options, counters.clone(), Arc::new(Unobserved)).await;
        (outcomes, counters.now())
    }

    /// Copies one tag of a repository of the source to another tag of the same.
    pub(super) async fn copy_within_source(
        &self,
        repository: &str,
        from: &str,
        to: &str,
    ) -> Result<Copied, Failure> {
        let place = Arc::new(RegistryRepository::new(
            self.source_client.clone(),
            self.source.host().parse().unwrap(),
            repository.parse().unwrap(),
        ));
        let copy = ImageCopy {
            source: place.clone(),
            image: ManifestName::Tag(from.parse().unwrap()),
            targets: vec![Target {
                place,
                tag: Some(to.parse().unwrap()),
                existing: self.existing,
            }],
        };
        let counters = Arc::new(Counters::default());
        let mut outcomes =
            copy_images(&[copy], &Options::default(), counters, Arc::new(Unobserved)).await;
        outcomes.remove(0).remove(0)
    }

    /// Whether the destination holds exactly what the source has for `wish`.
    pub(super) fn is_in_place(&self, wish: &Wish) -> bool {
        let wanted = self.source.manifest(wish.from.0, &wish.from.1);
        let there = self.destination.manifest(wish.to.0, &wish.to.1);
        match (wanted, there) {
            (Some(wanted), Some(there)) => {
                wanted.bytes == there.bytes && wanted.media_type == there.media_type
            }
            _ => false,
        }
    }
}
