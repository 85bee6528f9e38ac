//! Images that change their form on the way: the converted documents, and a source that has them.
//!
//! `crate::convert` knows how documents and layers are converted; here it is decided which layers
//! have to be, where their bytes are kept meanwhile, and that none is compressed twice.

mod layers;
mod reader;
mod schema1;
mod source;
mod spool;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;

use self::layers::{ConvertedLayer, Layers};
use self::source::ConvertedSource;
pub(super) use self::write::Original;
use super::bandwidth::Limiter;
use super::blob::Trust;
use super::closure::Closure;
use super::engine::Goal;
use super::progress::{Counters, Observer};
use super::{Failure, Side};
use crate::convert::{
    Conversion, Error, Format, Memo, NewLayer, convert_index, convert_manifest,
    layers_to_recompress,
};
use crate::oci::{Content, Descriptor, Digest, ImageConfig, MAX_CONFIG_BYTES, Manifest};
use crate::reason::Reason;
use crate::registry::ManifestReference;
use crate::transport::{Source, VerifiedBlob};

/// Images that are converted at once: their layers lie on the disk until they are written.
const PARALLEL_IMAGES: usize = 2;
/// Manifests of a destination that are read to learn what was converted before.
const MAX_REMEMBERED: usize = 64;

/// The conversions of one run.
#[derive(Debug)]
pub(super) struct Conversions {
    conversion: Conversion,
    layers: Arc<Layers>,
    images: Semaphore,
    /// Layers of one image at once.
    parallel_layers: usize,
}

/// What a conversion may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Layers are compressed anew where that has not been done before.
    Compress,
    /// Layers are only taken from what the destination remembers of earlier conversions, which it then
    /// has to tell.
    Remember,
}

/// An image in its new form.
pub(super) struct ConvertedImage {
    /// Where its manifests and blobs can be read.
    pub(super) source: Arc<dyn Source>,
    /// All of it.
    pub(super) closure: Closure,
    /// The manifests of the original that are the same in the new form.
    pub(super) unchanged: Vec<Digest>,
}

impl Conversions {
    pub(super) fn new(
        conversion: Conversion,
        parallel_layers: usize,
        counters: Arc<Counters>,
        observer: Arc<dyn Observer>,
        limiter: Option<Arc<Limiter>>,
        first_wait: std::time::Duration,
    ) -> Self {
        Self {
            conversion,
            layers: Arc::new(Layers::new(counters, observer, limiter, first_wait)),
            images: Semaphore::new(PARALLEL_IMAGES),
            parallel_layers,
        }
    }

    /// Whether all layers of `root` have to be read to know what it becomes.
    pub(super) fn needs_layers(&self, root: &Manifest) -> bool {
        root.media_type().is_schema_1() && self.conversion.format != Format::Preserve
    }

    /// The image `root` of `source`, made into one that can be walked if it is of schema 1 and may be
    /// converted, and where it can be read.
    pub(super) async fn readable(
        &self,
        source: &Arc<dyn Source>,
        root: Manifest,
    ) -> Result<(Arc<dyn Source>, Manifest), Failure> {
        if self.needs_layers(&root) {
            self.convert_schema_1(source, &root).await
        } else {
            Ok((Arc::clone(source), root))
        }
    }

    /// Waits until there is room for one more image.
    pub(super) async fn room(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.images.acquire().await.ok()
    }

    /// What the place of `goal` remembers of earlier conversions: what it has under the digest
    /// `current`.
    pub(super) async fn memo(
        &self,
        goal: &Goal<'_>,
        current: Option<&Digest>,
        trust: Trust,
        effort: Effort,
    ) -> Result<Memo, Failure> {
        let mut memo = Memo::default();
        let (Some(current), Some(_)) = (current, self.conversion.compression) else {
            return Ok(memo);
        };
        if trust == Trust::Nothing && effort == Effort::Compress {
            return Ok(memo);
        }
        let place = &goal.destination.place;
        let mut wanted = vec![current.clone()];
        let mut read = 0;
        while let Some(digest) = wanted.pop() {
            if read == MAX_REMEMBERED {
                break;
            }
            read += 1;
            let manifest = match place.manifest(ManifestReference::Digest(&digest)).await {
                Ok(manifest) => manifest,
                // A place that has forgotten only costs the work of doing it again.
                Err(_) if effort == Effort::Compress => continue,
                Err(error) => return Err(Failure::of_place(Side::Destination, &error)),
            };
            if let Ok(Content::Index { manifests, .. }) = manifest.content() {
                wanted.extend(
                    manifests
                        .into_iter()
                        .filter(|child| child.media_type.is_manifest())
                        .map(|child| child.digest),
                );
            }
            memo.remember(&manifest);
        }
        Ok(memo)
    }

    /// Converts the image that `closure` is, as it is to be written to `goal`. [`None`] when a layer
    /// would have to be compressed that is only to be looked up.
    pub(super) async fn convert(
        &self,
        source: &Arc<dyn Source>,
        closure: &Closure,
        goal: &Goal<'_>,
        memo: &Memo,
        effort: Effort,
    ) -> Result<Option<ConvertedImage>, Failure> {
        let mut converted: BTreeMap<Digest, Manifest> = BTreeMap::new();
        let mut made = BTreeMap::new();
        let mut unchanged = Vec::new();
        let mut root = None;
        for node in closure.levels().iter().flatten() {
            let manifest = &node.manifest;
            let new = if manifest.media_type().is_index() {
                convert_index(manifest, &self.conversion, &converted)
            } else {
                let new_layers = self
                    .new_layers(source, manifest, goal, memo, effort, &mut made)
                    .await?;
                let Some(new_layers) = new_layers else {
                    return Ok(None);
                };
                convert_manifest(manifest, &self.conversion, &new_layers)
            };
            let is_root = manifest.digest() == closure.root_digest();
            let new = match new {
                // Its index is written without it, and says so in the log.
                Err(Error::Unsupported { .. })
                    if self.conversion.leave_out_unsupported && !is_root =>
                {
                    tracing::warn!(source = source.name(), manifest = %manifest.digest(), "left out: the format cannot express it");
                    continue;
                }
                new => new.map_err(|error| Failure::of_conversion(&error))?,
            };
            if new.digest() == manifest.digest() {
                unchanged.push(new.digest().clone());
            }
            if is_root {
                root = Some(new.digest().clone());
            }
            converted.insert(manifest.digest().clone(), new);
        }
        let root = root.unwrap_or_else(|| closure.root_digest().clone());
        let closure = Closure::assemble(converted.into_values(), &root)?;
        Ok(Some(ConvertedImage {
            source: Arc::new(ConvertedSource::new(
                Arc::clone(source),
                Arc::clone(&self.layers),
                made,
            )),
            closure,
            unchanged,
        }))
    }

    /// The layers of `manifest` in their new form, from memory where there is one; [`None`] when one
    /// is not remembered and not to be made.
    async fn new_layers(
        &self,
        source: &Arc<dyn Source>,
        manifest: &Manifest,
        goal: &Goal<'_>,
        memo: &Memo,
        effort: Effort,
        made: &mut BTreeMap<Digest, ConvertedLayer>,
    ) -> Result<Option<Vec<NewLayer>>, Failure> {
        let positions = layers_to_recompress(manifest, &self.conversion)
            .map_err(|error| Failure::of_conversion(&error))?;
        let (Some(compression), false) = (self.conversion.compression, positions.is_empty()) else {
            return Ok(Some(Vec::new()));
        };
        let content = manifest
            .content()
            .map_err(|error| Failure::of_manifest(&error))?;
        let Content::Image { config, layers, .. } = content else {
            return Ok(Some(Vec::new()));
        };
        let diff_ids = read_diff_ids(source, manifest.digest(), &config, layers.len()).await?;
        let tasks = positions.into_iter().filter_map(|position| {
            let layer = layers.get(position)?.clone();
            let diff_id = diff_ids.get(position)?.clone();
            Some((
                position,
                layers::Task {
                    layer,
                    diff_id,
                    compression,
                },
            ))
        });
        let done: Option<Vec<(usize, ConvertedLayer)>> = futures::stream::iter(tasks)
            .map(|(position, task)| {
                let config = &config.digest;
                async move {
                    let remembered =
                        remembered(memo, goal, config, position, &task, effort).await?;
                    let layer = match (remembered, effort) {
                        (Some((digest, size)), _) => ConvertedLayer::remembered(task, digest, size),
                        (None, Effort::Remember) => return Ok(None),
                        (None, Effort::Compress) => self.layers.convert(source, task).await?,
                    };
                    Ok::<_, Failure>(Some((position, layer)))
                }
            })
            .buffered(self.parallel_layers)
            .try_collect::<Vec<_>>()
            .await?
            .into_iter()
            .collect();
        Ok(done.map(|done| {
            done.into_iter()
                .map(|(position, layer)| {
                    let new = NewLayer {
                        position,
                        digest: layer.digest.clone(),
                        size: layer.size,
                        compression,
                    };
                    made.insert(layer.digest.clone(), layer);
                    new
                })
                .collect()
        }))
    }
}

/// What the layer of `task` became earlier at this destination.
async fn remembered(
    memo: &Memo,
    goal: &Goal<'_>,
    config: &Digest,
    position: usize,
    task: &layers::Task,
    effort: Effort,
) -> Result<Option<(Digest, u64)>, Failure> {
    if let Some(known) = memo.annotated(&task.layer.digest, task.compression) {
        return Ok(Some(known));
    }
    let Some(layer) = memo.of_docker_image(config, position, task.compression) else {
        return Ok(None);
    };
    // Another tool may have made it. Made anew it could be another one, so it has to be there.
    let is_there = match goal.destination.place.has_blob(layer).await {
        Ok(is_there) => is_there,
        Err(_) if effort == Effort::Compress => false,
        Err(error) => return Err(Failure::of_place(Side::Destination, &error)),
    };
    Ok(is_there.then(|| (layer.digest.clone(), layer.size)))
}

/// The digests of the uncompressed layers, of which there has to be one for each layer.
async fn read_diff_ids(
    source: &Arc<dyn Source>,
    manifest: &Digest,
    config: &Descriptor,
    layers: usize,
) -> Result<Vec<Digest>, Failure> {
    let inconsistent = |problem: String| {
        Failure::of_conversion(&Error::Inconsistent {
            digest: manifest.clone(),
            problem,
        })
    };
    if config.size > MAX_CONFIG_BYTES as u64 {
        return Err(inconsistent(format!(
            "its configuration has more than {MAX_CONFIG_BYTES} bytes"
        )));
    }
    let bytes = match &config.data {
        Some(data) => data.to_vec(),
        None => VerifiedBlob::new(config.clone(), Arc::new(Arc::clone(source)))
            .read_from(0)
            .try_fold(Vec::new(), |mut all, piece| async move {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await
            .map_err(|error| Failure::of_place(Side::Source, &error))?,
    };
    let parsed = ImageConfig::parse(&bytes).map_err(|error| inconsistent(error.to_string()))?;
    if parsed.diff_ids.len() == layers {
        Ok(parsed.diff_ids)
    } else {
        Err(inconsistent(format!(
            "it has {layers} layers, but its configuration names {}",
            parsed.diff_ids.len()
        )))
    }
}

impl Failure {
    /// An image that cannot be had in the form that was asked for.
    fn of_conversion(error: &Error) -> Self {
        let reason = match error {
            Error::Manifest(_) | Error::Inconsistent { .. } => Reason::SourceInvalid,
            Error::Unsupported { .. } => Reason::ConversionUnsupported,
        };
        Self {
            reason,
            message: error.to_string(),
        }
    }
}
