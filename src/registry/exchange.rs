//! One request as often as it takes: attempts, authorization rounds, redirects.
//!
//! The three loops are nested in that order. Only here are credentials attached to a request, and
//! only while the request is at the registry's own origin.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::Client;
use super::answer::{expect_success, expect_uncompressed, text};
use super::auth::{Authorization, MAX_ROUNDS, Scopes};
use super::error::{Pointer, Problem};
use super::http::Side;
use super::limit::Load;
use super::origin::{self, MAX_REDIRECTS, Refusal};
use super::patience::{retry_after, wait_after_too_many};

/// A request that can be sent again: its body is in memory, and a second execution does no harm.
/// A `POST` that opened an upload unnoticed leaves a session, which the registry ends by itself.
pub(super) struct Request {
    pub(super) method: Method,
    /// An absolute path with query, or a URL at the registry's origin.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) scopes: Scopes,
    /// Whether the answer is large content.
    pub(super) bulk: bool,
}

impl Request {
    pub(super) fn new(method: Method, target: String, scopes: Scopes) -> Self {
        Self {
            method,
            target,
            headers: HeaderMap::new(),
            body: None,
            scopes,
            bulk: false,
        }
    }

    fn build(&self, url: Url, authorization: Option<&Authorization>) -> reqwest::Request {
        let mut request = reqwest::Request::new(self.method.clone(), url);
        request.headers_mut().clone_from(&self.headers);
        if let Some(header) = authorization.and_then(Authorization::header) {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        *request.body_mut() = self.body.clone().map(Into::into);
        request
    }
}

/// An answer that was read to its end.
pub(super) struct Fetched {
    /// Who answered, after all redirects.
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An answer, and whether it is the registry's own.
struct Answer {
    response: Response,
    side: Side,
}

impl Client {
    /// Sends `request` until it succeeds, fails for good, or patience ends.
    pub(super) async fn send(&self, request: &Request) -> Result<Response, Problem> {
        let mut waits = self.inner.patience.waits();
        loop {
            match self.attempt(request).await {
                Ok(response) => return Ok(response),
                Err(problem) => self.wait(request, problem, waits.next()).await?,
            }
        }
    }

    /// Does the same and reads the whole answer of at most `limit` bytes; one that breaks off is asked
    /// for again.
    pub(super) async fn fetch(
        &self,
        request: &Request,
        limit: usize,
        what: &'static str,
    ) -> Result<Fetched, Problem> {
        let mut waits = self.inner.patience.waits();
        loop {
            let fetched = async {
                let response = self.attempt(request).await?;
                expect_uncompressed(&response)?;
                Ok(Fetched {
                    url: response.url().clone(),
                    headers: response.headers().clone(),
                    body: self
                        .inner
                        .transport
                        .read_body(response, limit, what)
                        .await?,
                })
            };
            match fetched.await {
                Ok(fetched) => return Ok(fetched),
                Err(problem) => self.wait(request, problem, waits.next()).await?,
            }
        }
    }

    /// Waits for the next attempt, or hands the problem back when there is none.
    async fn wait(
        &self,
        request: &Request,
        problem: Problem,
        planned: Option<Duration>,
    ) -> Result<(), Problem> {
        let Some(wait) = self.inner.patience.wait(&problem, planned) else {
            return Err(problem);
        };
        tracing::debug!(
            registry = %self.inner.registry,
            method = %request.method,
            %problem,
            ?wait,
            "request to registry failed, waiting for the next attempt"
        );
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn attempt(&self, request: &Request) -> Result<Response, Problem> {
        let registry = self.base().await?;
        let url = registry
            .join(&request.target)
            .map_err(|_| Problem::Malformed("the request has no valid URL"))?;
        let mut asked = None;
        for _ in 0..=MAX_ROUNDS {
            let authorization = self
                .inner
                .authenticator
                .authorize(
                    &self.inner.transport,
                    &request.scopes,
                    asked.as_deref(),
                    Duration::ZERO,
                )
                .await?;
            let answer = self.follow(request, url.clone(), &authorization).await?;
            if answer.side == Side::Elsewhere
                || answer.response.status() != StatusCode::UNAUTHORIZED
            {
                return expect_success(&self.inner.transport, &request.method, answer.response)
                    .await;
            }
            asked = self
                .inner
                .authenticator
                .challenged(
                    registry,
                    answer.response.headers(),
                    &request.scopes,
                    &authorization,
                )
                .await?;
        }
        Err(self.inner.authenticator.unauthorized())
    }

    /// Sends a request to the registry itself, when its turn has come.
    async fn send_within_limit(
        &self,
        side: Side,
        request: reqwest::Request,
    ) -> Result<Response, Problem> {
        let inner = &self.inner;
        let in_flight = inner
            .limit
            .admit(inner.patience.longest_wait)
            .await
            .map_err(told_to_wait)?;
        let response = inner.transport.send(side, request).await?;
        in_flight.learn(load(&response));
        self.heed_warnings(response.headers());
        Ok(response)
    }

    /// Logs what the registry wants people to know, once (case 74).
    pub(super) fn heed_warnings(&self, headers: &HeaderMap) {
        let inner = &self.inner;
        let is_secret = |text: &str| inner.authenticator.is_secret(text);
        for warning in inner.warnings.heed(headers, is_secret) {
            tracing::warn!(registry = %inner.registry, warning, "the registry warns");
        }
    }

    /// Follows the redirects of one request. Once it has left the registry's origin it carries no
    /// authorization any more, even when it is sent back.
    async fn follow(
        &self,
        request: &Request,
        mut url: Url,
        authorization: &Authorization,
    ) -> Result<Answer, Problem> {
        let mut side = if request.bulk {
            Side::RegistryBulk
        } else {
            Side::Registry
        };
        for _ in 0..=MAX_REDIRECTS {
            let carried = (side != Side::Elsewhere).then_some(authorization);
            let built = request.build(url.clone(), carried);
            let response = if side == Side::Elsewhere {
                self.inner.transport.send(side, built).await?
            } else {
                self.send_within_limit(side, built).await?
            };
            let Some(location) = redirect(&response) else {
                return Ok(Answer { response, side });
            };
            let next = origin::redirect_target(&url, location).map_err(refused)?;
            if !matches!(request.method, Method::GET | Method::HEAD) {
                return Err(refused(Refusal::Write));
            }
            if !origin::same_origin(&url, &next) {
                side = Side::Elsewhere;
            }
            url = next;
        }
        Err(refused(Refusal::TooManyHops))
    }
}

/// What an answer says of the registry's load.
pub(super) fn load(response: &Response) -> Load {
    let wait = retry_after(response.headers(), Timestamp::now());
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => {
            Load::TooMuch(wait_after_too_many(response.headers(), Timestamp::now()))
        }
        StatusCode::SERVICE_UNAVAILABLE if wait.is_some() => Load::TooMuch(wait),
        status if status.is_server_error() => Load::Unknown,
        _ => Load::Fine,
    }
}

/// The registry has said so to another request.
pub(super) const fn told_to_wait(wait: Duration) -> Problem {
    Problem::RateLimited {
        retry_after: Some(wait),
    }
}

/// Where an answer redirects to, when it does.
fn redirect(response: &Response) -> Option<&str> {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308)
        .then(|| text(response.headers(), LOCATION))
        .flatten()
}

fn refused(refusal: Refusal) -> Problem {
    Problem::Refused {
        pointer: Pointer::Redirect,
        refusal,
    }
}
