//! A repository of a registry as a place.
//!
//! How a registry is talked to is the business of [`crate::registry`]; this file only says which of
//! its requests answers which question.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};

use super::{
    BlobError, ByteStream, Destination, Error, Existing, Outcome, Placed, RepositoryLocation,
    Source, VerifiedBlob,
};
use crate::oci::{Descriptor, Digest, Manifest, RegistryHost, Repository, Tag};
use crate::registry::{
    BlobContent, CHUNK_BYTES, Client, ManifestReference, Upload, UploadError, UploadSession,
};

/// Tags that are asked for to learn what a repository holds: one page of most registries.
const KNOWN_TAGS: usize = 1000;

/// One repository, with the client that may use it.
#[derive(Clone, Debug)]
pub struct RegistryRepository {
    client: Client,
    registry: RegistryHost,
    repository: Repository,
}

impl RegistryRepository {
    /// The repository `repository` of `registry`, which is the one of `client`.
    #[must_use]
    pub const fn new(client: Client, registry: RegistryHost, repository: Repository) -> Self {
        Self {
            client,
            registry,
            repository,
        }
    }

    fn find<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Option<Digest>> {
        self.client
            .head_manifest(&self.repository, reference)
            .map_ok(|head| head.map(|head| head.digest))
            .err_into()
            .boxed()
    }

    fn read<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        self.client
            .get_manifest(&self.repository, reference)
            .err_into()
            .boxed()
    }

    fn what_it_warns_of(&self) -> Vec<String> {
        let warnings = self.client.warnings().into_iter();
        warnings
            .map(|warning| format!("{} warns: {warning}", self.registry))
            .collect()
    }

    fn display(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    const fn here(&self) -> RepositoryLocation<'_> {
        RepositoryLocation {
            registry: &self.registry,
            repository: &self.repository,
        }
    }
}

impl RegistryRepository {
    /// The session to write a blob to, which can be one that was left open; [`None`] when the blob
    /// was mounted.
    async fn open_upload(
        &self,
        blob: &Descriptor,
        mount_from: Option<&Repository>,
    ) -> Result<Option<UploadSession>, BlobError> {
        if blob.size > CHUNK_BYTES
            && mount_from.is_none()
            && let Some(session) = self.client.saved_session(&self.repository, blob).await
        {
            return Ok(Some(session));
        }
        let upload = self
            .client
            .start_upload(&self.repository, &blob.digest, mount_from)
            .await
            .map_err(|error| BlobError::Destination(error.into()))?;
        Ok(match upload {
            Upload::Mounted => None,
            Upload::Session(session) => Some(session),
        })
    }
}

impl BlobContent for VerifiedBlob {
    type Error = Error;

    fn descriptor(&self) -> &Descriptor {
        self.descriptor()
    }

    fn read_from(&self, offset: u64) -> ByteStream {
        self.read_from(offset)
    }
}

impl Source for RegistryRepository {
    fn name(&self) -> String {
        self.display()
    }

    fn warnings(&self) -> Vec<String> {
        self.what_it_warns_of()
    }

    fn location(&self) -> Option<RepositoryLocation<'_>> {
        Some(self.here())
    }

    fn find_manifest<'a>(
        &'a self,
        reference: ManifestReference<'a>,
    ) -> Outcome<'a, Option<Digest>> {
        self.find(reference)
    }

    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        self.read(reference)
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> ByteStream {
        self.client
            .read_blob(&self.repository, blob, offset)
            .err_into()
            .boxed()
    }

    fn blob_size<'a>(&'a self, digest: &'a Digest) -> Outcome<'a, Option<u64>> {
        self.client
            .blob_size(&self.repository, digest)
            .err_into()
            .boxed()
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        tags: Option<&'a BTreeSet<Tag>>,
    ) -> Outcome<'a, Vec<Descriptor>> {
        self.client
            .referrers(&self.repository, subject, tags)
            .err_into()
            .boxed()
    }

    fn tags(&self, limit: usize) -> Outcome<'_, Option<BTreeSet<Tag>>> {
        async move {
            let listed = self.client.list_tags(&self.repository, limit).await?;
            // A registry that does not list its tags may have some all the same.
            Ok(listed
                .filter(|list| !list.truncated)
                .map(|list| list.tags.into_iter().collect()))
        }
        .boxed()
    }
}

impl Destination for RegistryRepository {
    fn name(&self) -> String {
        self.display()
    }

    fn warnings(&self) -> Vec<String> {
        self.what_it_warns_of()
    }

    fn location(&self) -> Option<RepositoryLocation<'_>> {
        Some(self.here())
    }

    fn existing(&self) -> Outcome<'_, Existing> {
        async move {
            let listed = self.client.list_tags(&self.repository, KNOWN_TAGS).await?;
            Ok(match listed {
                None => Existing::Nothing,
                Some(list) if list.truncated => Existing::Unknown,
                Some(list) => Existing::Tags(list.tags.into_iter().collect()),
            })
        }
        .boxed()
    }

    fn find_manifest<'a>(
        &'a self,
        reference: ManifestReference<'a>,
    ) -> Outcome<'a, Option<Digest>> {
        self.find(reference)
    }

    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest> {
        self.read(reference)
    }

    fn lists_referrer<'a>(
        &'a self,
        subject: &'a Digest,
        referrer: &'a Digest,
    ) -> Outcome<'a, bool> {
        async move {
            let listed = self
                .client
                .referrers(&self.repository, subject, None)
                .await?;
            Ok(listed.iter().any(|listed| listed.digest == *referrer))
        }
        .boxed()
    }

    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Outcome<'a, bool> {
        self.client
            .blob_exists(&self.repository, &blob.digest)
            .err_into()
            .boxed()
    }

    fn put_blob<'a>(
        &'a self,
        content: &'a VerifiedBlob,
        mount_from: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Placed, BlobError>> {
        async move {
            let blob = content.descriptor();
            let mut bytes = content.read_from(0);
            // The source is asked at the same time, unless the blob may not have to be sent at all, or
            // has been sent in part.
            let early = blob.size <= CHUNK_BYTES && mount_from.is_none();
            let first = async { if early { bytes.next().await } else { None } };
            let (session, first) = futures::join!(self.open_upload(blob, mount_from), first);
            let Some(session) = session? else {
                return Ok(Placed::Mounted);
            };
            let sent = if blob.size > CHUNK_BYTES {
                self.client
                    .upload_large_blob(&self.repository, session, content)
                    .await
            } else {
                self.client
                    .upload_blob(session, blob, stream::iter(first).chain(bytes))
                    .await
            };
            match sent {
                Ok(()) => Ok(Placed::Sent),
                Err(UploadError::Source(error)) => Err(BlobError::Source(error)),
                Err(UploadError::Destination(error)) => Err(BlobError::Destination(error.into())),
                Err(UploadError::SourceLength { expected }) => {
                    Err(BlobError::Source(Error::Length {
                        place: content.place(),
                        digest: blob.digest.clone(),
                        expected,
                    }))
                }
            }
        }
        .boxed()
    }

    fn put_manifest<'a>(&'a self, manifest: &'a Manifest, tag: Option<&'a Tag>) -> Outcome<'a, ()> {
        self.client
            .put_manifest(&self.repository, manifest, tag)
            .err_into()
            .boxed()
    }

    fn create_tag<'a>(&'a self, manifest: &'a Manifest, tag: &'a Tag) -> Outcome<'a, ()> {
        self.client
            .create_tag(&self.repository, manifest, tag)
            .err_into()
            .boxed()
    }

    fn put_away(&self) -> BoxFuture<'_, ()> {
        self.client.end_open_uploads().boxed()
    }

    /// Everything was readable as it was written.
    fn finish(&self) -> Outcome<'_, ()> {
        futures::future::ready(Ok(())).boxed()
    }
}
