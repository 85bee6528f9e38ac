//! Blobs: looking up and reading (distribution-spec, "Pulling blobs").
//!
//! Content is hashed while it passes and never collected.

use bytes::Bytes;
use futures::{Stream, stream};
use reqwest::header::CONTENT_ENCODING;
use reqwest::{Method, Response};

use super::answer::text;
use super::auth::Scopes;
use super::error::{Operation, Problem};
use super::exchange::Request;
use super::{Client, Error};
use crate::oci::{Descriptor, Digest, Hasher, Repository};

impl Client {
    /// Whether the repository has the blob.
    pub async fn blob_exists(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<bool, Error> {
        match self
            .send(&read_request(Method::HEAD, repository, digest))
            .await
        {
            Ok(_) => Ok(true),
            Err(Problem::NotFound { .. }) => Ok(false),
            Err(problem) => Err(Error::new(
                Operation::FindBlob,
                self.subject(repository, format!("@{digest}")),
                problem,
            )),
        }
    }

    /// Reads a blob piece by piece.
    ///
    /// The stream ends without an error only after exactly the bytes that `blob` describes. The last
    /// piece is given out after the digest was verified, so a consumer that needs all bytes to act
    /// never acts on false ones. Waits end when no byte comes for [`super::Patience::idle`].
    pub async fn get_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + 'static + use<>, Error> {
        let subject = self.subject(repository, format!("@{}", blob.digest));
        let content = self
            .open_blob(repository, blob)
            .await
            .map_err(|problem| Error::new(Operation::ReadBlob, subject.clone(), problem))?;
        Ok(stream::try_unfold(content, move |mut content| {
            let subject = subject.clone();
            async move {
                match content.next().await {
                    Ok(Some(bytes)) => Ok(Some((bytes, content))),
                    Ok(None) => Ok(None),
                    Err(problem) => Err(Error::new(Operation::ReadBlob, subject, problem)),
                }
            }
        }))
    }

    async fn open_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<BlobContent, Problem> {
        let response = self
            .send(&read_request(Method::GET, repository, &blob.digest))
            .await?;
        if text(response.headers(), CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Problem::Malformed(
                "the content is compressed for transport although that was not asked for",
            ));
        }
        if let Some(actual) = response.content_length()
            && actual != blob.size
        {
            return Err(Problem::Length {
                expected: blob.size,
                actual,
                open: false,
            });
        }
        Ok(BlobContent {
            client: self.clone(),
            response,
            hasher: Some(blob.digest.hasher()),
            expected: blob.clone(),
            received: 0,
        })
    }
}

fn read_request(method: Method, repository: &Repository, digest: &Digest) -> Request {
    Request::new(
        method,
        format!("/v2/{repository}/blobs/{digest}"),
        Scopes::pull(repository),
    )
}

/// A blob on its way, with what is known of it so far.
struct BlobContent {
    client: Client,
    response: Response,
    /// Gone when the digest was verified.
    hasher: Option<Hasher>,
    expected: Descriptor,
    received: u64,
}

impl BlobContent {
    /// The next piece, [`None`] after the last, an error instead of anything that is not the blob.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let chunk = self
            .client
            .inner
            .transport
            .next_chunk(&mut self.response)
            .await?;
        let Some(chunk) = chunk else {
            self.check_length(self.received == self.expected.size, false)?;
            self.verify()?;
            return Ok(None);
        };
        self.received = self.received.saturating_add(chunk.len() as u64);
        self.check_length(self.received <= self.expected.size, true)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        if self.received == self.expected.size {
            self.verify()?;
        }
        Ok(Some(chunk))
    }

    fn check_length(&self, holds: bool, open: bool) -> Result<(), Problem> {
        if holds {
            return Ok(());
        }
        Err(Problem::Length {
            expected: self.expected.size,
            actual: self.received,
            open,
        })
    }

    fn verify(&mut self) -> Result<(), Problem> {
        match self.hasher.take().map(Hasher::finish) {
            Some(actual) if actual != self.expected.digest => Err(Problem::Digest {
                expected: self.expected.digest.clone(),
                actual,
            }),
            _ => Ok(()),
        }
    }
}
