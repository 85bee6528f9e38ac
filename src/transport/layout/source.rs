//! A layout as a place to read from.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;

use futures::FutureExt as _;
use tokio::sync::OnceCell;

use super::files::Files;
use super::table::Table;
use crate::oci::{Descriptor, Digest, Manifest, Tag};
use crate::registry::ManifestReference;
use crate::transport::archive::{ArchiveFile, blocking};
use crate::transport::{ByteStream, Error, Outcome, Source};

/// Entries of a layout that are read to find what refers to an image.
const MAX_REFERRERS_READ: usize = 1000;

/// The images of one layout.
#[derive(Debug)]
pub struct LayoutSource {
    files: Files,
    table: Table,
    /// The entries that are about others, by what they are about.
    referrers: OnceCell<HashMap<Digest, Vec<Descriptor>>>,
}

impl LayoutSource {
    /// The layout in the directory `path`.
    pub async fn open_directory(path: &Path) -> Result<Self, Error> {
        Self::open(Files::Directory {
            place: format!("oci:{}", path.display()),
            path: path.to_owned(),
        })
        .await
    }

    /// The layout in the tar file `path`, which is not unpacked.
    pub async fn open_archive(path: &Path) -> Result<Self, Error> {
        let place = format!("oci-archive:{}", path.display());
        let path = path.to_owned();
        let file = blocking(&place, move || File::open(path)).await?;
        Self::of_archive(place, file).await
    }

    /// The layout in a tar file that is open already and that messages call `place`.
    pub async fn of_archive(place: String, file: File) -> Result<Self, Error> {
        Self::open(Files::Archive(ArchiveFile::open(place, file).await?)).await
    }

    async fn open(files: Files) -> Result<Self, Error> {
        Ok(Self {
            table: files.table().await?,
            files,
            referrers: OnceCell::new(),
        })
    }

    /// Every image, index and artifact in the table of contents, named or not.
    pub fn images(&self) -> impl Iterator<Item = &Digest> {
        self.table.digests()
    }

    /// The image of a layout that holds one.
    pub fn only_image(&self) -> Result<&Digest, Error> {
        self.table.only().ok_or_else(|| {
            let names: Vec<String> = self
                .table
                .tags()
                .iter()
                .take(20)
                .map(ToString::to_string)
                .collect();
            self.files.malformed(if names.is_empty() {
                "it has no image that could be meant: name one with @DIGEST".to_owned()
            } else {
                format!(
                    "it has several images, name one of them: {}",
                    names.join(", ")
                )
            })
        })
    }

    async fn read_referrers(&self) -> Result<HashMap<Digest, Vec<Descriptor>>, Error> {
        let mut referrers: HashMap<Digest, Vec<Descriptor>> = HashMap::new();
        for entry in self.table.descriptors().take(MAX_REFERRERS_READ) {
            if !entry.media_type.is_manifest() {
                continue;
            }
            let Some(manifest) = self.files.manifest(&entry.digest).await? else {
                continue;
            };
            // One that cannot be read is not about anything that could be known.
            let subject = manifest
                .content()
                .ok()
                .and_then(|content| content.subject().map(|subject| subject.digest.clone()));
            if let Some(subject) = subject {
                referrers.entry(subject).or_default().push(entry.clone());
            }
        }
        Ok(referrers)
    }
}

impl Source for LayoutSource {
    fn name(&self) -> String {
        self.files.place().to_owned()
    }

    fn find_manifest<'a>(
        &'a self,
        reference: ManifestReference<'a>,
    ) -> Outcome<'a, Option<Digest>> {
        async move {
            match reference {
                ManifestReference::Tag(tag) => {
                    Ok(self.table.find(tag).map(|entry| entry.digest.clone()))
                }
                ManifestReference::Digest(digest) => {
                    Ok(self.files.manifest(digest).await?.map(|_| digest.clone()))
                }
            }
        }
        .boxed()
    }

    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        async move {
            let missing = || Error::NotFound {
                place: self.name(),
                wanted: match reference {
                    ManifestReference::Tag(tag) => format!("image {tag}"),
                    ManifestReference::Digest(digest) => format!("manifest {digest}"),
                },
            };
            let digest = match reference {
                ManifestReference::Tag(tag) => &self.table.find(tag).ok_or_else(missing)?.digest,
                ManifestReference::Digest(digest) => digest,
            };
            self.files.manifest(digest).await?.ok_or_else(missing)
        }
        .boxed()
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> ByteStream {
        self.files.blob(&blob.digest, offset)
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        _tags: Option<&'a BTreeSet<Tag>>,
    ) -> Outcome<'a, Vec<Descriptor>> {
        async move {
            let referrers = self
                .referrers
                .get_or_try_init(|| self.read_referrers())
                .await?;
            Ok(referrers.get(subject).cloned().unwrap_or_default())
        }
        .boxed()
    }

    fn tags(&self, limit: usize) -> Outcome<'_, Option<BTreeSet<Tag>>> {
        let tags = self.table.tags();
        std::future::ready(Ok((tags.len() <= limit).then_some(tags))).boxed()
    }
}
