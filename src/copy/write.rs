//! Writes one image to one destination: blobs, then manifests children first, the tag last.

use std::sync::Arc;

use futures::TryStreamExt as _;

use super::blob::{BlobTransfers, Trust};
use super::closure::{Closure, Node};
use super::place::DestinationState;
use super::tags::{TagWrite, Tagged};
use super::{Failure, Side};
use crate::oci::{Digest, Tag};
use crate::reason::Reason;
use crate::registry::ManifestReference;
use crate::transport::{Error, Existing, Source};

/// Manifests of one image that are written at once, each with its blobs.
const PARALLEL_MANIFESTS: usize = 8;
/// How often an image is written anew because its destination has lost a part of it.
const REPAIRS: u32 = 4;

/// One destination being written to.
pub(super) struct Writer<'a> {
    pub(super) source: &'a Arc<dyn Source>,
    pub(super) destination: &'a DestinationState,
    pub(super) blobs: &'a BlobTransfers,
}

/// Why a manifest was not written.
enum WriteError {
    /// The destination says that a part of it is missing.
    ContentMissing(Failure),
    /// The tag points at something else, which stays.
    TagTaken(Digest),
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for WriteError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl WriteError {
    fn of_destination(error: &Error) -> Self {
        let failure = Failure::of_place(Side::Destination, error);
        if error.is_content_missing() {
            Self::ContentMissing(failure)
        } else {
            Self::Failed(failure)
        }
    }
}

impl Writer<'_> {
    /// Writes everything that the destination lacks, and moves `tag` last, if it may be moved.
    ///
    /// A destination that turns out to lack what it was believed to have is given everything anew.
    pub(super) async fn write(
        &self,
        closure: &Closure,
        tag: Option<TagWrite<'_>>,
        trust: Trust,
    ) -> Result<Tagged, Failure> {
        for node in closure.levels().last().into_iter().flatten() {
            self.destination
                .place
                .accepts(&node.manifest)
                .map_err(|error| Failure::of_place(Side::Destination, &error))?;
        }
        let mut trust = trust;
        // Registries that are not consistent at once need it.
        let mut wait = self.blobs.first_wait;
        for _ in 0..REPAIRS {
            match self.write_once(closure, tag, trust).await {
                Ok(()) => return Ok(Tagged::Image),
                Err(WriteError::TagTaken(other)) => return Ok(Tagged::Other(other)),
                Err(WriteError::Failed(failure)) => return Err(failure),
                Err(WriteError::ContentMissing(failure)) => {
                    tracing::warn!(destination = self.destination.place.name(), %failure, "the destination lacks a part of the image, all of it is looked up anew");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                    trust = Trust::Nothing;
                }
            }
        }
        match self.write_once(closure, tag, trust).await {
            Ok(()) => Ok(Tagged::Image),
            Err(WriteError::TagTaken(other)) => Ok(Tagged::Other(other)),
            Err(WriteError::ContentMissing(_)) if closure.is_sparse() => Err(Failure {
                reason: Reason::DestinationUnsupported,
                message: format!(
                    "{} takes no index without all of its images: let the index be rewritten for the platforms, or copy all of them",
                    self.destination.place.name()
                ),
            }),
            Err(WriteError::Failed(failure) | WriteError::ContentMissing(failure)) => Err(failure),
        }
    }

    /// Whether this run has put the whole image in place.
    pub(super) async fn has_written(&self, image: &Digest) -> bool {
        *self.destination.manifest(image).lock().await
    }

    async fn write_once(
        &self,
        closure: &Closure,
        tag: Option<TagWrite<'_>>,
        trust: Trust,
    ) -> Result<(), WriteError> {
        let Some((last, levels)) = closure.levels().split_last() else {
            return Ok(());
        };
        for level in levels {
            self.write_level(level, None, trust).await?;
        }
        self.write_level(last, tag, trust).await
    }

    async fn write_level(
        &self,
        level: &[Node],
        tag: Option<TagWrite<'_>>,
        trust: Trust,
    ) -> Result<(), WriteError> {
        futures::stream::iter(level.iter().map(Ok))
            .try_for_each_concurrent(PARALLEL_MANIFESTS, |node| self.write_node(node, tag, trust))
            .await
    }

    async fn write_node(
        &self,
        node: &Node,
        tag: Option<TagWrite<'_>>,
        trust: Trust,
    ) -> Result<(), WriteError> {
        let place = &self.destination.place;
        let state = self.destination.manifest(node.manifest.digest());
        let mut written = state.lock().await;
        let there = match trust {
            Trust::Nothing => false,
            Trust::Known => *written || self.is_there(node.manifest.digest()).await?,
        };
        if !there {
            futures::stream::iter(node.blobs.iter().map(Ok))
                .try_for_each_concurrent(None, |blob| {
                    self.blobs.bring(self.source, self.destination, blob, trust)
                })
                .await?;
        }
        let of_destination = |error| WriteError::of_destination(&error);
        if let Some(tag) = tag {
            let tagged = self.write_tag(&node.manifest, tag).await;
            if let Tagged::Other(other) = tagged.map_err(of_destination)? {
                return Err(WriteError::TagTaken(other));
            }
        } else if !there {
            place
                .put_manifest(&node.manifest, None)
                .await
                .map_err(of_destination)?;
        }
        *written = true;
        Ok(())
    }

    async fn is_there(&self, digest: &Digest) -> Result<bool, WriteError> {
        let of_destination = |error| WriteError::of_destination(&error);
        if *self.destination.existing().await == Existing::Nothing {
            return Ok(false);
        }
        Ok(self
            .destination
            .find_manifest(ManifestReference::Digest(digest))
            .await
            .map_err(of_destination)?
            .is_some())
    }
}

/// Reads what a place has under `tag`, or under `digest` without one.
pub(super) async fn find(
    destination: &DestinationState,
    tag: Option<&Tag>,
    digest: &Digest,
) -> Result<Option<Digest>, Error> {
    let reference = tag.map_or(ManifestReference::Digest(digest), ManifestReference::Tag);
    destination.find_manifest(reference).await
}
