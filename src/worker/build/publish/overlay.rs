//! A source with one manifest in addition to its own: the image with what publishing adds to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::ready;

use crate::oci::{Descriptor, Digest, Manifest, Tag};
use crate::registry::ManifestReference;
use crate::transport::{ByteStream, Outcome, Source};

/// The source, and the manifest on top of it.
#[derive(Debug)]
pub(super) struct Overlay {
    below: Arc<dyn Source>,
    manifest: Manifest,
}

impl Overlay {
    pub(super) fn new(below: Arc<dyn Source>, manifest: Manifest) -> Self {
        Self { below, manifest }
    }

    fn has(&self, reference: ManifestReference<'_>) -> bool {
        matches!(reference, ManifestReference::Digest(digest) if digest == self.manifest.digest())
    }
}

impl Source for Overlay {
    fn name(&self) -> String {
        self.below.name()
    }

    fn find_manifest<'a>(
        &'a self,
        reference: ManifestReference<'a>,
    ) -> Outcome<'a, Option<Digest>> {
        if self.has(reference) {
            return ready(Ok(Some(self.manifest.digest().clone()))).boxed();
        }
        self.below.find_manifest(reference)
    }

    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        if self.has(reference) {
            return ready(Ok(self.manifest.clone())).boxed();
        }
        self.below.manifest(reference)
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> ByteStream {
        self.below.blob(blob, offset)
    }

    fn blob_size<'a>(&'a self, digest: &'a Digest) -> Outcome<'a, Option<u64>> {
        self.below.blob_size(digest)
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        tags: Option<&'a BTreeSet<Tag>>,
    ) -> Outcome<'a, Vec<Descriptor>> {
        self.below.referrers(subject, tags)
    }

    fn tags(&self, limit: usize) -> Outcome<'_, Option<BTreeSet<Tag>>> {
        self.below.tags(limit)
    }
}
