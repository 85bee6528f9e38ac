//! What there is of an image: at the registry, after it was pushed, and in the output, when it is doubted.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt as _;

use crate::copy::{Failure, Side};
use crate::oci::{Content, Descriptor, Digest, Manifest, MediaType};
use crate::registry::ManifestReference;
use crate::transport::{Destination, Source, VerifiedBlob};

/// An image as a registry stores it.
#[derive(Debug)]
pub(super) struct Size {
    pub(super) media_type: MediaType,
    pub(super) bytes: u64,
}

/// Reads the image `digest` at the registry.
pub(super) async fn size_of(
    destination: &dyn Destination,
    digest: &Digest,
) -> Result<Size, Failure> {
    let manifest = destination
        .manifest(ManifestReference::Digest(digest))
        .await;
    let manifest = manifest.map_err(|error| Failure::of_place(Side::Destination, &error))?;
    let blobs = blobs(&manifest)?;
    let bytes = blobs.values().map(|blob| blob.size);
    Ok(Size {
        media_type: manifest.media_type().clone(),
        bytes: bytes.fold(manifest.bytes().len() as u64, u64::saturating_add),
    })
}

/// Reads all bytes of the image `digest` of a source, and compares them with their digests.
pub(super) async fn verify(source: &Arc<dyn Source>, digest: &Digest) -> Result<(), Failure> {
    let of_place = |error| Failure::of_place(Side::Source, &error);
    let manifest = source.manifest(ManifestReference::Digest(digest)).await;
    for blob in blobs(&manifest.map_err(of_place)?)?.into_values() {
        let content = VerifiedBlob::new(blob, Arc::new(Arc::clone(source))).read_from(0);
        let reading = content.try_for_each(|_| std::future::ready(Ok(())));
        reading.await.map_err(of_place)?;
    }
    Ok(())
}

/// The blobs of an image, each once.
fn blobs(manifest: &Manifest) -> Result<BTreeMap<Digest, Descriptor>, Failure> {
    let content = manifest.content();
    let blobs = match content.map_err(|error| Failure::of_manifest(&error))? {
        Content::Image { config, layers, .. } => [vec![config], layers].concat(),
        Content::Artifact { blobs, .. } => blobs,
        Content::Index { manifests, .. } => manifests,
    };
    Ok(blobs
        .into_iter()
        .map(|blob| (blob.digest.clone(), blob))
        .collect())
}
