//! What a destination lacks of an image: how much a copy would have to move.

use std::collections::{BTreeSet, HashMap};

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::Tree;
use crate::oci::{Descriptor, Digest, Tag};
use crate::registry::ManifestReference;
use crate::transport::{Destination, Error};

/// Blobs that are looked up at once.
const PARALLEL_LOOKUPS: usize = 8;

/// What is to be sent to one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// Whether the image is in place.
    pub in_place: bool,
    /// Blobs to send. Those that go to the same registry for another image are counted there.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// The blobs that a run would have sent to each registry, or to each place that is none.
#[derive(Debug, Default)]
pub struct Outgoing(HashMap<String, BTreeSet<Digest>>);

impl Outgoing {
    /// What `destination` lacks of the image, after everything that was asked about before.
    pub async fn missing(
        &mut self,
        image: &Tree,
        destination: &dyn Destination,
        tag: Option<&Tag>,
    ) -> Result<Missing, Error> {
        let digest = &image.descriptor.digest;
        let reference = tag.map_or(ManifestReference::Digest(digest), ManifestReference::Tag);
        let mut missing = Missing {
            in_place: destination.find_manifest(reference).await?.as_ref() == Some(digest),
            ..Missing::default()
        };
        let sent = self.0.entry(domain(destination)).or_default();
        let mut seen = BTreeSet::new();
        let blobs: Vec<&Descriptor> = image
            .walk()
            .flat_map(Tree::blobs)
            .filter(|blob| !blob.media_type.is_nondistributable_layer())
            .filter(|blob| !sent.contains(&blob.digest) && seen.insert(&blob.digest))
            .collect();
        let blobs: Vec<(&Descriptor, bool)> = futures::stream::iter(blobs)
            .map(|blob| async move { Ok::<_, Error>((blob, destination.has_blob(blob).await?)) })
            .buffered(PARALLEL_LOOKUPS)
            .try_collect()
            .await?;
        for (blob, _) in blobs.into_iter().filter(|(_, is_there)| !is_there) {
            missing.blobs += 1;
            missing.bytes += blob.size;
            sent.insert(blob.digest.clone());
        }
        Ok(missing)
    }
}

/// Within what a blob is sent once: a registry mounts it into its other repositories.
fn domain(destination: &dyn Destination) -> String {
    destination.location().map_or_else(
        || destination.name(),
        |location| location.registry.to_string(),
    )
}
