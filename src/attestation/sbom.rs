//! The software bill of materials of an image: what a scanner has written, as the predicate of a statement.
//!
//! It may be large, and is not held in memory. It is not signed: nobody but the scanner has read the image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;

use super::AttachError;
use super::attach::{put_blob, put_referrer, subject};
use super::provenance::{self, STATEMENT_TYPE};
use super::referrer::{IN_TOTO, IN_TOTO_PREDICATE, of_predicate, referrer};
use crate::oci::{Descriptor, Digest, MediaType, Reference};
use crate::registry::{Client, UploadError};
use crate::transport::{self, blocking, read_file};

/// The kind of predicate.
pub const SBOM_PREDICATE_TYPE: &str = "https://spdx.dev/Document";
/// Most bytes of a document.
const MAX_SBOM_BYTES: u64 = 64 * 1024 * 1024;
/// What messages call the file of the scanner.
const PLACE: &str = "the bill of materials";

/// Why a bill of materials could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// It could not be written, or the registry does not have it.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] transport::Error),
    /// It has more than 64 MiB.
    #[error("the bill of materials has more than 64 MiB")]
    TooLarge,
    /// Somebody has written to the file meanwhile.
    #[error("the bill of materials was changed while it was read")]
    Changed,
    /// It is not what a scanner should have written.
    #[error("the bill of materials is no SPDX document in JSON: {0}")]
    Invalid(#[source] serde_json::Error),
}

/// Of an SPDX document all that is looked at.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "spdxVersion")]
    _version: String,
}

/// Attaches an SPDX document in JSON to `image` in the repository of `reference`, and gives the digest of the artifact.
pub async fn attach_sbom(
    client: &Client,
    reference: &Reference,
    image: &Digest,
    document: File,
) -> Result<Digest, SbomError> {
    let document = Arc::new(document);
    check(&document).await?;
    let subject_of_statement = provenance::subject(&reference.name(), image);
    let begin = json!({
        "_type": STATEMENT_TYPE,
        "subject": [subject_of_statement],
        "predicateType": SBOM_PREDICATE_TYPE,
    })
    .to_string();
    let content = || statement(&begin, &document);
    let layer = described(content()).await?;
    let repository = reference.repository();
    put_blob(client, repository, &layer, content())
        .await
        .map_err(of_upload)?;
    let subject = subject(client, repository, image)
        .await
        .map_err(AttachError::from)?;
    let layer = of_predicate(layer, SBOM_PREDICATE_TYPE);
    let annotations = BTreeMap::from([(IN_TOTO_PREDICATE, SBOM_PREDICATE_TYPE.to_owned())]);
    let manifest = referrer(IN_TOTO, &layer, &subject, &annotations);
    Ok(put_referrer(client, repository, &manifest).await?)
}

/// Reads the document once: what is no JSON must not become part of a statement.
async fn check(document: &Arc<File>) -> Result<(), SbomError> {
    let file = Arc::clone(document);
    let size = blocking(PLACE, move || Ok(file.metadata()?.len())).await?;
    if size > MAX_SBOM_BYTES {
        return Err(SbomError::TooLarge);
    }
    let file = Arc::clone(document);
    let read = move || {
        Ok(serde_json::from_reader::<_, Document>(BufReader::new(
            &*file,
        )))
    };
    let document = blocking(PLACE, read).await?;
    document.map(|_| ()).map_err(SbomError::Invalid)
}

/// The statement: an object that lacks its predicate, which is the document.
fn statement(
    begin: &str,
    document: &Arc<File>,
) -> impl Stream<Item = Result<Bytes, transport::Error>> + Send + use<> {
    let piece = |text: String| stream::iter([Ok(Bytes::from(text))]);
    let open = begin.strip_suffix('}').unwrap_or(begin);
    piece(format!("{open},\"predicate\":"))
        .chain(read_file(PLACE.to_owned(), Arc::clone(document), 0))
        .chain(piece("}".to_owned()))
}

async fn described(
    content: impl Stream<Item = Result<Bytes, transport::Error>>,
) -> Result<Descriptor, transport::Error> {
    let state = (Digest::sha256_hasher(), 0u64);
    let (hasher, size) = content
        .try_fold(state, |(mut hasher, size), piece| async move {
            hasher.update(&piece);
            Ok((hasher, size + piece.len() as u64))
        })
        .await?;
    Ok(Descriptor::new(
        MediaType::new(IN_TOTO),
        hasher.finish(),
        size,
    ))
}

fn of_upload(error: UploadError<transport::Error>) -> SbomError {
    match error {
        UploadError::Destination(error) => AttachError::Registry(error).into(),
        UploadError::Source(error) => error.into(),
        UploadError::SourceLength { .. } => SbomError::Changed,
    }
}
