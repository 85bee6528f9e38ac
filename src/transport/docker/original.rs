//! The manifests that an image had before it was saved: Docker 25 and later write an OCI layout into
//! the same archive. With them the image keeps its digest.

use std::collections::{BTreeSet, VecDeque};

use super::super::Error;
use super::super::archive::ArchiveFile;
use super::table::SavedImage;
use crate::oci::{Content, Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest, MediaType, Reference};

/// The table of contents of a layout.
const INDEX: &str = "index.json";
/// The annotation with the whole name of an image, which containerd and Docker write.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// Most manifests of one image.
const MAX_MANIFESTS: usize = 1000;
/// Most bytes of the manifests of one image, which are in memory together.
const MAX_TOTAL_BYTES: usize = 16 * 1024 * 1024;

/// An entry of the layout with everything below it.
struct Tree {
    /// The entry itself first.
    manifests: Vec<Manifest>,
    /// The manifest with the configuration that was looked for, by its place in the list.
    image: Option<usize>,
    /// Whether all that the manifests point at is in the archive. Docker saves an index of which it
    /// has pulled one platform only.
    is_complete: bool,
}

/// The manifest of `image`, whose configuration is `config`, and those below it; empty when the
/// archive has none.
///
/// That is the index which the image was pulled by if the archive has all of it, and else the
/// manifest of the one image in it.
pub(super) async fn find(
    file: &ArchiveFile,
    image: &SavedImage,
    config: &Digest,
) -> Result<Vec<Manifest>, Error> {
    let Some(extent) = file.find(INDEX)? else {
        return Ok(Vec::new());
    };
    let bytes = file.read(extent, MAX_MANIFEST_BYTES, INDEX).await?;
    let layout = Manifest::new(bytes, MediaType::new(MediaType::OCI_INDEX));
    let mut entries = match content(file, &layout)? {
        Content::Index { manifests, .. } => manifests,
        Content::Image { .. } | Content::Artifact { .. } => Vec::new(),
    };
    entries.sort_by_key(|entry| !is_called(entry, image));
    for entry in &entries {
        let Some(mut tree) = read_tree(file, entry, config).await? else {
            continue;
        };
        if let Some(index) = tree.image {
            return Ok(if tree.is_complete {
                tree.manifests
            } else {
                vec![tree.manifests.swap_remove(index)]
            });
        }
    }
    Ok(Vec::new())
}

fn is_called(entry: &Descriptor, image: &SavedImage) -> bool {
    entry
        .annotations
        .get(IMAGE_NAME)
        .and_then(|name| name.parse::<Reference>().ok())
        .is_some_and(|name| image.names.contains(&name))
}

/// Reads everything below `entry`; [`None`] when it is not in the archive itself.
async fn read_tree(
    file: &ArchiveFile,
    entry: &Descriptor,
    config: &Digest,
) -> Result<Option<Tree>, Error> {
    let mut tree = Tree {
        manifests: Vec::new(),
        image: None,
        is_complete: true,
    };
    let mut wanted = VecDeque::from([entry.clone()]);
    let mut seen = BTreeSet::from([entry.digest.clone()]);
    let mut total_bytes = 0;
    while let Some(descriptor) = wanted.pop_front() {
        let Some(manifest) = read_manifest(file, &descriptor).await? else {
            tree.is_complete = false;
            continue;
        };
        total_bytes += manifest.bytes().len();
        if tree.manifests.len() == MAX_MANIFESTS || total_bytes > MAX_TOTAL_BYTES {
            return Err(file.malformed(format!(
                "its {INDEX} leads to more than {MAX_MANIFESTS} manifests or {MAX_TOTAL_BYTES} bytes of them"
            )));
        }
        let blobs = match content(file, &manifest)? {
            Content::Index { manifests, .. } => {
                let (children, blobs): (Vec<_>, Vec<_>) = manifests
                    .into_iter()
                    .partition(|child| child.media_type.is_manifest());
                wanted.extend(
                    children
                        .into_iter()
                        .filter(|child| seen.insert(child.digest.clone())),
                );
                blobs
            }
            Content::Image {
                config: own,
                layers,
                ..
            } => {
                if own.digest == *config && tree.image.is_none() {
                    tree.image = Some(tree.manifests.len());
                }
                std::iter::once(own).chain(layers).collect()
            }
            Content::Artifact { blobs, .. } => blobs,
        };
        for blob in &blobs {
            let elsewhere = blob.media_type.is_nondistributable_layer() && !blob.urls.is_empty();
            tree.is_complete &= elsewhere || file.blob(&blob.digest)?.is_some();
        }
        tree.manifests.push(manifest);
    }
    Ok((!tree.manifests.is_empty()).then_some(tree))
}

async fn read_manifest(
    file: &ArchiveFile,
    descriptor: &Descriptor,
) -> Result<Option<Manifest>, Error> {
    let Some(extent) = file.blob(&descriptor.digest)? else {
        return Ok(None);
    };
    let bytes = file.read(extent, MAX_MANIFEST_BYTES, "manifest").await?;
    let manifest = Manifest::verified(bytes, descriptor.media_type.clone(), &descriptor.digest)
        .map_err(|error| file.malformed(error.to_string()))?;
    manifest
        .check_described_by(descriptor)
        .map_err(|error| file.malformed(error.to_string()))?;
    Ok(Some(manifest))
}

fn content(file: &ArchiveFile, manifest: &Manifest) -> Result<Content, Error> {
    manifest
        .content()
        .map_err(|error| file.malformed(error.to_string()))
}
