//! When an image was created, as its configuration says.

use std::sync::Arc;

use futures::TryStreamExt as _;
use jiff::Timestamp;

use super::MAX_DEPTH;
use crate::copy::{Failure, Side};
use crate::oci::{Content, Descriptor, Digest, ImageConfig, MAX_CONFIG_BYTES};
use crate::registry::ManifestReference;
use crate::transport::{Source, VerifiedBlob};

/// When the image `digest` of `source` was created. [`None`] when it does not say, or says nothing that is a
/// time. Of an index it is the first image of a platform that counts.
pub async fn creation_time(
    source: &Arc<dyn Source>,
    digest: &Digest,
) -> Result<Option<Timestamp>, Failure> {
    let of_source = |error| Failure::of_place(Side::Source, &error);
    let mut digest = digest.clone();
    for _ in 0..MAX_DEPTH {
        let manifest = source.manifest(ManifestReference::Digest(&digest)).await;
        let manifest = manifest.map_err(of_source)?;
        let content = manifest.content();
        match content.map_err(|error| Failure::of_manifest(&error))? {
            Content::Image { config, .. } => {
                let config = read(source, config).await.map_err(of_source)?;
                return Ok(config.and_then(|config| config.created?.parse().ok()));
            }
            Content::Index { manifests, .. } => {
                let first = manifests.iter().find(|child| !child.is_attestation());
                match first {
                    Some(first) => digest = first.digest.clone(),
                    None => return Ok(None),
                }
            }
            Content::Artifact { .. } => return Ok(None),
        }
    }
    Ok(None)
}

/// A configuration; [`None`] for one that is not an image's.
async fn read(
    source: &Arc<dyn Source>,
    config: Descriptor,
) -> Result<Option<ImageConfig>, crate::transport::Error> {
    if config.size > MAX_CONFIG_BYTES as u64 {
        return Ok(None);
    }
    let content = VerifiedBlob::new(config, Arc::new(Arc::clone(source)));
    let pieces = content.read_from(0).map_ok(|piece| piece.to_vec());
    let bytes = pieces.try_concat().await?;
    Ok(ImageConfig::parse(&bytes).ok())
}
