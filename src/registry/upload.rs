//! Writing blobs: mount, upload session, one streamed PUT (distribution-spec, "Pushing blobs").
//!
//! Content passes through from a stream and is never collected, so it cannot be sent twice: when an
//! upload fails, the caller starts a new one with a new stream. Uploads of large blobs go on where
//! they were cut; they are in `large_upload.rs` and made of the requests here.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::future::join_all;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION,
};
use reqwest::{Body, Method, Response, StatusCode};
use tokio::time::{Instant, timeout};
use url::Url;

use super::answer::{check_content_digest, expect_success, text};
use super::auth::{Authorization, Scopes};
use super::error::{Operation, Pointer, Problem, Subject};
use super::exchange::{Request, load, told_to_wait};
use super::failure::TransportFailure;
use super::http::{BULK_BYTES, Side};
use super::meter::{Interruption, Meter};
use super::origin::{self, Refusal};
use super::{Client, Error};
use crate::oci::{Descriptor, Digest, Repository};

/// The least bytes of a chunk (distribution-spec, "Pushing a blob in chunks").
const LEAST_CHUNK: &str = "oci-chunk-min-length";

/// The pace by which an upload is expected to take its time, so that its token is good to the end.
/// One that is slower and loses its token goes on where it was.
const SLOW_BYTES_PER_SECOND: u64 = 4 * 1024 * 1024;

/// How long the best effort to cancel a failed upload may take.
const CANCEL_TIME: Duration = Duration::from_secs(5);

/// What the registry made of the wish to upload a blob.
#[derive(Debug)]
pub enum Upload {
    /// The blob is in the repository now; nothing has to be sent.
    Mounted,
    /// The registry waits for the content.
    Session(UploadSession),
}

/// An open upload of one blob. The registry ends an unused one by itself after a while.
pub struct UploadSession {
    /// At the registry's origin. Its query can be all that is needed to write there.
    pub(super) location: Url,
    pub(super) scopes: Scopes,
    pub(super) subject: Subject,
    /// The least bytes of a chunk that is not the last, when the registry says.
    pub(super) least_chunk: u64,
    /// Whether an earlier process has opened it, so that it may hold bytes.
    pub(super) reopened: bool,
    /// Its number among the open ones of the client.
    pub(super) number: u32,
}

/// A part of a blob as one request sends it.
pub(super) struct Part<'a> {
    /// Its first byte.
    pub(super) first: u64,
    /// Its bytes.
    pub(super) length: u64,
    /// The digest of the blob, when the upload ends with this part.
    pub(super) completes: Option<&'a Digest>,
    /// Whether the request says which part it is; the whole needs no range.
    pub(super) ranged: bool,
}

impl fmt::Debug for UploadSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "UploadSession({})", self.subject)
    }
}

/// Why an upload failed, by side.
#[derive(Debug, thiserror::Error)]
pub enum UploadError<E: StdError + 'static> {
    /// The stream that gave the content failed.
    #[error("the content could not be read")]
    Source(#[source] E),
    /// The stream ended early or gave more than the descriptor says.
    #[error("the content has another size than the {expected} bytes of its descriptor")]
    SourceLength {
        /// The size in the descriptor.
        expected: u64,
    },
    /// The registry that was written to failed.
    #[error(transparent)]
    Destination(#[from] Error),
}

impl Client {
    /// Asks to write a blob: by mounting it from another repository of this registry when
    /// `mount_from` is given, else by an upload.
    ///
    /// A registry that cannot mount opens a session instead; one that refuses is asked again
    /// without the mount.
    pub async fn start_upload(
        &self,
        repository: &Repository,
        digest: &Digest,
        mount_from: Option<&Repository>,
    ) -> Result<Upload, Error> {
        let subject = self.subject(repository, format!("@{digest}"));
        let opening = {
            let (client, subject) = (self.clone(), subject.clone());
            let (repository, digest) = (repository.clone(), digest.clone());
            let mount_from = mount_from.cloned();
            async move {
                client
                    .mount_or_open(&repository, &digest, mount_from.as_ref(), &subject)
                    .await
            }
        };
        let started = self.inner.open_uploads.open(opening).await;
        started
            .unwrap_or(Err(Problem::UploadLost))
            .map_err(|problem| Error::new(Operation::StartUpload, subject, problem))
    }

    async fn mount_or_open(
        &self,
        repository: &Repository,
        digest: &Digest,
        mount_from: Option<&Repository>,
        subject: &Subject,
    ) -> Result<Upload, Problem> {
        if let Some(source) = mount_from
            && let Some(upload) = self.mount(repository, digest, source, subject).await?
        {
            return Ok(upload);
        }
        self.open_session(repository, subject)
            .await
            .map(Upload::Session)
    }

    /// Sends the content of `blob` in one request that ends the upload.
    ///
    /// Nothing is buffered beyond the connection. When the content or the registry fails, the
    /// request is broken off, so that the registry cannot take a part for the whole, and the session
    /// is cancelled if the registry answers quickly enough.
    pub async fn upload_blob<S, E>(
        &self,
        session: UploadSession,
        blob: &Descriptor,
        content: S,
    ) -> Result<(), UploadError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: StdError + Send + 'static,
    {
        let meter = Arc::new(Meter::new(blob.size));
        let body = Body::wrap_stream(meter.clone().watch(content));
        let whole = Part {
            first: 0,
            length: blob.size,
            completes: Some(&blob.digest),
            ranged: false,
        };
        let sent = self.send_part(&session, &whole, body, &meter).await;
        // A failed source also breaks the request, so it is the first cause.
        let error = match (meter.interruption(), sent) {
            (None, Ok(_)) => {
                self.inner.open_uploads.remove(session.number);
                return Ok(());
            }
            (Some(Interruption::Source(error)), _) => UploadError::Source(error),
            (Some(Interruption::Length), _) => UploadError::SourceLength {
                expected: blob.size,
            },
            (None, Err(problem)) => UploadError::Destination(Error::new(
                Operation::WriteBlob,
                session.subject.clone(),
                problem,
            )),
        };
        self.abandon(&session).await;
        Err(error)
    }

    /// Tries to mount; [`None`] when the registry refused and a plain upload is left to try.
    async fn mount(
        &self,
        repository: &Repository,
        digest: &Digest,
        source: &Repository,
        subject: &Subject,
    ) -> Result<Option<Upload>, Problem> {
        let scopes = Scopes::mount(repository, source);
        let target = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={source}");
        let request = Request::new(Method::POST, target, scopes.clone());
        match self.send(&request).await {
            Ok(response) if response.status() == StatusCode::CREATED => {
                check_content_digest(response.headers(), digest)?;
                Ok(Some(Upload::Mounted))
            }
            Ok(response) => {
                let session = self.session(&response, scopes, subject)?;
                Ok(Some(Upload::Session(session)))
            }
            Err(
                Problem::Unauthorized { .. }
                | Problem::TokenRefused { .. }
                | Problem::Denied { .. }
                | Problem::ReadOnly { .. }
                | Problem::NotFound { .. }
                | Problem::Rejected { .. }
                | Problem::Unavailable { .. },
            ) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    pub(super) async fn open_session(
        &self,
        repository: &Repository,
        subject: &Subject,
    ) -> Result<UploadSession, Problem> {
        let scopes = Scopes::push(repository);
        let target = format!("/v2/{repository}/blobs/uploads/");
        let response = self
            .send(&Request::new(Method::POST, target, scopes.clone()))
            .await?;
        self.session(&response, scopes, subject)
    }

    /// Sends one part into a session, and returns the answer when it is a success.
    pub(super) async fn send_part<E>(
        &self,
        session: &UploadSession,
        part: &Part<'_>,
        body: Body,
        meter: &Meter<E>,
    ) -> Result<Response, Problem> {
        let mut url = session.location.clone();
        let method = match part.completes {
            Some(digest) => {
                url.query_pairs_mut().append_pair("digest", digest.as_str());
                Method::PUT
            }
            None => Method::PATCH,
        };
        let lasting = Duration::from_secs(part.length / SLOW_BYTES_PER_SECOND);
        let (mut request, authorization) = self
            .session_request(url, &session.scopes, method.clone(), lasting)
            .await?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(part.length));
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        if let Some(last) = (part.first + part.length).checked_sub(1)
            && part.ranged
            && part.length > 0
        {
            let range = HeaderValue::try_from(format!("{}-{last}", part.first))
                .map_err(|_| Problem::Configuration("a range is no header value"))?;
            headers.insert(CONTENT_RANGE, range);
        }
        *request.body_mut() = Some(body);
        let patience = &self.inner.patience;
        self.inner
            .limit
            .open(patience.longest_wait)
            .await
            .map_err(told_to_wait)?;
        let side = if part.length < BULK_BYTES {
            Side::Registry
        } else {
            Side::RegistryBulk
        };
        let sent = Instant::now();
        let response = tokio::select! {
            response = self.inner.transport.send_streaming(side, request) => response?,
            () = meter.stalled(patience.idle, patience.commit) => {
                return Err(Problem::Transport(TransportFailure::Timeout));
            }
        };
        self.inner.limit.learn(load(&response), sent);
        self.heed_warnings(response.headers());
        match response.status() {
            StatusCode::UNAUTHORIZED => {
                self.inner
                    .authenticator
                    .refused(&session.scopes, &authorization)
                    .await;
                return Err(Problem::UploadLost);
            }
            StatusCode::NOT_FOUND => return Err(Problem::UploadLost),
            status if status.is_redirection() => {
                return Err(Problem::Refused {
                    pointer: Pointer::Redirect,
                    refusal: Refusal::Write,
                });
            }
            _ => {}
        }
        let response = expect_success(&self.inner.transport, &method, response).await?;
        if let Some(digest) = part.completes {
            check_content_digest(response.headers(), digest)?;
        }
        Ok(response)
    }

    /// Ends a session that is of no use any more, if the registry answers quickly enough.
    ///
    /// It costs a try; the registry also forgets the session by itself.
    pub(super) async fn abandon(&self, session: &UploadSession) {
        let _ = timeout(CANCEL_TIME, self.cancel(&session.location, &session.scopes)).await;
        self.inner.open_uploads.remove(session.number);
    }

    /// Ends the uploads that were dropped before their end, as those of a run that was told to stop,
    /// if the registry answers quickly enough. Those that the next process goes on with stay.
    pub async fn end_open_uploads(&self) {
        let end_all = async {
            let open = self.inner.open_uploads.take().await;
            let ends = open
                .iter()
                .map(|upload| self.cancel(&upload.location, &upload.scopes));
            join_all(ends).await;
        };
        let _ = timeout(CANCEL_TIME, end_all).await;
    }

    async fn cancel(&self, location: &Url, scopes: &Scopes) -> Result<(), Problem> {
        let (request, _) = self
            .session_request(location.clone(), scopes, Method::DELETE, Duration::ZERO)
            .await?;
        self.inner
            .transport
            .send(Side::Registry, request)
            .await
            .map(drop)
    }

    /// The session that an answer opened.
    fn session(
        &self,
        response: &Response,
        scopes: Scopes,
        subject: &Subject,
    ) -> Result<UploadSession, Problem> {
        let location = location_of(response)?.ok_or(Problem::Malformed(
            "an upload was accepted without a Location",
        ))?;
        let open = &self.inner.open_uploads;
        Ok(UploadSession {
            number: open.add(location.clone(), scopes.clone()),
            location,
            scopes,
            subject: subject.clone(),
            least_chunk: text(response.headers(), LEAST_CHUNK)
                .and_then(|bytes| bytes.trim().parse().ok())
                .unwrap_or_default(),
            reopened: false,
        })
    }

    /// A request to the location of a session, authorized as the session was for as long as it lasts.
    async fn session_request(
        &self,
        url: Url,
        scopes: &Scopes,
        method: Method,
        lasting: Duration,
    ) -> Result<(reqwest::Request, Authorization), Problem> {
        let authorization = self
            .inner
            .authenticator
            .authorize(&self.inner.transport, scopes, None, lasting)
            .await?;
        let mut request = reqwest::Request::new(method, url);
        if let Some(header) = authorization.header() {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        Ok((request, authorization))
    }
}

/// Where a session is by an answer about it, when that says so.
pub(super) fn location_of(response: &Response) -> Result<Option<Url>, Problem> {
    text(response.headers(), LOCATION)
        .map(|location| resolve(response.url(), location))
        .transpose()
}

/// Where a session is, when the origin policy allows it.
pub(super) fn resolve(answering: &Url, location: &str) -> Result<Url, Problem> {
    origin::upload_location(answering, location).map_err(|refusal| Problem::Refused {
        pointer: Pointer::Location,
        refusal,
    })
}
