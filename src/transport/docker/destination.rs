//! Images as `docker load` reads them, as a place to write to.

use std::collections::BTreeSet;
use std::path::Path;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use super::super::archive::{Sink, TarWriter};
use super::super::{BlobError, Destination, Error, Existing, Outcome, Placed, VerifiedBlob};
use super::builder::Builder;
use super::daemon::DockerDaemon;
use super::image;
use crate::oci::{Descriptor, Digest, Manifest, Reference, RegistryHost, Repository, Tag};
use crate::registry::ManifestReference;

/// A new archive whose images all belong to one repository, or have no name.
#[derive(Debug)]
pub struct DockerArchiveDestination {
    name: String,
    repository: Option<(RegistryHost, Repository)>,
    archive: Mutex<Builder>,
}

impl DockerArchiveDestination {
    /// An archive at `path`, where nothing may be yet. It appears there when it is complete.
    ///
    /// Its images are called after `repository`; without one they can have no tag.
    pub async fn create(
        path: &Path,
        repository: Option<(RegistryHost, Repository)>,
    ) -> Result<Self, Error> {
        let place = format!("docker-archive:{}", path.display());
        let sink = Sink::file(&place, path).await?;
        Ok(Self::new(place, sink, repository))
    }

    /// An archive that `daemon` loads while it is written.
    pub(super) fn of_daemon(
        place: String,
        daemon: DockerDaemon,
        repository: (RegistryHost, Repository),
    ) -> Self {
        Self::new(place, Sink::daemon(daemon), Some(repository))
    }

    fn new(place: String, sink: Sink, repository: Option<(RegistryHost, Repository)>) -> Self {
        Self {
            name: match &repository {
                Some((registry, repository)) => format!("{place}:{registry}/{repository}"),
                None => place.clone(),
            },
            repository,
            archive: Mutex::new(Builder::new(TarWriter::new(place, sink))),
        }
    }

    fn reference(&self, tag: &Tag) -> Result<Reference, Error> {
        self.repository
            .clone()
            .and_then(|(registry, repository)| {
                Reference::new(registry, repository, Some(tag.clone()), None).ok()
            })
            .ok_or_else(|| Error::Unsupported {
                place: self.name.clone(),
                what: format!("the tag {tag} without a repository"),
                remedy: "name the repository as well, docker-archive:PATH:REPOSITORY:TAG",
            })
    }

    async fn find(&self, reference: ManifestReference<'_>) -> Option<Manifest> {
        let archive = self.archive.lock().await;
        match reference {
            ManifestReference::Tag(tag) => archive.named(&self.reference(tag).ok()?).cloned(),
            ManifestReference::Digest(digest) => archive.manifest(digest).cloned(),
        }
    }
}

impl Destination for DockerArchiveDestination {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn accepts(&self, image: &Manifest) -> Result<(), Error> {
        image::parts(image)
            .map(|_| ())
            .map_err(|refused| refused.at(&self.name))
    }

    fn existing(&self) -> Outcome<'_, Existing> {
        async move {
            let archive = self.archive.lock().await;
            let tags: BTreeSet<Tag> = archive
                .names()
                .filter_map(Reference::tag)
                .cloned()
                .collect();
            Ok(if tags.is_empty() {
                Existing::Nothing
            } else {
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
            let found = self.find(reference).await;
            Ok(found.map(|manifest| manifest.digest().clone()))
        }
        .boxed()
    }

    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        async move {
            self.find(reference).await.ok_or_else(|| Error::NotFound {
                place: self.name.clone(),
                wanted: format!("manifest {reference}"),
            })
        }
        .boxed()
    }

    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Outcome<'a, bool> {
        async move { Ok(self.archive.lock().await.has_blob(&blob.digest)) }.boxed()
    }

    fn put_blob<'a>(
        &'a self,
        content: &'a VerifiedBlob,
        _mount_from: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Placed, BlobError>> {
        async move {
            self.archive.lock().await.add_blob(content).await?;
            Ok(Placed::Sent)
        }
        .boxed()
    }

    fn put_manifest<'a>(&'a self, manifest: &'a Manifest, tag: Option<&'a Tag>) -> Outcome<'a, ()> {
        async move {
            let name = tag.map(|tag| self.reference(tag)).transpose()?;
            self.archive.lock().await.add_image(manifest, name.as_ref())
        }
        .boxed()
    }

    fn finish(&self) -> Outcome<'_, ()> {
        async move { self.archive.lock().await.finish().await }.boxed()
    }
}
