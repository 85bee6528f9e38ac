//! The source of an image that was converted: the original, with the new layers beside the old ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::layers::{ConvertedLayer, Layers};
use crate::oci::{Descriptor, Digest, Manifest, Tag};
use crate::registry::ManifestReference;
use crate::transport::{ByteStream, Error, Outcome, RepositoryLocation, Source};

/// The original and what was made of its layers.
#[derive(Debug)]
pub(super) struct ConvertedSource {
    original: Arc<dyn Source>,
    layers: Arc<Layers>,
    made: BTreeMap<Digest, ConvertedLayer>,
}

impl ConvertedSource {
    pub(super) const fn new(
        original: Arc<dyn Source>,
        layers: Arc<Layers>,
        made: BTreeMap<Digest, ConvertedLayer>,
    ) -> Self {
        Self {
            original,
            layers,
            made,
        }
    }
}

impl Source for ConvertedSource {
    fn name(&self) -> String {
        self.original.name()
    }

    fn location(&self) -> Option<RepositoryLocation<'_>> {
        self.original.location()
    }

    fn find_manifest<'a>(
        &'a self,
        reference: ManifestReference<'a>,
    ) -> Outcome<'a, Option<Digest>> {
        self.original.find_manifest(reference)
    }

    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        self.original.manifest(reference)
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> ByteStream {
        let Some(layer) = self.made.get(&blob.digest).cloned() else {
            return self.original.blob(blob, offset);
        };
        let (original, layers) = (Arc::clone(&self.original), Arc::clone(&self.layers));
        let name = self.name();
        stream::once(async move {
            match layers.content(&original, &layer).await {
                Ok(spool) => Ok(spool.read_from(offset)),
                Err(failure) => Err(Error::Malformed {
                    place: name,
                    problem: failure.message,
                }),
            }
        })
        .try_flatten()
        .boxed()
    }

    fn blob_size<'a>(&'a self, digest: &'a Digest) -> Outcome<'a, Option<u64>> {
        self.original.blob_size(digest)
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        tags: Option<&'a BTreeSet<Tag>>,
    ) -> Outcome<'a, Vec<Descriptor>> {
        self.original.referrers(subject, tags)
    }

    fn tags(&self, limit: usize) -> Outcome<'_, Option<BTreeSet<Tag>>> {
        self.original.tags(limit)
    }
}
