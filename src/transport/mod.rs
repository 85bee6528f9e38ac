//! Places that images live in, behind one interface: [`Source`] to read from, [`Destination`] to
//! write to.
//!
//! A place knows how to find, read and store manifests and blobs. It does not know in which order
//! an image is written, what has been written elsewhere, or why; that is the copy engine's business.
//! Nothing here hashes what it reads: [`VerifiedBlob`] does that once, on the way from any source to
//! any destination.

mod archive;
mod content;
mod directory;
mod docker;
mod error;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod layout;
mod location;
mod registry;

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use futures::stream::BoxStream;

pub(crate) use self::archive::blocking;
pub use self::content::{BlobReader, VerifiedBlob};
pub use self::directory::{DirectoryDestination, DirectorySource};
pub use self::docker::{DockerArchiveDestination, DockerArchiveSource, DockerDaemon};
pub use self::error::{BlobError, Error};
pub(crate) use self::file::{open_foreign, read_file};
pub use self::layout::{LayoutArchiveDestination, LayoutDestination, LayoutSource};
pub use self::location::{Location, LocationError, Name};
pub use self::registry::RegistryRepository;
use crate::oci::{Descriptor, Digest, Manifest, Repository, Tag};
use crate::registry::ManifestReference;

/// What an operation of a place gives, when it has finished.
pub type Outcome<'a, T> = BoxFuture<'a, Result<T, Error>>;
/// The bytes of a blob on their way; it ends after the last byte, or with an error.
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

/// A place that images are read from: a repository, a layout, an archive.
pub trait Source: Send + Sync + fmt::Debug {
    /// How messages call it, for example `registry.example/team/app` or `oci:images`.
    fn name(&self) -> String;

    /// The repository of a registry that this is, when it is one: content can be mounted from it
    /// into other repositories of the same registry.
    fn location(&self) -> Option<RepositoryLocation<'_>> {
        None
    }

    /// The digest that `reference` has now, found as cheaply as the place allows; [`None`] when it
    /// has none.
    fn find_manifest<'a>(&'a self, reference: ManifestReference<'a>)
    -> Outcome<'a, Option<Digest>>;

    /// The manifest that `reference` names. By digest, its content has that digest.
    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest>;

    /// The bytes of a blob from `offset` to its end, not verified: use [`VerifiedBlob`]. Nothing is
    /// read before the stream is polled.
    fn blob(&self, blob: &Descriptor, offset: u64) -> ByteStream;

    /// How many bytes a blob has that no descriptor describes, as in Docker's schema 1; [`None`] when
    /// the place cannot tell, or does not have it.
    fn blob_size<'a>(&'a self, _digest: &'a Digest) -> Outcome<'a, Option<u64>> {
        ready(Ok(None)).boxed()
    }

    /// The manifests that name `subject` as their subject; empty when the place cannot tell.
    ///
    /// `tags` are all tags of the place, when they are known: a registry without the referrers API
    /// is then not asked for a fallback tag that it does not have.
    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        tags: Option<&'a BTreeSet<Tag>>,
    ) -> Outcome<'a, Vec<Descriptor>>;

    /// All tags, [`None`] when there are more than `limit`.
    fn tags(&self, limit: usize) -> Outcome<'_, Option<BTreeSet<Tag>>>;

    /// What the place has asked to be told to people so far, a line each.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A place that images are written to.
///
/// Whoever writes brings blobs first, then the manifests that need them, a tag last, and calls
/// [`Self::finish`] when everything is there.
pub trait Destination: Send + Sync + fmt::Debug {
    /// How messages call it.
    fn name(&self) -> String;

    /// The repository of a registry that this is, when it is one.
    fn location(&self) -> Option<RepositoryLocation<'_>> {
        None
    }

    /// Whether the place can hold `image`, which is told before any of its content is read. A place
    /// that cannot tell by the manifest alone says so when it is stored.
    fn accepts(&self, _image: &Manifest) -> Result<(), Error> {
        Ok(())
    }

    /// What is there already.
    fn existing(&self) -> Outcome<'_, Existing>;

    /// The digest that `reference` has now; [`None`] when it has none.
    fn find_manifest<'a>(&'a self, reference: ManifestReference<'a>)
    -> Outcome<'a, Option<Digest>>;

    /// The manifest that `reference` names.
    fn manifest<'a>(&'a self, reference: ManifestReference<'a>) -> Outcome<'a, Manifest>;

    /// Whether whoever asks what refers to `subject` is told of `referrer`. Where manifests are only
    /// files, being there is enough.
    fn lists_referrer<'a>(
        &'a self,
        _subject: &'a Digest,
        _referrer: &'a Digest,
    ) -> Outcome<'a, bool> {
        Box::pin(std::future::ready(Ok(true)))
    }

    /// Whether the blob is there.
    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Outcome<'a, bool>;

    /// Stores a blob: taken over from `mount_from`, another repository of the same registry, when
    /// that is given and works, else read from `content`.
    fn put_blob<'a>(
        &'a self,
        content: &'a VerifiedBlob,
        mount_from: Option<&'a Repository>,
    ) -> BoxFuture<'a, Result<Placed, BlobError>>;

    /// Stores a manifest under `tag`, or by its digest alone.
    fn put_manifest<'a>(&'a self, manifest: &'a Manifest, tag: Option<&'a Tag>) -> Outcome<'a, ()>;

    /// Stores a manifest under `tag`, which was not there a moment ago. A place that can tell fails,
    /// as [`Error::is_tag_taken`] says, when somebody else has made it since.
    fn create_tag<'a>(&'a self, manifest: &'a Manifest, tag: &'a Tag) -> Outcome<'a, ()> {
        self.put_manifest(manifest, Some(tag))
    }

    /// Makes everything that was stored readable. Called once, after the last manifest; a registry
    /// has nothing left to do then, an archive writes its table of contents.
    fn finish(&self) -> Outcome<'_, ()>;

    /// Puts away what was being stored when whoever wrote was told to stop. It takes seconds at most.
    fn put_away(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// What the place has asked to be told to people so far, a line each.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// One repository of one registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RepositoryLocation<'a> {
    /// The registry.
    pub registry: &'a crate::oci::RegistryHost,
    /// The repository.
    pub repository: &'a Repository,
}

/// What a destination holds before anything is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing at all: no request can find anything.
    Nothing,
    /// Something, with exactly these tags.
    Tags(BTreeSet<Tag>),
    /// Something, with more tags than are worth listing.
    Unknown,
}

/// How a blob came to its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// All of its bytes were sent.
    Sent,
    /// The registry took it from another of its repositories.
    Mounted,
}
