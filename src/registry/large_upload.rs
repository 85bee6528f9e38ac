//! Uploads of large blobs: cut, they go on from the offset that the registry acknowledges
//! (distribution-spec, "Pushing a blob in chunks" and "Resuming").
//!
//! The first try is one streamed `PUT`, as for small blobs. A client that saves its uploads sends
//! chunks instead, because only what was acknowledged is still there after the process was killed.
//! Whatever a registry says about a session, only its judgement of the whole content by its digest
//! counts; one that refuses it gets the blob once more in one request. The reasons are in
//! docs/adr/0011-uploads-that-resume.md.

use std::error::Error as StdError;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, stream};
use reqwest::header::RANGE;
use reqwest::{Body, Method, Response, StatusCode};
use tokio::sync::Mutex;

use super::answer::text;
use super::auth::Scopes;
use super::error::{Operation, Problem};
use super::exchange::Request;
use super::meter::{Interruption, Meter};
use super::range;
use super::saved_uploads::SavedUpload;
use super::upload::{Part, UploadError, UploadSession, resolve};
use super::{Client, Error};
use crate::oci::{Descriptor, Repository};

/// Bytes of one chunk, and of the largest blob that is sent without a way to go on.
///
/// It bounds what is sent twice after a kill. With 40 ms for a request it costs less than a tenth of
/// the time up to 300 Mbit/s.
pub const CHUNK_BYTES: u64 = 16 * 1024 * 1024;
/// How often one upload is begun anew in a session of its own, before its caller hears of it.
const RESTARTS: u32 = 2;

/// A blob that can be read more than once.
pub trait BlobContent: Sync {
    /// Why it cannot be read.
    type Error: StdError + Send + 'static;

    /// What the blob is.
    fn descriptor(&self) -> &Descriptor;

    /// The bytes from `offset` to the end, or an error in the place of the last of them when they
    /// are not what the descriptor says.
    fn read_from(&self, offset: u64) -> BoxStream<'static, Result<Bytes, Self::Error>>;
}

/// One reading of the content; chunk after chunk takes from it.
struct Reading<E> {
    content: BoxStream<'static, Result<Bytes, E>>,
    /// What was read and belongs to the next chunk.
    rest: Bytes,
    /// The next byte to give out.
    position: u64,
}

/// An upload in progress.
struct Transfer<'a, C: BlobContent> {
    client: &'a Client,
    repository: &'a Repository,
    content: &'a C,
    session: UploadSession,
    reading: Option<Arc<Mutex<Reading<C::Error>>>>,
    /// The next byte to send.
    offset: u64,
    /// The most bytes that can have arrived.
    sent: u64,
    /// Whether the registry is to acknowledge chunks.
    chunked: bool,
    /// Whether the session holds more than one request has brought.
    pieced: bool,
}

/// Why a transfer ended before its time.
enum Failed<E: StdError + 'static> {
    /// The content cannot be read.
    Content(UploadError<E>),
    /// The session is of no use any more.
    Lost,
    /// Anything else that the registry did.
    Registry(Problem),
}

impl<E: StdError + 'static> From<Problem> for Failed<E> {
    fn from(problem: Problem) -> Self {
        Self::Registry(problem)
    }
}

impl Client {
    /// The session that an earlier process has left open for this blob, when uploads are saved.
    pub async fn saved_session(
        &self,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Option<UploadSession> {
        let uploads = self.saved_uploads.as_ref()?;
        let registry = &self.inner.registry;
        let saved = uploads.load(registry, repository, &blob.digest).await?;
        // The file can be as false as an answer: it may not lead away from the registry.
        let location = resolve(self.base().await.ok()?, &saved.location).ok()?;
        tracing::debug!(
            digest = %blob.digest,
            acknowledged = saved.acknowledged,
            "found the upload of an earlier process"
        );
        Some(UploadSession {
            location,
            scopes: Scopes::push(repository),
            subject: self.subject(repository, format!("@{}", blob.digest)),
            least_chunk: 0,
            reopened: true,
            ended: false,
            left: Arc::clone(&self.inner.left_uploads),
        })
    }

    /// Sends a blob of more than [`CHUNK_BYTES`] into `session`, which is one of `repository`.
    ///
    /// Nothing is buffered beyond the connection and one piece of the content. A request that is cut
    /// is followed by one with the bytes that the registry does not have; a session that is lost, or
    /// whose content the registry refuses, by a new one.
    pub async fn upload_large_blob<C: BlobContent>(
        &self,
        repository: &Repository,
        session: UploadSession,
        content: &C,
    ) -> Result<(), UploadError<C::Error>> {
        let subject = session.subject.clone();
        let mut transfer = Transfer {
            client: self,
            repository,
            content,
            sent: if session.reopened {
                content.descriptor().size
            } else {
                0
            },
            pieced: session.reopened,
            session,
            reading: None,
            offset: 0,
            chunked: self.saved_uploads.is_some(),
        };
        transfer.run().await.map_err(|failed| {
            let problem = match failed {
                Failed::Content(error) => return error,
                Failed::Lost => Problem::UploadLost,
                Failed::Registry(problem) => problem,
            };
            UploadError::Destination(Error::new(Operation::WriteBlob, subject, problem))
        })
    }
}

impl<C: BlobContent> Transfer<'_, C> {
    /// Sends everything, in new sessions where that helps.
    async fn run(&mut self) -> Result<(), Failed<C::Error>> {
        let mut restarts = 0;
        loop {
            let failed = match self.transfer().await {
                Ok(()) => {
                    self.session.ended = true;
                    self.forget().await;
                    return Ok(());
                }
                Err(failed) => failed,
            };
            match &failed {
                Failed::Lost => {}
                // The pieces were no good, or the registry takes none.
                Failed::Registry(problem) if self.pieced && is_refusal(problem) => {
                    self.chunked = false;
                }
                Failed::Registry(problem) => {
                    // The next attempt finds what was saved.
                    if !(self.chunked && self.offset > 0 && problem.is_transient()) {
                        self.give_up().await;
                    }
                    return Err(failed);
                }
                Failed::Content(_) => {
                    self.give_up().await;
                    return Err(failed);
                }
            }
            self.give_up().await;
            if restarts == RESTARTS {
                return Err(failed);
            }
            restarts += 1;
            tracing::debug!(upload = ?self.session, "the upload starts over in a new session");
            self.session = self
                .client
                .open_session(self.repository, &self.session.subject)
                .await?;
            (self.offset, self.sent, self.pieced, self.reading) = (0, 0, false, None);
        }
    }

    /// Sends what the session lacks, as often as patience and progress allow.
    async fn transfer(&mut self) -> Result<(), Failed<C::Error>> {
        if self.session.reopened && !self.resume().await? {
            return Ok(());
        }
        let patience = &self.client.inner.patience;
        let mut waits = patience.waits();
        loop {
            let before = self.offset;
            let problem = match self.send_next().await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    waits = patience.waits();
                    continue;
                }
                Err(Failed::Registry(problem)) => problem,
                Err(failed) => return Err(failed),
            };
            let wait = if is_wrong_offset(&problem) {
                waits.next()
            } else {
                patience.wait(&problem, waits.next())
            };
            let Some(wait) = wait else {
                return Err(Failed::Registry(problem));
            };
            tracing::debug!(upload = ?self.session, %problem, ?wait, "upload was cut");
            tokio::time::sleep(wait).await;
            if !self.resume().await? {
                return Ok(());
            }
            if self.offset > before {
                waits = patience.waits();
            }
        }
    }

    /// Finds out from where to go on; `false` when the blob turns out to be complete.
    async fn resume(&mut self) -> Result<bool, Failed<C::Error>> {
        self.reading = None;
        let request = Request::new(
            Method::GET,
            self.session.location.to_string(),
            self.session.scopes.clone(),
        );
        let response = match self.client.send(&request).await {
            Ok(response) => response,
            Err(Problem::NotFound { .. }) => return self.is_missing().await,
            // Some registries answer so when the last chunk was cut.
            Err(Problem::Rejected { .. } | Problem::ReadOnly { .. }) => return Err(Failed::Lost),
            Err(problem) => return Err(problem.into()),
        };
        self.session.follow(&response)?;
        // A registry that says more than was sent, or nothing, is not believed.
        self.offset = acknowledged(&response)
            .filter(|acknowledged| *acknowledged <= self.sent)
            .ok_or(Failed::Lost)?;
        tracing::debug!(upload = ?self.session, offset = self.offset, "upload goes on");
        Ok(true)
    }

    /// After a session has ended: by the request whose answer was lost, or without it?
    async fn is_missing(&self) -> Result<bool, Failed<C::Error>> {
        let digest = &self.content.descriptor().digest;
        match self.client.blob_exists(self.repository, digest).await {
            Ok(true) => Ok(false),
            _ => Err(Failed::Lost),
        }
    }

    /// Sends the next chunk, or all that is left; `true` when that was the end.
    async fn send_next(&mut self) -> Result<bool, Failed<C::Error>> {
        let blob = self.content.descriptor();
        let remaining = blob.size.saturating_sub(self.offset);
        let length = if self.chunked {
            remaining.min(CHUNK_BYTES.max(self.session.least_chunk))
        } else {
            remaining
        };
        let ends = length == remaining;
        let part = Part {
            first: self.offset,
            length,
            completes: ends.then_some(&blob.digest),
            ranged: length < blob.size,
        };
        self.pieced |= part.ranged;
        // At the end, bytes beyond it are a fault to be noticed.
        let most = if ends { u64::MAX } else { length };
        let meter = Arc::new(Meter::new(length));
        let body = Body::wrap_stream(meter.clone().watch(take(self.reading(), most)));
        let end = self.offset.saturating_add(length);
        self.sent = self.sent.max(end);
        let sent = self
            .client
            .send_part(&self.session, &part, body, &meter)
            .await;
        match meter.interruption() {
            Some(Interruption::Source(error)) => {
                return Err(Failed::Content(UploadError::Source(error)));
            }
            Some(Interruption::Length) => {
                return Err(Failed::Content(UploadError::SourceLength {
                    expected: blob.size,
                }));
            }
            None => {}
        }
        let response = sent?;
        if ends {
            return Ok(true);
        }
        self.session.follow(&response)?;
        self.offset = match acknowledged(&response) {
            Some(acknowledged) if acknowledged > end => return Err(Failed::Lost),
            Some(acknowledged) if acknowledged > self.offset => acknowledged,
            // Some registries take a chunk and do not count it. The digest tells in the end.
            _ => end,
        };
        self.save().await;
        Ok(false)
    }

    /// What gives the bytes from the offset on: the reading of the last chunk, if it stands there.
    fn reading(&mut self) -> Arc<Mutex<Reading<C::Error>>> {
        if let Some(reading) = &self.reading
            // Whoever holds it still is a request that was answered before its end.
            && reading.try_lock().is_ok_and(|reading| reading.position == self.offset)
        {
            return Arc::clone(reading);
        }
        let reading = Arc::new(Mutex::new(Reading {
            content: self.content.read_from(self.offset),
            rest: Bytes::new(),
            position: self.offset,
        }));
        self.reading = Some(Arc::clone(&reading));
        reading
    }

    async fn save(&self) {
        if let Some(uploads) = &self.client.saved_uploads {
            uploads
                .save(&SavedUpload::new(
                    &self.client.inner.registry,
                    self.repository,
                    &self.content.descriptor().digest,
                    &self.session.location,
                    self.offset,
                ))
                .await;
        }
    }

    async fn forget(&self) {
        if let Some(uploads) = &self.client.saved_uploads {
            let digest = &self.content.descriptor().digest;
            uploads
                .forget(&self.client.inner.registry, self.repository, digest)
                .await;
        }
    }

    /// Leaves nothing behind of the session.
    async fn give_up(&mut self) {
        self.forget().await;
        self.client.abandon(&mut self.session).await;
    }
}

impl<E> Reading<E> {
    async fn next(&mut self, most: u64) -> Option<Result<Bytes, E>> {
        if self.rest.is_empty() {
            match self.content.next().await? {
                Ok(piece) => self.rest = piece,
                Err(error) => return Some(Err(error)),
            }
        }
        let length = self
            .rest
            .len()
            .min(usize::try_from(most).unwrap_or(usize::MAX));
        let piece = self.rest.split_to(length);
        self.position = self.position.saturating_add(length as u64);
        Some(Ok(piece))
    }
}

/// The next bytes of a reading, `most` at the most.
fn take<E: Send + 'static>(
    reading: Arc<Mutex<Reading<E>>>,
    most: u64,
) -> impl Stream<Item = Result<Bytes, E>> + Send + 'static {
    stream::unfold((reading, most), |(reading, remaining)| async move {
        if remaining == 0 {
            return None;
        }
        let item = reading.lock().await.next(remaining).await?;
        let taken = item.as_ref().map_or(0, |piece| piece.len() as u64);
        Some((item, (reading, remaining.saturating_sub(taken))))
    })
}

/// How much a session holds, by an answer about it.
fn acknowledged(response: &Response) -> Option<u64> {
    range::acknowledged(text(response.headers(), RANGE)?)
}

/// Whether the registry wants other bytes than it got.
fn is_wrong_offset(problem: &Problem) -> bool {
    matches!(problem, Problem::Rejected { status, .. } if *status == StatusCode::RANGE_NOT_SATISFIABLE)
}

/// Whether the registry has looked at what it got and does not want it.
fn is_refusal(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::Rejected { .. }
            | Problem::ReadOnly { .. }
            | Problem::Malformed(_)
            | Problem::Digest { .. }
    )
}
