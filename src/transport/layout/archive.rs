//! A layout in a new tar file, as a place to write to.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::Mutex;

use super::files::unwritable;
use super::table::{INDEX, MARKER, MARKER_CONTENT, Pending, Table, blob_path};
use crate::oci::{Descriptor, Digest, Manifest, Repository, Tag};
use crate::registry::ManifestReference;
use crate::transport::archive::{Sink, TarWriter};
use crate::transport::{BlobError, Destination, Error, Existing, Outcome, Placed, VerifiedBlob};

/// One archive that is being written. It appears under its name when it is complete.
#[derive(Debug)]
pub struct LayoutArchiveDestination {
    place: String,
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    archive: TarWriter,
    blobs: HashSet<Digest>,
    pending: Pending,
}

impl LayoutArchiveDestination {
    /// An archive at `path`, where nothing may be yet.
    pub async fn create(path: &Path) -> Result<Self, Error> {
        let place = format!("oci-archive:{}", path.display());
        let sink = Sink::file(&place, path).await?;
        let mut content = Content {
            archive: TarWriter::new(place.clone(), sink),
            blobs: HashSet::new(),
            pending: Pending::default(),
        };
        content
            .add_file(MARKER, Bytes::from_static(MARKER_CONTENT.as_bytes()))
            .await?;
        Ok(Self {
            place,
            content: Mutex::new(content),
        })
    }
}

impl Content {
    async fn add_file(&mut self, name: &str, bytes: Bytes) -> Result<(), Error> {
        let size = bytes.len() as u64;
        let content = stream::iter([Ok(bytes)]).boxed();
        self.archive
            .add_file(name, size, content)
            .await
            .map_err(BlobError::into_error)
    }

    fn find(&self, reference: ManifestReference<'_>) -> Option<&Manifest> {
        match reference {
            ManifestReference::Tag(tag) => self.pending.manifest(self.pending.find(tag)?),
            ManifestReference::Digest(digest) => self.pending.manifest(digest),
        }
    }
}

impl Destination for LayoutArchiveDestination {
    fn name(&self) -> String {
        self.place.clone()
    }

    fn existing(&self) -> Outcome<'_, Existing> {
        async move {
            let content = self.content.lock().await;
            Ok(if content.pending.is_empty() {
                Existing::Nothing
            } else {
                let tags: BTreeSet<Tag> = content.pending.tags().cloned().collect();
                Existing::Tags(tags)
            })
        }
        .boxed()
    }

    fn find_manifest<'a>(
        &'a self,
        reference: ManifestReference<'a>,
    ) -> Outcome<'a, Option<Digest>> {
        async move {
            let content = self.content.lock().await;
            let found = content.find(reference);
            Ok(found.map(|manifest| manifest.digest().clone()))
        }
        .boxed()
    }

    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        async move {
            let content = self.content.lock().await;
            content
                .find(reference)
                .cloned()
                .ok_or_else(|| Error::NotFound {
                    place: self.place.clone(),
                    wanted: format!("manifest {reference}"),
                })
        }
        .boxed()
    }

    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Outcome<'a, bool> {
        async move { Ok(self.content.lock().await.blobs.contains(&blob.digest)) }.boxed()
    }

    fn put_blob<'a>(
        &'a self,
        content: &'a VerifiedBlob,
        _mount_from: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Placed, BlobError>> {
        async move {
            // The format is sequential: while one blob is written, others wait.
            let mut archive = self.content.lock().await;
            let Descriptor { digest, size, .. } = content.descriptor();
            if archive.blobs.contains(digest) {
                return Ok(Placed::Sent);
            }
            archive
                .archive
                .add_file(&blob_path(digest), *size, content.read_from(0))
                .await?;
            archive.blobs.insert(digest.clone());
            Ok(Placed::Sent)
        }
        .boxed()
    }

    fn put_manifest<'a>(&'a self, manifest: &'a Manifest, tag: Option<&'a Tag>) -> Outcome<'a, ()> {
        async move {
            let mut content = self.content.lock().await;
            if content.blobs.insert(manifest.digest().clone()) {
                let name = blob_path(manifest.digest());
                content.add_file(&name, manifest.bytes().clone()).await?;
            }
            content.pending.add(manifest, tag);
            Ok(())
        }
        .boxed()
    }

    fn finish(&self) -> Outcome<'_, ()> {
        async move {
            let mut content = self.content.lock().await;
            if content.archive.is_closed() {
                return Ok(());
            }
            if content.pending.is_empty() {
                content.archive.discard();
                return Ok(());
            }
            let mut table = Table::default();
            let bytes = content
                .pending
                .write_into(&mut table)
                .and_then(|()| table.to_bytes())
                .map_err(|error| unwritable(&self.place, &error))?;
            content.add_file(INDEX, bytes).await?;
            content.archive.finish().await
        }
        .boxed()
    }
}
