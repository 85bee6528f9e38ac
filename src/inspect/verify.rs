//! Reads every byte of an image and holds it against the digest that leads there.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::{MAX_DEPTH, MAX_MANIFESTS, is_absent};
use crate::copy::{BlobOutcome, Event, Observer};
use crate::oci::{Content, Descriptor, Digest};
use crate::registry::ManifestReference;
use crate::transport::{Source, VerifiedBlob};

/// Blobs that are read at once.
const PARALLEL_BLOBS: usize = 4;

/// What was looked at, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// Manifests and blobs that are what they should be.
    pub sound: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Everything that is not.
    pub faults: Vec<Fault>,
    /// Layers that the image allows to be elsewhere, and that are.
    pub elsewhere: usize,
}

/// One object that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The digest that it should have.
    pub digest: Digest,
    /// What is wrong, in one sentence.
    pub problem: String,
}

/// Verifies the image `root` of `source`, with all its manifests and blobs and its referrers. What is
/// in `seen` was verified before, with another image of the same place. `observer` hears of each blob
/// that is read.
pub async fn verify(
    source: &Arc<dyn Source>,
    root: &Digest,
    seen: &mut BTreeSet<Digest>,
    observer: &dyn Observer,
) -> Verified {
    let mut result = Verified::default();
    let mut blobs = Vec::new();
    let mut manifests = vec![(root.clone(), 0)];
    let mut left = MAX_MANIFESTS;
    while let Some((digest, depth)) = manifests.pop() {
        if !seen.insert(digest.clone()) {
            continue;
        }
        if depth > MAX_DEPTH || left == 0 {
            let problem = "not read: the image has too many manifests or levels of indexes";
            result.fault(&digest, problem.to_owned());
            break;
        }
        left -= 1;
        match read_manifest(source, &digest).await {
            Ok((size, children, content)) => {
                result.sound += 1;
                result.bytes += size;
                manifests.extend(children.into_iter().map(|child| (child, depth + 1)));
                blobs.extend(content);
            }
            Err(problem) => result.fault(&digest, problem),
        }
    }
    blobs.retain(|blob| seen.insert(blob.digest.clone()));
    let mut readings = futures::stream::iter(blobs)
        .map(|blob| read_blob(source, blob, observer))
        .buffer_unordered(PARALLEL_BLOBS);
    while let Some((blob, problem)) = readings.next().await {
        match problem {
            None => {
                result.sound += 1;
                result.bytes += blob.size;
            }
            Some((true, _)) if blob.media_type.is_nondistributable_layer() => {
                result.elsewhere += 1;
            }
            Some((_, problem)) => result.fault(&blob.digest, problem),
        }
    }
    result
        .faults
        .sort_by(|one, other| one.digest.cmp(&other.digest));
    result
}

/// The size of a manifest, the manifests and the blobs that it names.
async fn read_manifest(
    source: &Arc<dyn Source>,
    digest: &Digest,
) -> Result<(u64, Vec<Digest>, Vec<Descriptor>), String> {
    let manifest = source
        .manifest(ManifestReference::Digest(digest))
        .await
        .map_err(|error| error.to_string())?;
    let content = manifest.content().map_err(|error| error.to_string())?;
    let size = manifest.bytes().len() as u64;
    let (manifests, blobs) = match content {
        Content::Index { manifests, .. } => manifests
            .into_iter()
            .partition(|child| child.media_type.is_manifest()),
        Content::Image { config, layers, .. } => {
            (Vec::new(), std::iter::once(config).chain(layers).collect())
        }
        Content::Artifact { blobs, .. } => (Vec::new(), blobs),
    };
    let referrers = source
        .referrers(digest, None)
        .await
        .map_err(|error| error.to_string())?;
    let manifests = manifests
        .into_iter()
        .chain(referrers)
        .map(|child: Descriptor| child.digest)
        .collect();
    Ok((size, manifests, blobs))
}

/// Reads a blob to its end; a problem comes with whether the blob is just not there.
async fn read_blob(
    source: &Arc<dyn Source>,
    blob: Descriptor,
    observer: &dyn Observer,
) -> (Descriptor, Option<(bool, String)>) {
    observer.observe(&Event::BlobStarted {
        blob: &blob,
        destination: &source.name(),
    });
    let content = VerifiedBlob::new(blob.clone(), Arc::new(Arc::clone(source)));
    let read = content
        .read_from(0)
        .try_for_each(|piece| {
            observer.observe(&Event::BlobBytes {
                digest: &blob.digest,
                bytes: piece.len() as u64,
            });
            futures::future::ready(Ok(()))
        })
        .await;
    observer.observe(&Event::BlobEnded {
        digest: &blob.digest,
        outcome: match &read {
            Ok(()) => BlobOutcome::Verified,
            Err(_) => BlobOutcome::Failed,
        },
    });
    let problem = read
        .err()
        .map(|error| (is_absent(&error), error.to_string()));
    (blob, problem)
}

impl Verified {
    fn fault(&mut self, digest: &Digest, problem: String) {
        self.faults.push(Fault {
            digest: digest.clone(),
            problem,
        });
    }

    /// Adds what another image of the same place gave.
    pub fn add(&mut self, other: Self) {
        self.sound += other.sound;
        self.bytes += other.bytes;
        self.faults.extend(other.faults);
        self.elsewhere += other.elsewhere;
    }
}
