//! An image as a tree: index, manifests, configurations, layers, referrers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::{MAX_DEPTH, MAX_MANIFESTS, PARALLEL_MANIFESTS, is_absent};
use crate::oci::{Content, Descriptor, Digest, Manifest, ManifestError, MediaType, Platform};
use crate::registry::ManifestReference;
use crate::transport::{Error, Source};

/// One manifest with everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tree {
    /// The manifest, as the one above describes it.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// Whether the place does not have it: an index may name more than was copied.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// The manifests of an index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Self>,
    /// The configuration of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Descriptor>,
    /// The layers of an image, or the blobs of an artifact.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Descriptor>,
    /// What says that it is about this manifest: signatures, attestations, SBOMs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<Self>,
}

/// Why an image cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The place failed.
    #[error(transparent)]
    Place(#[from] Error),
    /// A manifest cannot be read in one way only.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// More than fits.
    #[error(
        "image {image} has more than {MAX_MANIFESTS} manifests or {MAX_DEPTH} levels of indexes; name one of its manifests by digest"
    )]
    TooLarge {
        /// The digest of the image.
        image: Digest,
    },
}

/// Reads the image `root` of `source` down to the descriptors of its blobs.
pub async fn read_tree(
    source: &Arc<dyn Source>,
    root: Manifest,
    with_referrers: bool,
) -> Result<Tree, TreeError> {
    let reader = Reader {
        source,
        image: root.digest().clone(),
        with_referrers,
        read: AtomicUsize::new(1),
    };
    let size = root.bytes().len() as u64;
    let mut descriptor = Descriptor::new(root.media_type().clone(), root.digest().clone(), size);
    descriptor.artifact_type = match root.content()? {
        Content::Image { artifact_type, .. }
        | Content::Index { artifact_type, .. }
        | Content::Artifact { artifact_type, .. } => artifact_type,
    };
    reader.grow(descriptor, root, MAX_DEPTH).await
}

struct Reader<'a> {
    source: &'a Arc<dyn Source>,
    image: Digest,
    with_referrers: bool,
    /// Manifests so far.
    read: AtomicUsize,
}

impl Reader<'_> {
    fn grow(
        &self,
        descriptor: Descriptor,
        manifest: Manifest,
        levels: usize,
    ) -> BoxFuture<'_, Result<Tree, TreeError>> {
        async move {
            let mut tree = Tree::leaf(descriptor);
            match manifest.content()? {
                Content::Index { manifests, .. } => {
                    tree.manifests = self.read_all(manifests, levels).await?;
                }
                Content::Image { config, layers, .. } => {
                    tree.config = Some(config);
                    tree.layers = layers;
                }
                Content::Artifact { blobs, .. } => tree.layers = blobs,
            }
            if self.with_referrers {
                let referrers = self.source.referrers(manifest.digest(), None).await?;
                tree.referrers = self.read_all(referrers, levels).await?;
            }
            Ok(tree)
        }
        .boxed()
    }

    async fn read_all(
        &self,
        manifests: Vec<Descriptor>,
        levels: usize,
    ) -> Result<Vec<Tree>, TreeError> {
        let before = self.read.fetch_add(manifests.len(), Ordering::Relaxed);
        if before + manifests.len() > MAX_MANIFESTS || (levels == 0 && !manifests.is_empty()) {
            return Err(TreeError::TooLarge {
                image: self.image.clone(),
            });
        }
        futures::stream::iter(manifests)
            .map(|descriptor| self.read_one(descriptor, levels - 1))
            .buffered(PARALLEL_MANIFESTS)
            .try_collect()
            .await
    }

    async fn read_one(&self, descriptor: Descriptor, levels: usize) -> Result<Tree, TreeError> {
        if !descriptor.media_type.is_manifest() {
            return Ok(Tree::leaf(descriptor));
        }
        let reference = ManifestReference::Digest(&descriptor.digest);
        match self.source.manifest(reference).await {
            Ok(manifest) => self.grow(descriptor, manifest, levels).await,
            Err(error) if is_absent(&error) => Ok(Tree {
                absent: true,
                ..Tree::leaf(descriptor)
            }),
            Err(error) => Err(error.into()),
        }
    }
}

impl Tree {
    /// A manifest of which nothing below is known.
    pub(crate) const fn leaf(descriptor: Descriptor) -> Self {
        Self {
            descriptor,
            absent: false,
            manifests: Vec::new(),
            config: None,
            layers: Vec::new(),
            referrers: Vec::new(),
        }
    }

    /// This manifest and all below it, referrers included.
    pub fn walk(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        Box::new(
            std::iter::once(self).chain(
                self.manifests
                    .iter()
                    .chain(&self.referrers)
                    .flat_map(Self::walk),
            ),
        )
    }

    /// Leaves out the images of an index that are for other platforms, with their attestations. What
    /// names no platform belongs to all.
    pub fn retain_platforms(&mut self, platforms: &[Platform]) {
        let is_chosen = |child: &Self| {
            let platform = child.descriptor.platform.as_ref();
            platform.is_none_or(|found| {
                found.is_unknown() || platforms.iter().any(|one| found.matches(one))
            })
        };
        let others: Vec<Digest> = self
            .manifests
            .iter()
            .filter(|child| !is_chosen(child))
            .map(|child| child.descriptor.digest.clone())
            .collect();
        self.manifests.retain(|child| {
            let about = child.descriptor.attests();
            !others.contains(about.as_ref().unwrap_or(&child.descriptor.digest))
        });
    }

    /// Leaves out the referrers, of this manifest and of all below it, that are of other types. The type
    /// of a referrer is its artifact type, or else the media type of its configuration.
    pub fn retain_referrers(&mut self, types: &[MediaType]) {
        self.referrers.retain(|referrer| {
            let config = referrer.config.as_ref().map(|config| &config.media_type);
            let kind = referrer.descriptor.artifact_type.as_ref().or(config);
            kind.is_some_and(|kind| types.contains(kind))
        });
        for child in self.manifests.iter_mut().chain(&mut self.referrers) {
            child.retain_referrers(types);
        }
    }

    /// The blobs of this manifest itself: its configuration, then its layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers)
    }

    /// What kind of artifact this is, when it is none of the usual images: its artifact type, or
    /// the media type of its configuration.
    #[must_use]
    pub fn artifact_type(&self) -> Option<&MediaType> {
        let config = self.config.as_ref().map(|config| &config.media_type);
        self.descriptor.artifact_type.as_ref().or_else(|| {
            config.filter(|kind| !kind.is_image_config() && kind.as_str() != MediaType::OCI_EMPTY)
        })
    }
}
