//! One image: its manifests read from the source once, and written to a destination children first.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};

use super::blob::{BlobTransfers, Endpoint};
use super::{Failure, Side};
use crate::oci::{Content, Descriptor, Digest, Manifest, Tag};
use crate::reason::Reason;
use crate::registry::ManifestReference;

/// Deepest nesting of indexes; the image specification allows any, real images use two.
const MAX_DEPTH: usize = 4;
/// Most manifests of one image.
const MAX_MANIFESTS: usize = 1000;
/// Most bytes of all manifests of one image, which are in memory together.
const MAX_TOTAL_BYTES: usize = 16 * 1024 * 1024;
/// Manifests that are read at once.
const PARALLEL_MANIFESTS: usize = 4;

/// A manifest and the blobs that it needs.
#[derive(Debug)]
struct Node {
    manifest: Manifest,
    blobs: Vec<Descriptor>,
}

/// All manifests of an image, each after everything it points at; the image itself is the last.
#[derive(Debug)]
pub(super) struct Image {
    nodes: Vec<Node>,
}

impl Image {
    /// Reads all manifests below `digest`, level by level.
    pub(super) async fn read(source: &Endpoint, digest: &Digest) -> Result<Self, Failure> {
        // From the image downwards; reversed at the end.
        let mut nodes: Vec<Node> = Vec::new();
        // What to read next, and how the manifests above describe it.
        let mut level = BTreeMap::from([(digest.clone(), Vec::<Descriptor>::new())]);
        let mut total_bytes = 0;
        for _ in 0..MAX_DEPTH {
            let manifests: Vec<Manifest> = futures::stream::iter(level.keys())
                .map(|digest| {
                    source
                        .client
                        .get_manifest(&source.repository, ManifestReference::Digest(digest))
                })
                .buffered(PARALLEL_MANIFESTS)
                .try_collect()
                .await
                .map_err(|error| Failure::of_registry(Side::Source, &error))?;
            let mut next_level = BTreeMap::<_, Vec<_>>::new();
            for manifest in manifests {
                total_bytes += manifest.bytes().len();
                for descriptor in level.get(manifest.digest()).into_iter().flatten() {
                    manifest
                        .check_described_by(descriptor)
                        .map_err(|error| Failure::of_manifest(&error))?;
                }
                let (children, blobs) = split(
                    manifest
                        .content()
                        .map_err(|error| Failure::of_manifest(&error))?,
                );
                for child in children {
                    next_level
                        .entry(child.digest.clone())
                        .or_default()
                        .push(child);
                }
                // What is needed at two depths has to come before the deeper of its parents.
                nodes.retain(|node| node.manifest.digest() != manifest.digest());
                nodes.push(Node { manifest, blobs });
            }
            if nodes.len() + next_level.len() > MAX_MANIFESTS || total_bytes > MAX_TOTAL_BYTES {
                return Err(too_large(digest));
            }
            if next_level.is_empty() {
                nodes.reverse();
                return Ok(Self { nodes });
            }
            level = next_level;
        }
        Err(too_large(digest))
    }

    /// Writes what the destination lacks, and the image last: under `tag`, or by its digest.
    pub(super) async fn write(
        &self,
        source: &Endpoint,
        destination: &Endpoint,
        tag: Option<&Tag>,
        blobs: &BlobTransfers,
    ) -> Result<(), Failure> {
        let of_destination = |error| Failure::of_registry(Side::Destination, &error);
        for (index, node) in self.nodes.iter().enumerate() {
            let is_image = index + 1 == self.nodes.len();
            let there = destination
                .client
                .head_manifest(
                    &destination.repository,
                    ManifestReference::Digest(node.manifest.digest()),
                )
                .await
                .map_err(of_destination)?
                .is_some();
            if !there {
                futures::stream::iter(node.blobs.iter().map(Ok))
                    .try_for_each_concurrent(None, |blob| blobs.bring(source, destination, blob))
                    .await?;
            }
            if !there || (is_image && tag.is_some()) {
                let tag = tag.filter(|_| is_image);
                destination
                    .client
                    .put_manifest(&destination.repository, &node.manifest, tag)
                    .await
                    .map_err(of_destination)?;
            }
        }
        Ok(())
    }
}

/// Manifests to read next, and blobs. A child of an index that is no manifest is a blob: build
/// caches are stored like that.
fn split(content: Content) -> (Vec<Descriptor>, Vec<Descriptor>) {
    match content {
        Content::Image { config, layers, .. } => (
            Vec::new(),
            distinct(std::iter::once(config).chain(layers).collect()),
        ),
        Content::Artifact { blobs, .. } => (Vec::new(), distinct(blobs)),
        Content::Index { manifests, .. } => manifests
            .into_iter()
            .partition(|child| child.media_type.is_manifest()),
    }
}

fn distinct(mut blobs: Vec<Descriptor>) -> Vec<Descriptor> {
    let mut seen = BTreeSet::new();
    blobs.retain(|blob| seen.insert(blob.digest.clone()));
    blobs
}

fn too_large(digest: &Digest) -> Failure {
    Failure {
        reason: Reason::SourceInvalid,
        message: format!(
            "index {digest} is too large: at most {MAX_MANIFESTS} manifests, {MAX_DEPTH} levels and {} MiB in all are copied",
            MAX_TOTAL_BYTES / (1024 * 1024)
        ),
    }
}
