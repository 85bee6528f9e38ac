//! Everything that an image consists of: its manifests, read from the source once, and their blobs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::{Failure, Selection, Side};
use crate::oci::{Content, Descriptor, Digest, Manifest};
use crate::reason::Reason;
use crate::registry::ManifestReference;
use crate::transport::Source;

/// Deepest nesting of indexes; the image specification allows any, real images use two.
const MAX_DEPTH: usize = 4;
/// Most manifests of one image.
const MAX_MANIFESTS: usize = 1000;
/// Most bytes of all manifests of one image, which are in memory together.
const MAX_TOTAL_BYTES: usize = 16 * 1024 * 1024;
/// Manifests of one image that are read at once.
const PARALLEL_MANIFESTS: usize = 8;

/// A manifest with what it needs.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) manifest: Manifest,
    pub(super) blobs: Vec<Descriptor>,
    children: Vec<Descriptor>,
}

/// All manifests of an image.
#[derive(Debug)]
pub(super) struct Closure {
    /// By how many levels of other manifests they need: those of the first level need blobs only,
    /// the last level is the image itself.
    levels: Vec<Vec<Node>>,
    root: Digest,
    /// Whether an index names images that are not meant to be copied.
    is_sparse: bool,
}

impl Closure {
    /// Reads all manifests below `root`, level by level.
    pub(super) async fn read(
        source: &Arc<dyn Source>,
        root: Manifest,
        platforms: &Selection,
    ) -> Result<Self, Failure> {
        let mut closure = Self::read_selected(source, root, platforms).await?;
        closure.is_sparse = matches!(platforms, Selection::Sparse(_));
        Ok(closure)
    }

    async fn read_selected(
        source: &Arc<dyn Source>,
        root: Manifest,
        platforms: &Selection,
    ) -> Result<Self, Failure> {
        let root_digest = root.digest().clone();
        let mut total_bytes = root.bytes().len();
        let mut nodes = HashMap::from([(root_digest.clone(), node(root, platforms)?)]);
        let mut wanted = missing(&nodes);
        for _ in 1..MAX_DEPTH {
            if wanted.is_empty() {
                return Self::ordered(nodes, &root_digest);
            }
            if nodes.len() + wanted.len() > MAX_MANIFESTS {
                return Err(too_large(&root_digest));
            }
            let read: Vec<Manifest> = futures::stream::iter(&wanted)
                .map(|digest| source.manifest(ManifestReference::Digest(digest)))
                .buffer_unordered(PARALLEL_MANIFESTS)
                .try_collect()
                .await
                .map_err(|error| Failure::of_place(Side::Source, &error))?;
            for manifest in read {
                total_bytes += manifest.bytes().len();
                nodes.insert(manifest.digest().clone(), node(manifest, &Selection::All)?);
            }
            if total_bytes > MAX_TOTAL_BYTES {
                return Err(too_large(&root_digest));
            }
            wanted = missing(&nodes);
        }
        if wanted.is_empty() {
            Self::ordered(nodes, &root_digest)
        } else {
            Err(too_large(&root_digest))
        }
    }

    /// Sorts the nodes so that each comes after everything it points at, and refuses manifests that
    /// are not what an index says of them.
    fn ordered(mut nodes: HashMap<Digest, Node>, root: &Digest) -> Result<Self, Failure> {
        for child in nodes.values().flat_map(|node| &node.children) {
            if let Some(node) = nodes.get(&child.digest) {
                node.manifest
                    .check_described_by(child)
                    .map_err(|error| Failure::of_manifest(&error))?;
            }
        }
        let mut heights = BTreeMap::new();
        height(root, &nodes, &mut heights);
        let mut levels: Vec<Vec<Node>> = Vec::new();
        for (digest, height) in heights {
            if levels.len() <= height {
                levels.resize_with(height + 1, Vec::new);
            }
            if let (Some(level), Some(node)) = (levels.get_mut(height), nodes.remove(&digest)) {
                level.push(node);
            }
        }
        Ok(Self {
            levels,
            root: root.clone(),
            is_sparse: false,
        })
    }

    /// The image of these manifests, all of them in hand.
    pub(super) fn assemble(
        manifests: impl IntoIterator<Item = Manifest>,
        root: &Digest,
    ) -> Result<Self, Failure> {
        let nodes = manifests
            .into_iter()
            .map(|manifest| Ok((manifest.digest().clone(), node(manifest, &Selection::All)?)))
            .collect::<Result<_, Failure>>()?;
        Self::ordered(nodes, root)
    }

    /// The digest of the image itself.
    pub(super) const fn root_digest(&self) -> &Digest {
        &self.root
    }

    /// What the image itself refers to.
    pub(super) fn subject(&self) -> Option<Digest> {
        let root = self.levels.last()?.first()?;
        let content = root.manifest.content().ok()?;
        content.subject().map(|subject| subject.digest.clone())
    }

    /// Whether an index names images that are left out on purpose.
    pub(super) const fn is_sparse(&self) -> bool {
        self.is_sparse
    }

    /// The manifests that need no manifest of a later level; the image itself is the last.
    pub(super) fn levels(&self) -> &[Vec<Node>] {
        &self.levels
    }

    /// The digests of all manifests.
    pub(super) fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.levels
            .iter()
            .flatten()
            .map(|node| node.manifest.digest())
    }
}

/// How many levels of manifests lie below `digest`. No document can contain its own digest, so the
/// depth of the recursion is that of the reading.
fn height(
    digest: &Digest,
    nodes: &HashMap<Digest, Node>,
    heights: &mut BTreeMap<Digest, usize>,
) -> usize {
    if let Some(known) = heights.get(digest) {
        return *known;
    }
    let children = nodes.get(digest).map_or(&[][..], |node| &node.children);
    let own = children
        .iter()
        .map(|child| height(&child.digest, nodes, heights) + 1)
        .max()
        .unwrap_or(0);
    heights.insert(digest.clone(), own);
    own
}

fn missing(nodes: &HashMap<Digest, Node>) -> BTreeSet<Digest> {
    nodes
        .values()
        .flat_map(|node| &node.children)
        .map(|child| &child.digest)
        .filter(|child| !nodes.contains_key(*child))
        .cloned()
        .collect()
}

/// What a manifest needs. A child of an index that is no manifest is a blob: build caches are
/// stored like that. Layers that are to be fetched from elsewhere stay there.
fn node(manifest: Manifest, platforms: &Selection) -> Result<Node, Failure> {
    let content = manifest
        .content()
        .map_err(|error| Failure::of_manifest(&error))?;
    let (children, mut blobs): (Vec<_>, Vec<_>) = match content {
        Content::Image { config, layers, .. } => {
            (Vec::new(), std::iter::once(config).chain(layers).collect())
        }
        Content::Artifact { blobs, .. } => (Vec::new(), blobs),
        Content::Index { manifests, .. } => {
            let selected = platforms.children(manifest.digest(), manifests)?;
            selected
                .into_iter()
                .partition(|child| child.media_type.is_manifest())
        }
    };
    let mut seen = BTreeSet::new();
    blobs.retain(|blob| !is_elsewhere(blob) && seen.insert(blob.digest.clone()));
    Ok(Node {
        manifest,
        blobs,
        children,
    })
}

/// Whether the content is to be fetched from the addresses in the descriptor, not from a registry.
fn is_elsewhere(blob: &Descriptor) -> bool {
    blob.media_type.is_nondistributable_layer() && !blob.urls.is_empty()
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
