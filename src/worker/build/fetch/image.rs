//! A context that is an image or artifact: its layers, one on top of the other.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::runtime::Handle;

use super::unpack::Unpacking;
use super::{blocking, invalid};
use crate::build::{BuildFailure, FailureClass};
use crate::copy::{AccessReference, Clients, Failure, Side};
use crate::oci::{Content, Descriptor, Digest, Reference};
use crate::reason::Reason;
use crate::registry::ManifestReference;
use crate::transport::{ByteStream, Error, RegistryRepository, Source, VerifiedBlob};
use crate::worker::access;
use crate::worker::build::failure::{of_read, of_secret, of_source};
use crate::worker::build::{StageOptions, only_image};

/// Most layers of a context.
const MAX_LAYERS: usize = 500;
/// How many times a layer is read until it is given up; the client tries each request more often.
const ATTEMPTS: usize = 3;

/// Brings the layers of the image `reference`, whose bytes are all verified.
pub(super) async fn fetch(
    reference: &Reference,
    names: &AccessReference,
    mut unpacking: Unpacking,
    options: &StageOptions,
) -> Result<(), BuildFailure> {
    let digest = reference.digest().ok_or_else(|| {
        of_source(
            Reason::InvalidSpec,
            format!("{reference} has no digest in the plan"),
        )
    })?;
    let catalog = access::load([names], &options.credentials, &options.certificates).await;
    let catalog = catalog.map_err(|error| of_secret(FailureClass::Source, &error))?;
    let client = Clients::new(catalog).get(Side::Source, reference, names);
    let source: Arc<dyn Source> = Arc::new(RegistryRepository::new(
        client.map_err(of_read)?,
        reference.registry().clone(),
        reference.repository().clone(),
    ));
    tracing::info!(image = %reference, "fetching");
    for layer in layers(source.as_ref(), digest).await? {
        unpacking = unpack(&source, layer, unpacking).await?;
    }
    Ok(())
}

/// The layers of a manifest, or of the only image of an index.
async fn layers(source: &dyn Source, digest: &Digest) -> Result<Vec<Descriptor>, BuildFailure> {
    let mut digest = digest.clone();
    // An index, and an image in it.
    for _ in 0..2 {
        let manifest = source.manifest(ManifestReference::Digest(&digest)).await;
        let manifest = manifest.map_err(|error| of_place(&error))?;
        let content = manifest.content();
        let content = content.map_err(|error| of_read(Failure::of_manifest(&error)))?;
        match content {
            Content::Image { layers, .. } | Content::Artifact { blobs: layers, .. } => {
                if layers.len() > MAX_LAYERS {
                    return Err(invalid(format!(
                        "{digest} has more than {MAX_LAYERS} layers"
                    )));
                }
                return Ok(layers);
            }
            Content::Index { manifests, .. } => {
                digest = only_image(manifests).ok_or_else(|| {
                    invalid(format!(
                        "{digest} is an index of several images: name the one to use by its digest"
                    ))
                })?;
            }
        }
    }
    Err(invalid(format!("{digest} is an index within an index")))
}

/// Unpacks a layer. One whose reading breaks off is unpacked again, over what is there of it.
async fn unpack(
    source: &Arc<dyn Source>,
    layer: Descriptor,
    mut unpacking: Unpacking,
) -> Result<Unpacking, BuildFailure> {
    let mut attempt = 1;
    loop {
        let content = VerifiedBlob::new(layer.clone(), Arc::new(Arc::clone(source))).read_from(0);
        let mut reader = LayerReader {
            content,
            piece: Bytes::new(),
            failure: None,
            handle: Handle::current(),
        };
        let place = format!("layer {}", layer.digest);
        let (used, result) = blocking(move || {
            let result = unpacking.unpack(&place, &mut reader);
            // What follows the end of the archive counts for the digest, too.
            let rest = result.and_then(|()| {
                io::copy(&mut reader, &mut io::sink())
                    .map(drop)
                    .map_err(|error| invalid(format!("{place}: {error}")))
            });
            Ok((unpacking, rest.map_err(|failure| (failure, reader.failure))))
        })
        .await?;
        unpacking = used;
        match result {
            Ok(()) => return Ok(unpacking),
            Err((_, Some(error))) if error.is_transient() && attempt < ATTEMPTS => {
                tracing::warn!(layer = %layer.digest, %error, "reading again");
                attempt += 1;
            }
            Err((_, Some(error))) => return Err(of_place(&error)),
            Err((failure, None)) => return Err(failure),
        }
    }
}

fn of_place(error: &Error) -> BuildFailure {
    of_read(Failure::of_place(Side::Source, error))
}

/// A layer as a thread reads it. What goes wrong is kept, because an [`io::Error`] is all that a reader
/// can say.
struct LayerReader {
    content: ByteStream,
    piece: Bytes,
    failure: Option<Error>,
    handle: Handle,
}

impl Read for LayerReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.handle.block_on(self.content.next()) {
                None => return Ok(0),
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => {
                    self.failure = Some(error);
                    return Err(io::Error::other("the source failed"));
                }
            }
        }
        let length = self.piece.len().min(buffer.len());
        let taken = self.piece.split_to(length);
        if let Some(target) = buffer.get_mut(..length) {
            target.copy_from_slice(&taken);
        }
        Ok(length)
    }
}
