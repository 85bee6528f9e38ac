//! Writes an attestation beside its image. Doing it again leaves one.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{Stream, stream};

use super::referrer::{Attestation, EMPTY, INVOCATION, described, is_signed, media_type};
use super::{KeyError, SigningKey, Statement};
use crate::oci::{Content, Descriptor, Digest, Manifest, MediaType, Repository};
use crate::registry::{Client, Error, ErrorKind, ManifestReference, Upload, UploadError};

/// Most bytes of a bundle that may be ours: twice what a statement has with the longest arguments.
const MAX_BUNDLE_BYTES: usize = 2 * 1024 * 1024;
/// Most attestations that say that they are of the same build. Anybody who may push may write some.
const MAX_CANDIDATES: usize = 8;

/// Why an attestation could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The registry failed, or does not let it be written.
    #[error(transparent)]
    Registry(#[from] Error),
    /// The registry took it and does not have it.
    #[error("the registry accepted the attestation {0} and does not have it")]
    NotKept(Digest),
    /// The key does not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Attaches `statement` to `image`, signed if there is a key, and gives the digest of the attestation.
///
/// A signature is never made twice the same. One that is there and that the key verifies is kept instead of another.
pub async fn attach(
    client: &Client,
    repository: &Repository,
    image: &Digest,
    statement: &Statement,
    key: Option<&SigningKey>,
) -> Result<Digest, AttachError> {
    if let Some(key) = key {
        let found = Box::pin(find(client, repository, image, statement, key)).await?;
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let subject = subject(client, repository, image).await?;
    let attestation = Attestation::new(statement, &subject, key)?;
    let content = attestation.content().clone();
    put_bytes(client, repository, content).await?;
    put_referrer(client, repository, attestation.manifest()).await
}

/// The image that is referred to.
pub(super) async fn subject(
    client: &Client,
    repository: &Repository,
    image: &Digest,
) -> Result<Descriptor, Error> {
    let subject = client
        .get_manifest(repository, ManifestReference::Digest(image))
        .await?;
    let size = subject.bytes().len() as u64;
    Ok(Descriptor::new(
        subject.media_type().clone(),
        image.clone(),
        size,
    ))
}

/// Writes an artifact whose layer is there, and gives the digest that the registry has.
pub(super) async fn put_referrer(
    client: &Client,
    repository: &Repository,
    manifest: &Manifest,
) -> Result<Digest, AttachError> {
    put_bytes(client, repository, Bytes::from_static(EMPTY)).await?;
    client.put_manifest(repository, manifest, None).await?;
    let digest = manifest.digest().clone();
    let written = client
        .head_manifest(repository, ManifestReference::Digest(&digest))
        .await?;
    written.map_or(Err(AttachError::NotKept(digest.clone())), |_| Ok(digest))
}

/// The attestation that was attached before.
async fn find(
    client: &Client,
    repository: &Repository,
    image: &Digest,
    statement: &Statement,
    key: &SigningKey,
) -> Result<Option<Digest>, Error> {
    let referrers = client.referrers(repository, image, None).await?;
    let candidates = referrers.into_iter().filter(|referrer| {
        let kind = referrer.artifact_type.as_ref().map(MediaType::as_str);
        kind == Some(media_type(true))
            && referrer.annotations.get(INVOCATION) == Some(&statement.invocation)
    });
    for candidate in candidates.take(MAX_CANDIDATES) {
        match Box::pin(read(client, repository, image, &candidate.digest)).await {
            Ok(Some(content)) if is_signed(&content, statement, key) => {
                return Ok(Some(candidate.digest));
            }
            Ok(_) => {}
            // What is listed and gone, or broken, is not ours.
            Err(error) if is_of_candidate(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn is_of_candidate(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ContentMissing | ErrorKind::Protocol
    )
}

/// The only layer of an artifact that refers to `image`.
async fn read(
    client: &Client,
    repository: &Repository,
    image: &Digest,
    attestation: &Digest,
) -> Result<Option<Bytes>, Error> {
    let manifest = client
        .get_manifest(repository, ManifestReference::Digest(attestation))
        .await?;
    let Ok(Content::Image {
        layers,
        subject: Some(subject),
        ..
    }) = manifest.content()
    else {
        return Ok(None);
    };
    match layers.as_slice() {
        [layer] if subject.digest == *image => client
            .get_blob_bytes(repository, layer, MAX_BUNDLE_BYTES)
            .await
            .map(Some),
        _ => Ok(None),
    }
}

/// Writes a small blob, unless it is there.
async fn put_bytes(client: &Client, repository: &Repository, content: Bytes) -> Result<(), Error> {
    let blob = described("", &content);
    let content = stream::iter([Ok::<_, Infallible>(content)]);
    match put_blob(client, repository, &blob, content).await {
        Err(UploadError::Destination(error)) => Err(error),
        // A source of one piece in memory neither fails nor has another length.
        Ok(()) | Err(UploadError::Source(_) | UploadError::SourceLength { .. }) => Ok(()),
    }
}

/// Writes a blob, unless it is there.
pub(super) async fn put_blob<S, E>(
    client: &Client,
    repository: &Repository,
    blob: &Descriptor,
    content: S,
) -> Result<(), UploadError<E>>
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: std::error::Error + Send + 'static,
{
    match client.blob_exists(repository, &blob.digest).await {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        // Some registries forbid to look for what is not there. Whether it may be written is seen by writing it.
        Err(error) if error.kind() == ErrorKind::Denied => {}
        Err(error) => return Err(UploadError::Destination(error)),
    }
    let upload = client.start_upload(repository, &blob.digest, None).await;
    match upload.map_err(UploadError::Destination)? {
        Upload::Session(session) => client.upload_blob(session, blob, content).await,
        Upload::Mounted => Ok(()),
    }
}
