//! Authorization for the registry's own origin: which challenge it gave, and the header to send.
//!
//! The header values made here are attached by `exchange.rs`, to the registry's origin only. Where a
//! token may be fetched is decided by `origin.rs`.

mod challenge;
mod scope;
mod secret;
mod token;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use url::Url;

use self::challenge::Challenge;
pub(super) use self::scope::Scopes;
use self::secret::Secret;
use self::token::{Token, TokenCache, TokenService};
use super::access::Credentials;
use super::error::{Pointer, Problem};
use super::http::Transport;
use super::origin;

/// How often one request may be answered with a challenge and be sent again.
pub(super) const MAX_ROUNDS: usize = 2;

/// The credentials of one registry and what they were exchanged for.
pub(super) struct Authenticator {
    secret: Option<Secret>,
    /// How the registry last asked for authorization; later requests answer before being asked.
    method: Mutex<Option<Method>>,
    tokens: TokenCache,
}

/// How requests are authorized.
#[derive(Clone)]
enum Method {
    /// With the credentials themselves.
    Fixed(HeaderValue),
    Bearer(Arc<TokenService>),
}

/// What one request carries.
pub(super) enum Authorization {
    /// Nothing: the registry has not asked yet.
    None,
    /// The credentials themselves.
    Fixed(HeaderValue),
    /// A token for the scopes of the request.
    Bearer(Arc<Token>),
}

impl Authorization {
    pub(super) fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::None => None,
            Self::Fixed(header) => Some(header),
            Self::Bearer(token) => Some(token.header()),
        }
    }
}

impl Authenticator {
    pub(super) fn new(credentials: Option<&Credentials>) -> Result<Self, Problem> {
        Ok(Self {
            secret: credentials.map(Secret::new).transpose()?,
            method: Mutex::new(None),
            tokens: TokenCache::default(),
        })
    }

    /// The authorization for a request with `scopes`, fetching a token when there is none.
    ///
    /// `asked` is the scope that the registry named when it refused the last token, `lasting` how long
    /// the request may take: a token that would not outlive it is replaced (case 78).
    pub(super) async fn authorize(
        &self,
        transport: &Transport,
        scopes: &Scopes,
        asked: Option<&str>,
        lasting: Duration,
    ) -> Result<Authorization, Problem> {
        let method = self
            .method
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Ok(match method {
            None => Authorization::None,
            Some(Method::Fixed(header)) => Authorization::Fixed(header),
            Some(Method::Bearer(service)) => Authorization::Bearer(
                self.tokens
                    .get(transport, &service, scopes, asked, lasting)
                    .await?,
            ),
        })
    }

    /// Takes note of a 401: what was `sent` is no good, and `headers` say what is wanted.
    ///
    /// Returns the scope that the registry names after it refused a token.
    pub(super) async fn challenged(
        &self,
        registry: &Url,
        headers: &HeaderMap,
        scopes: &Scopes,
        sent: &Authorization,
    ) -> Result<Option<String>, Problem> {
        self.refused(scopes, sent).await;
        let basic = self.secret.as_ref().and_then(Secret::for_basic);
        // The same credentials again would only lock the account.
        let was_offered = matches!(sent, Authorization::Fixed(_));
        let (method, scope) = match (Challenge::choose(headers, basic.is_some()), &self.secret) {
            (Some(Challenge::Bearer(_)), Some(Secret::Token(token))) if !was_offered => {
                (Method::Fixed(token.clone()), None)
            }
            (Some(Challenge::Bearer(_)), Some(Secret::Token(_))) => {
                return Err(self.unauthorized());
            }
            (Some(Challenge::Bearer(bearer)), secret) => {
                let realm = origin::token_realm(registry, &bearer.realm, secret.is_some())
                    .map_err(|refusal| Problem::Refused {
                        pointer: Pointer::Realm,
                        refusal,
                    })?;
                let service = TokenService::new(registry, realm, bearer.service, secret.clone());
                (Method::Bearer(Arc::new(service)), bearer.scope)
            }
            (Some(Challenge::Basic), _) if !was_offered => match basic {
                Some(basic) => (Method::Fixed(basic.clone()), None),
                None => return Err(self.unauthorized()),
            },
            _ => return Err(self.unauthorized()),
        };
        *self.method.lock().unwrap_or_else(PoisonError::into_inner) = Some(method);
        Ok(scope.filter(|_| matches!(sent, Authorization::Bearer(_))))
    }

    /// The problem of a request that was refused once too often.
    pub(super) fn unauthorized(&self) -> Problem {
        Problem::Unauthorized {
            had_credentials: self.secret.is_some(),
        }
    }

    /// Whether a text repeats the credentials, in a form in which they are sent.
    pub(super) fn is_secret(&self, text: &str) -> bool {
        self.secret
            .as_ref()
            .is_some_and(|secret| secret.is_in(text))
            || text.to_ascii_lowercase().contains("bearer ")
    }

    /// Drops a token that was refused.
    pub(super) async fn refused(&self, scopes: &Scopes, sent: &Authorization) {
        if let Authorization::Bearer(token) = sent {
            self.tokens.forget(scopes, token).await;
        }
    }
}

/// The realm of the challenge that would be answered, for `registry::fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn realm_of(headers: &HeaderMap) -> Option<String> {
    match Challenge::choose(headers, true) {
        Some(Challenge::Bearer(bearer)) => Some(bearer.realm),
        _ => None,
    }
}
