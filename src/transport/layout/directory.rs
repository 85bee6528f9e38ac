//! A layout in a directory, as a place to write to.
//!
//! Each file appears under its name when it is complete. The file that marks a layout comes first, so
//! that the next run goes on with one whose writing was broken off. The table of contents changes at
//! the end, and keeps what others wrote meanwhile.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use super::files::{Files, unwritable};
use super::table::{INDEX, MARKER, MARKER_CONTENT, Pending, Table, blob_path};
use crate::oci::{Descriptor, Digest, Manifest, Repository, Tag};
use crate::registry::ManifestReference;
use crate::transport::archive::blocking;
use crate::transport::file::{is_empty, write_blob, write_file};
use crate::transport::{BlobError, Destination, Error, Existing, Outcome, Placed, VerifiedBlob};

/// One layout that images are added to.
#[derive(Debug)]
pub struct LayoutDestination {
    files: Files,
    path: PathBuf,
    /// What was there when it was opened; [`None`] when there was no layout.
    before: Option<Table>,
    pending: Mutex<Pending>,
    /// Set when the directory is marked as a layout.
    marked: OnceCell<()>,
}

impl LayoutDestination {
    /// The layout in the directory `path`, which need not exist. A directory that holds something
    /// else is refused.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let place = format!("oci:{}", path.display());
        let directory = path.to_owned();
        let is_new = blocking(&place, move || is_empty(&directory)).await?;
        let files = Files::Directory {
            place,
            path: path.to_owned(),
        };
        let before = if is_new {
            None
        } else {
            Some(files.written_table().await?.unwrap_or_default())
        };
        Ok(Self {
            files,
            path: path.to_owned(),
            before,
            pending: Mutex::default(),
            marked: OnceCell::new(),
        })
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, tag: &Tag) -> Option<Digest> {
        let before = || Some(self.before.as_ref()?.find(tag)?.digest.clone());
        self.pending().find(tag).cloned().or_else(before)
    }

    /// Marks the directory as a layout, before anything else is in it.
    async fn mark(&self) -> Result<(), Error> {
        let mark = || self.store_bytes(MARKER, Bytes::from_static(MARKER_CONTENT.as_bytes()));
        self.marked.get_or_try_init(mark).await.copied()
    }

    async fn store_bytes(&self, name: &str, bytes: Bytes) -> Result<(), Error> {
        let path = self.path.join(name);
        blocking(self.files.place(), move || write_file(&path, &bytes)).await
    }

    /// Writes the table of contents. Whoever does that at the same time waits.
    async fn write_table(&self) -> Result<(), Error> {
        let place = self.files.place().to_owned();
        let path = self.path.clone();
        // The lock goes with the file. It is the directory's: files in it are replaced.
        let _lock = blocking(&place, move || {
            let directory = File::open(path)?;
            directory.lock()?;
            Ok(directory)
        })
        .await?;
        let mut table = self.files.written_table().await?.unwrap_or_default();
        self.pending()
            .write_into(&mut table)
            .map_err(|error| unwritable(&place, &error))?;
        let bytes = table
            .to_bytes()
            .map_err(|error| unwritable(&place, &error))?;
        self.store_bytes(INDEX, bytes).await
    }
}

impl Destination for LayoutDestination {
    fn name(&self) -> String {
        self.files.place().to_owned()
    }

    fn existing(&self) -> Outcome<'_, Existing> {
        let mut tags: BTreeSet<Tag> = self.before.as_ref().map(Table::tags).unwrap_or_default();
        let pending = self.pending();
        tags.extend(pending.tags().cloned());
        let existing = if self.before.is_none() && pending.is_empty() {
            Existing::Nothing
        } else {
            Existing::Tags(tags)
        };
        std::future::ready(Ok(existing)).boxed()
    }

    fn find_manifest<'a>(
        &'a self,
        reference: ManifestReference<'a>,
    ) -> Outcome<'a, Option<Digest>> {
        async move {
            let digest = match reference {
                ManifestReference::Tag(tag) => self.find(tag),
                ManifestReference::Digest(digest) => Some(digest.clone()),
            };
            // A name is worth nothing without what it names.
            match digest {
                Some(digest) => Ok(self.files.manifest(&digest).await?.map(|_| digest)),
                None => Ok(None),
            }
        }
        .boxed()
    }

    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        async move {
            let missing = || Error::NotFound {
                place: self.name(),
                wanted: format!("manifest {reference}"),
            };
            let digest = match reference {
                ManifestReference::Tag(tag) => self.find(tag).ok_or_else(missing)?,
                ManifestReference::Digest(digest) => digest.clone(),
            };
            self.files.manifest(&digest).await?.ok_or_else(missing)
        }
        .boxed()
    }

    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Outcome<'a, bool> {
        self.files.has_blob(&blob.digest, blob.size).boxed()
    }

    fn put_blob<'a>(
        &'a self,
        content: &'a VerifiedBlob,
        _mount_from: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Placed, BlobError>> {
        async move {
            self.mark().await.map_err(BlobError::Destination)?;
            let path = self.path.join(blob_path(&content.descriptor().digest));
            write_blob(self.files.place(), path, content).await?;
            Ok(Placed::Sent)
        }
        .boxed()
    }

    fn put_manifest<'a>(&'a self, manifest: &'a Manifest, tag: Option<&'a Tag>) -> Outcome<'a, ()> {
        async move {
            self.mark().await?;
            self.store_bytes(&blob_path(manifest.digest()), manifest.bytes().clone())
                .await?;
            self.pending().add(manifest, tag);
            Ok(())
        }
        .boxed()
    }

    fn finish(&self) -> Outcome<'_, ()> {
        async move {
            if self.pending().is_empty() {
                return Ok(());
            }
            self.write_table().await
        }
        .boxed()
    }
}
