//! The directories of skopeo's `dir:` transport: one image, each blob a file that is called after its
//! digest.
//!
//! skopeo puts the manifest into `manifest.json`, the manifests of an index into
//! `HEX.manifest.json`. What refers to the image is kept in the same way, where skopeo does not
//! look.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use super::archive::blocking;
use super::file::{is_empty, open_regular, read_regular, read_stream, write_blob, write_file};
use super::{
    BlobError, ByteStream, Destination, Error, Existing, Outcome, Placed, Source, VerifiedBlob,
};
use crate::oci::{
    Content, Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest, MediaType, Repository, Tag,
};
use crate::registry::ManifestReference;

const VERSION: &str = "version";
const VERSION_CONTENT: &str = "Directory Transport Version: 1.1\n";
const MANIFEST: &str = "manifest.json";
/// What the names of other manifests end with.
const MANIFEST_SUFFIX: &str = ".manifest.json";
/// Most manifests of one directory that are read to find out what refers to the image.
const MAX_MANIFESTS: usize = 1000;

/// The files of one directory.
#[derive(Debug)]
struct Files {
    place: String,
    path: PathBuf,
}

impl Files {
    fn new(path: &Path) -> Self {
        Self {
            place: format!("dir:{}", path.display()),
            path: path.to_owned(),
        }
    }

    async fn read(&self, name: String) -> Result<Option<Bytes>, Error> {
        let path = self.path.clone();
        blocking(&self.place, move || {
            read_regular(&path, &name, MAX_MANIFEST_BYTES)
        })
        .await
    }

    /// The manifest in the file `name`, when it is there.
    async fn manifest(&self, name: String) -> Result<Option<Manifest>, Error> {
        let Some(bytes) = self.read(name.clone()).await? else {
            return Ok(None);
        };
        let media_type = MediaType::of_manifest(&bytes)
            .ok_or_else(|| self.malformed(format!("{name} is no manifest")))?;
        Ok(Some(Manifest::new(bytes, media_type)))
    }

    /// How long the file of a blob is, when it is there.
    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let (path, name) = (self.path.clone(), file_name(digest));
        blocking(&self.place, move || {
            let file = open_regular(&path, &name)?;
            file.map(|file| Ok(file.metadata()?.len())).transpose()
        })
        .await
    }

    async fn write(&self, name: String, bytes: Bytes) -> Result<(), Error> {
        let path = self.path.join(name);
        blocking(&self.place, move || write_file(&path, &bytes)).await
    }

    /// The names of the manifests beside `manifest.json`, in their order.
    async fn other_manifests(&self) -> Result<BTreeSet<String>, Error> {
        let path = self.path.clone();
        blocking(&self.place, move || {
            let mut names = BTreeSet::new();
            for entry in std::fs::read_dir(path)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if name.ends_with(MANIFEST_SUFFIX) && names.len() < MAX_MANIFESTS {
                    names.insert(name);
                }
            }
            Ok(names)
        })
        .await
    }

    fn malformed(&self, problem: String) -> Error {
        Error::Malformed {
            place: self.place.clone(),
            problem,
        }
    }

    fn missing(&self, wanted: String) -> Error {
        Error::NotFound {
            place: self.place.clone(),
            wanted,
        }
    }
}

/// The name of a file that holds what has this digest.
fn file_name(digest: &Digest) -> String {
    match digest.as_str().split_once(':') {
        Some(("sha256", hex)) => hex.to_owned(),
        _ => digest.as_str().replacen(':', "-", 1),
    }
}

fn manifest_name(digest: &Digest) -> String {
    file_name(digest) + MANIFEST_SUFFIX
}

/// A directory as a place to read from.
#[derive(Debug)]
pub struct DirectorySource {
    files: Files,
    root: Manifest,
    /// Manifests beside the root, by digest. What an index names and these lack is not there.
    others: HashMap<Digest, Manifest>,
}

impl DirectorySource {
    /// The image in the directory `path`; its manifests are read at once.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let files = Files::new(path);
        let version = files.read(VERSION.to_owned()).await?;
        if !version.is_some_and(|version| version.starts_with(b"Directory Transport Version: 1.")) {
            return Err(files.malformed(format!(
                "its file {VERSION} is missing or names another version, so that skopeo has not \
                 written it; check the path"
            )));
        }
        let root = files
            .manifest(MANIFEST.to_owned())
            .await?
            .ok_or_else(|| files.missing(MANIFEST.to_owned()))?;
        let mut others = HashMap::new();
        for name in files.other_manifests().await? {
            if let Some(manifest) = files.manifest(name).await? {
                others.insert(manifest.digest().clone(), manifest);
            }
        }
        Ok(Self {
            files,
            root,
            others,
        })
    }

    /// The image.
    #[must_use]
    pub const fn image(&self) -> &Digest {
        self.root.digest()
    }

    fn find(&self, reference: ManifestReference<'_>) -> Option<&Manifest> {
        match reference {
            ManifestReference::Tag(_) => None,
            ManifestReference::Digest(digest) if digest == self.root.digest() => Some(&self.root),
            ManifestReference::Digest(digest) => self.others.get(digest),
        }
    }
}

impl Source for DirectorySource {
    fn name(&self) -> String {
        self.files.place.clone()
    }

    fn find_manifest<'a>(
        &'a self,
        reference: ManifestReference<'a>,
    ) -> Outcome<'a, Option<Digest>> {
        let found = self
            .find(reference)
            .map(|manifest| manifest.digest().clone());
        std::future::ready(Ok(found)).boxed()
    }

    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        let found = self
            .find(reference)
            .cloned()
            .ok_or_else(|| self.files.missing(format!("manifest {reference}")));
        std::future::ready(found).boxed()
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> ByteStream {
        let missing = self.files.missing(format!("blob {}", blob.digest));
        let Files { place, path } = &self.files;
        let name = file_name(&blob.digest);
        read_stream(place.clone(), path.clone(), name, offset, missing)
    }

    fn blob_size<'a>(&'a self, digest: &'a Digest) -> Outcome<'a, Option<u64>> {
        self.files.blob_size(digest).boxed()
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        _tags: Option<&'a BTreeSet<Tag>>,
    ) -> Outcome<'a, Vec<Descriptor>> {
        let is_about = |manifest: &&Manifest| {
            manifest
                .content()
                .is_ok_and(|content| content.subject().is_some_and(|it| it.digest == *subject))
        };
        let found: BTreeMap<_, _> = self
            .others
            .values()
            .filter(is_about)
            .map(|manifest| {
                let descriptor = Descriptor::new(
                    manifest.media_type().clone(),
                    manifest.digest().clone(),
                    manifest.bytes().len() as u64,
                );
                (manifest.digest(), descriptor)
            })
            .collect();
        std::future::ready(Ok(found.into_values().collect())).boxed()
    }

    fn tags(&self, _limit: usize) -> Outcome<'_, Option<BTreeSet<Tag>>> {
        std::future::ready(Ok(Some(BTreeSet::new()))).boxed()
    }
}

/// A directory as a place to write one image to.
#[derive(Debug)]
pub struct DirectoryDestination {
    files: Files,
    is_new: bool,
    /// What was written, in its order.
    written: Mutex<Vec<Manifest>>,
    /// Set when the directory is marked as one of this kind, which comes first, so that the next run
    /// goes on with what was broken off.
    marked: OnceCell<()>,
}

impl DirectoryDestination {
    /// The directory `path`, which need not exist. One that holds something else than an image of
    /// this kind is refused.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let files = Files::new(path);
        let directory = path.to_owned();
        let is_new = blocking(&files.place, move || is_empty(&directory)).await?;
        if !is_new && files.read(VERSION.to_owned()).await?.is_none() {
            return Err(files.malformed(
                "it holds something else than an image: choose another directory".to_owned(),
            ));
        }
        Ok(Self {
            files,
            is_new,
            written: Mutex::default(),
            marked: OnceCell::new(),
        })
    }

    async fn mark(&self) -> Result<(), Error> {
        let content = Bytes::from_static(VERSION_CONTENT.as_bytes());
        let mark = || self.files.write(VERSION.to_owned(), content);
        self.marked.get_or_try_init(mark).await.copied()
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Manifest>, Error> {
        for name in [MANIFEST.to_owned(), manifest_name(digest)] {
            let found = self.files.manifest(name).await?;
            if found.as_ref().is_some_and(|it| it.digest() == digest) {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The one image that was written; the others are parts of it, or about it.
    fn root(&self) -> Result<Option<Manifest>, Error> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = BTreeSet::new();
        for manifest in written.iter() {
            match manifest.content() {
                Ok(Content::Index { manifests, .. }) => {
                    parts.extend(manifests.into_iter().map(|child| child.digest));
                }
                Ok(content) if content.subject().is_some() => {
                    parts.insert(manifest.digest().clone());
                }
                _ => {}
            }
        }
        let roots: BTreeMap<_, _> = written
            .iter()
            .filter(|manifest| !parts.contains(manifest.digest()))
            .map(|manifest| (manifest.digest(), manifest))
            .collect();
        match (roots.len(), written.last()) {
            (0 | 1, last) => Ok(roots.into_values().next().or(last).cloned()),
            _ => Err(Error::Unsupported {
                place: self.files.place.clone(),
                what: "several images".to_owned(),
                remedy: "write them to oci: or oci-archive:",
            }),
        }
    }
}

impl Destination for DirectoryDestination {
    fn name(&self) -> String {
        self.files.place.clone()
    }

    fn existing(&self) -> Outcome<'_, Existing> {
        std::future::ready(Ok(if self.is_new {
            Existing::Nothing
        } else {
            Existing::Unknown
        }))
        .boxed()
    }

    fn find_manifest<'a>(
        &'a self,
        reference: ManifestReference<'a>,
    ) -> Outcome<'a, Option<Digest>> {
        async move {
            match reference {
                ManifestReference::Tag(_) => Ok(None),
                ManifestReference::Digest(digest) => {
                    Ok(self.find(digest).await?.map(|_| digest.clone()))
                }
            }
        }
        .boxed()
    }

    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        async move {
            let found = match reference {
                ManifestReference::Tag(_) => None,
                ManifestReference::Digest(digest) => self.find(digest).await?,
            };
            found.ok_or_else(|| self.files.missing(format!("manifest {reference}")))
        }
        .boxed()
    }

    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Outcome<'a, bool> {
        async move { Ok(self.files.blob_size(&blob.digest).await? == Some(blob.size)) }.boxed()
    }

    fn put_blob<'a>(
        &'a self,
        content: &'a VerifiedBlob,
        _mount_from: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Placed, BlobError>> {
        async move {
            self.mark().await.map_err(BlobError::Destination)?;
            let path = self
                .files
                .path
                .join(file_name(&content.descriptor().digest));
            write_blob(&self.files.place, path, content).await?;
            Ok(Placed::Sent)
        }
        .boxed()
    }

    fn put_manifest<'a>(
        &'a self,
        manifest: &'a Manifest,
        _tag: Option<&'a Tag>,
    ) -> Outcome<'a, ()> {
        async move {
            self.mark().await?;
            let name = manifest_name(manifest.digest());
            self.files.write(name, manifest.bytes().clone()).await?;
            self.written
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(manifest.clone());
            Ok(())
        }
        .boxed()
    }

    fn finish(&self) -> Outcome<'_, ()> {
        async move {
            let Some(root) = self.root()? else {
                return Ok(());
            };
            self.files
                .write(MANIFEST.to_owned(), root.bytes().clone())
                .await
        }
        .boxed()
    }
}
