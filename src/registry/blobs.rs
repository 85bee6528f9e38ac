//! Blobs: looking up and reading (distribution-spec, "Pulling blobs").
//!
//! Content passes through and is never collected, except where the caller sets a limit.

use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt as _, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::answer::{expect_uncompressed, text};
use super::auth::Scopes;
use super::error::{Operation, Problem, Subject};
use super::exchange::Request;
use super::http::BULK_BYTES;
use super::pace::{LEAST_PROGRESS, Pace};
use super::range::ContentRange;
use super::{Client, Error};
use crate::oci::{Descriptor, Digest, Repository};

impl Client {
    /// Whether the repository has the blob.
    pub async fn blob_exists(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let found = self.head_blob(repository, digest).await?;
        Ok(found.is_some())
    }

    /// The bytes that the blob has; [`None`] when the repository does not have it, or does not say.
    pub async fn blob_size(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        let found = self.head_blob(repository, digest).await?;
        // The body of an answer to HEAD has no length, the header tells that of the content.
        Ok(found.and_then(|answer| text(answer.headers(), CONTENT_LENGTH)?.parse().ok()))
    }

    async fn head_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<Response>, Error> {
        match self
            .send(&read_request(Method::HEAD, repository, digest))
            .await
        {
            Ok(answer) => Ok(Some(answer)),
            Err(Problem::NotFound { .. }) => Ok(None),
            Err(problem) => Err(Error::new(
                Operation::FindBlob,
                self.subject(repository, format!("@{digest}")),
                problem,
            )),
        }
    }

    /// Reads a blob piece by piece, from byte `offset` to its end.
    ///
    /// The stream gives exactly the bytes from `offset` to the size that `blob` names, or an error.
    /// It does not hash: whoever puts the content to use hashes it, once, in one place. The request
    /// is made when the first piece is asked for, and none when there is nothing to read.
    ///
    /// A download that breaks off or stands still goes on from where it was, from the registry's own
    /// URL and never from one that it redirected to. It is given up after
    /// [`super::Patience::attempts`] in a row that brought nothing worth mentioning.
    pub fn read_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        offset: u64,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static + use<> {
        let download = Download {
            subject: self.subject(repository, format!("@{}", blob.digest)),
            client: self.clone(),
            repository: repository.clone(),
            blob: blob.clone(),
            position: offset,
            body: None,
            ranges_work: true,
            waits: self.inner.patience.waits(),
            since_failure: 0,
        };
        stream::try_unfold(download, |mut download| async move {
            match download.next().await {
                Ok(Some(bytes)) => Ok(Some((bytes, download))),
                Ok(None) => Ok(None),
                Err(problem) => Err(Error::new(Operation::ReadBlob, download.subject, problem)),
            }
        })
    }

    /// Reads a whole blob of at most `limit` bytes and verifies it against its digest.
    pub async fn get_blob_bytes(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        limit: usize,
    ) -> Result<Bytes, Error> {
        let failed = |problem| {
            Error::new(
                Operation::ReadBlob,
                self.subject(repository, format!("@{}", blob.digest)),
                problem,
            )
        };
        if blob.size > limit as u64 {
            return Err(failed(Problem::TooLarge {
                what: "a blob",
                limit,
            }));
        }
        let content = self
            .read_blob(repository, blob, 0)
            .try_fold(BytesMut::new(), |mut content, piece| async move {
                content.extend_from_slice(&piece);
                Ok(content)
            })
            .await?
            .freeze();
        let mut hasher = blob.digest.hasher();
        hasher.update(&content);
        let actual = hasher.finish();
        if actual == blob.digest {
            Ok(content)
        } else {
            Err(failed(Problem::Digest {
                expected: blob.digest.clone(),
                actual,
            }))
        }
    }
}

fn read_request(method: Method, repository: &Repository, digest: &Digest) -> Request {
    Request::new(
        method,
        format!("/v2/{repository}/blobs/{digest}"),
        Scopes::pull(repository),
    )
}

/// A blob on its way, across all the requests that this takes.
struct Download {
    client: Client,
    subject: Subject,
    repository: Repository,
    blob: Descriptor,
    /// The byte that is wanted next.
    position: u64,
    body: Option<Body>,
    /// Cleared when the registry answered a range with another one.
    ranges_work: bool,
    waits: backon::ExponentialBackoff,
    /// Bytes since the last failure; enough of them make attempts count anew.
    since_failure: u64,
}

/// The answer that is being read.
struct Body {
    response: Response,
    pace: Pace,
    /// Bytes to pass over: the registry sent the whole where a part was asked for.
    skip: u64,
}

impl Download {
    /// The next piece, [`None`] after the last, an error instead of anything that is not the blob.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        self.check_length(self.position, false)?;
        loop {
            if self.body.is_none() {
                if self.position == self.blob.size {
                    return Ok(None);
                }
                self.body = self.open().await?;
            }
            let Some(body) = &mut self.body else {
                continue;
            };
            let problem = match self
                .client
                .inner
                .transport
                .next_chunk(&mut body.response, &mut body.pace)
                .await
            {
                Ok(Some(piece)) => match self.accept(piece)? {
                    Some(piece) => return Ok(Some(piece)),
                    None => continue,
                },
                Ok(None) | Err(_) if self.position == self.blob.size => return Ok(None),
                // Like a connection that broke: servers and proxies that give up end the body.
                Ok(None) => Problem::Length {
                    expected: self.blob.size,
                    actual: self.position,
                    open: false,
                },
                Err(problem) => problem,
            };
            self.body = None;
            self.wait(problem).await?;
        }
    }

    /// The part of a piece that is wanted; [`None`] when all of it is to be passed over.
    fn accept(&mut self, mut piece: Bytes) -> Result<Option<Bytes>, Problem> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        let skipped = body.skip.min(piece.len() as u64);
        body.skip -= skipped;
        bytes::Buf::advance(&mut piece, usize::try_from(skipped).unwrap_or(usize::MAX));
        if piece.is_empty() {
            return Ok(None);
        }
        let position = self.position.saturating_add(piece.len() as u64);
        self.check_length(position, true)?;
        self.position = position;
        self.since_failure = self.since_failure.saturating_add(piece.len() as u64);
        Ok(Some(piece))
    }

    /// Opens the rest of the blob; [`None`] when the answer is for something else and the whole has
    /// to be asked for.
    async fn open(&mut self) -> Result<Option<Body>, Problem> {
        let mut request = read_request(Method::GET, &self.repository, &self.blob.digest);
        request.bulk = self.blob.size >= BULK_BYTES;
        let partial = self.position > 0 && self.ranges_work;
        if partial {
            let range = HeaderValue::try_from(format!("bytes={}-", self.position))
                .map_err(|_| Problem::Malformed("the range cannot be sent in a header"))?;
            request.headers.insert(RANGE, range);
        }
        let response = match self.client.send(&request).await {
            Ok(response) => response,
            Err(Problem::Rejected {
                status: StatusCode::RANGE_NOT_SATISFIABLE,
                ..
            }) if partial => {
                self.ranges_work = false;
                return Ok(None);
            }
            Err(problem) => return Err(problem),
        };
        expect_uncompressed(&response)?;
        let skip = if response.status() == StatusCode::PARTIAL_CONTENT {
            if !partial {
                return Err(Problem::Malformed(
                    "a part of the content came where the whole was asked for",
                ));
            }
            if !self.is_the_rest(&response) {
                self.ranges_work = false;
                return Ok(None);
            }
            0
        } else {
            if let Some(actual) = response.content_length()
                && actual != self.blob.size
            {
                return Err(Problem::Length {
                    expected: self.blob.size,
                    actual,
                    open: false,
                });
            }
            self.position
        };
        Ok(Some(Body {
            response,
            pace: self.client.inner.transport.pace(),
            skip,
        }))
    }

    /// Whether a partial answer starts where the content stopped. It may end early, like any answer.
    fn is_the_rest(&self, response: &Response) -> bool {
        let range = text(response.headers(), CONTENT_RANGE).and_then(ContentRange::parse);
        range.is_some_and(|range| {
            range.first == self.position
                && range.last < self.blob.size
                && range.size.is_none_or(|size| size == self.blob.size)
                && response
                    .content_length()
                    .is_none_or(|length| length == range.last - range.first + 1)
        })
    }

    /// Waits before the download goes on, or gives it up with its problem.
    async fn wait(&mut self, problem: Problem) -> Result<(), Problem> {
        let patience = &self.client.inner.patience;
        if self.since_failure >= LEAST_PROGRESS {
            self.waits = patience.waits();
        }
        self.since_failure = 0;
        let wait = patience
            .wait(&problem, self.waits.next())
            .ok_or_else(|| problem.clone())?;
        tracing::debug!(
            blob = %self.subject,
            position = self.position,
            %problem,
            ?wait,
            "download broke off, it goes on from there"
        );
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn check_length(&self, reached: u64, open: bool) -> Result<(), Problem> {
        if reached <= self.blob.size {
            return Ok(());
        }
        Err(Problem::Length {
            expected: self.blob.size,
            actual: reached,
            open,
        })
    }
}
