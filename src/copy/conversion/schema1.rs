//! Images of Docker's schema 1 as sources of the images that they are made into.
//!
//! What the layers unpack to has to be known, so each is read once; nothing of them is kept. They
//! are then copied like those of any other image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::Conversions;
use crate::convert::{Measured, Schema1Image};
use crate::copy::{Failure, Side};
use crate::oci::{Descriptor, Digest, Manifest, MediaType, Tag};
use crate::reason::Reason;
use crate::registry::ManifestReference;
use crate::transport::{ByteStream, Error, Outcome, RepositoryLocation, Source};

/// The source of an image of schema 1, with the image of schema 2 that was made of it.
#[derive(Debug)]
struct Schema2Source {
    original: Arc<dyn Source>,
    manifest: Manifest,
    config: Bytes,
}

impl Conversions {
    /// The image of schema 1 `root` as one of schema 2, and where it can be read.
    pub(in crate::copy) async fn convert_schema_1(
        &self,
        source: &Arc<dyn Source>,
        root: &Manifest,
    ) -> Result<(Arc<dyn Source>, Manifest), Failure> {
        let image = Schema1Image::read(root).map_err(|error| Failure::of_conversion(&error))?;
        let distinct: BTreeSet<&Digest> = image.layers().collect();
        let measured: BTreeMap<Digest, (u64, Measured)> = stream::iter(distinct)
            .map(|digest| self.measure(source, root.digest(), digest))
            .buffer_unordered(self.parallel_layers)
            .try_collect()
            .await?;
        let layers: Vec<_> = image
            .layers()
            .filter_map(|digest| measured.get(digest).cloned())
            .collect();
        let (manifest, config) = image
            .convert(&layers)
            .map_err(|error| Failure::of_conversion(&error))?;
        tracing::info!(
            source = source.name(),
            manifest = %root.digest(),
            "schema 1 is converted, its signature is about the original and left behind"
        );
        let source = Arc::new(Schema2Source {
            original: Arc::clone(source),
            manifest: manifest.clone(),
            config,
        });
        Ok((source, manifest))
    }

    async fn measure(
        &self,
        source: &Arc<dyn Source>,
        manifest: &Digest,
        digest: &Digest,
    ) -> Result<(Digest, (u64, Measured)), Failure> {
        let size = source
            .blob_size(digest)
            .await
            .map_err(|error| Failure::of_place(Side::Source, &error))?
            .ok_or_else(|| Failure {
                reason: Reason::SourceInvalid,
                message: format!(
                    "{} does not say how long layer {digest} of {manifest} is, or does not have it: push the image again",
                    source.name()
                ),
            })?;
        let media_type = MediaType::new(MediaType::DOCKER_LAYER_GZIP);
        let layer = Descriptor::new(media_type, digest.clone(), size);
        let measured = self.layers.measure(source, &layer).await?;
        Ok((digest.clone(), (size, measured)))
    }
}

impl Source for Schema2Source {
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
        match reference {
            ManifestReference::Digest(digest) if digest == self.manifest.digest() => {
                futures::future::ready(Ok(self.manifest.clone())).boxed()
            }
            _ => self.original.manifest(reference),
        }
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> ByteStream {
        if blob.digest != Digest::sha256(&self.config) {
            return self.original.blob(blob, offset);
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.config.slice(start.min(self.config.len())..);
        stream::iter([Ok::<_, Error>(rest)]).boxed()
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
