//! Bearer tokens: fetching (distribution, "Token Authentication Specification" and "OAuth 2") and
//! keeping them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::Scopes;
use super::secret::{Secret, bearer};
use crate::registry::answer::expect_success;
use crate::registry::error::{Pointer, Problem};
use crate::registry::http::{Side, Transport};
use crate::registry::origin::{Refusal, same_origin};

const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// The lifetime of a token that does not say its own, by the specification.
const DEFAULT_LIFETIME: Duration = Duration::from_mins(1);
/// No token is used longer than this, whatever it says.
const MAX_LIFETIME: Duration = Duration::from_hours(1);
/// A token is renewed this long before its end, or when a quarter of its life is left.
const MARGIN: Duration = Duration::from_secs(30);
/// By what name token services are told who asks.
const CLIENT_ID: &str = "transship";
/// Scope sets that are remembered; more repositories than this in one run cost further requests.
const MAX_ENTRIES: usize = 1024;

/// A token and its life.
pub(in crate::registry) struct Token {
    header: HeaderValue,
    received_at: Instant,
    lifetime: Duration,
}

impl Token {
    pub(super) const fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// Whether the token is good for a request that begins now and lasts this long.
    ///
    /// A request that outlasts any token gets one that has most of its life before it.
    fn is_good(&self, now: Instant, lasting: Duration) -> bool {
        let age = now.saturating_duration_since(self.received_at);
        let margin = MARGIN.min(self.lifetime / 4);
        let usable = self.lifetime.saturating_sub(margin);
        let enough = lasting.min(usable.saturating_sub(self.lifetime / 4));
        age.saturating_add(enough) < usable
    }
}

/// Where tokens for the registry are issued. The realm has passed the origin policy.
pub(super) struct TokenService {
    realm: Url,
    service: Option<String>,
    side: Side,
    secret: Option<Secret>,
    /// Whether the service has turned out to take no `POST`.
    lacks_post: AtomicBool,
}

/// The answer of a token service; which of the two names it uses is up to it.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

impl TokenService {
    pub(super) fn new(
        registry: &Url,
        realm: Url,
        service: Option<String>,
        secret: Option<Secret>,
    ) -> Self {
        let side = if same_origin(registry, &realm) {
            Side::Registry
        } else {
            Side::Elsewhere
        };
        Self {
            realm,
            service,
            side,
            secret,
            lacks_post: AtomicBool::new(false),
        }
    }

    /// Fetches a token for `scopes`, with `asked` in front. Redirects are not followed.
    async fn fetch(
        &self,
        transport: &Transport,
        scopes: &Scopes,
        asked: Option<&str>,
    ) -> Result<Token, Problem> {
        let (method, response) = self.ask(transport, scopes, asked).await?;
        if response.status().is_redirection() {
            return Err(Problem::Refused {
                pointer: Pointer::Realm,
                refusal: Refusal::Redirected,
            });
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(Problem::Unauthorized {
                had_credentials: self.secret.is_some(),
            });
        }
        // Lifetimes count from before the answer was written, so that slow answers do not extend them.
        let received_at = Instant::now();
        let status = response.status();
        let response = expect_success(transport, &method, response)
            .await
            .map_err(|problem| refused(status, problem))?;
        let body = transport
            .read_body(response, MAX_TOKEN_BYTES, "a token")
            .await?;
        parse(&body, received_at)
    }

    /// Asks with `POST` for an identity token, unless the service turns out not to take that
    /// (case 13), else with `GET`.
    async fn ask(
        &self,
        transport: &Transport,
        scopes: &Scopes,
        asked: Option<&str>,
    ) -> Result<(Method, Response), Problem> {
        if let Some(Secret::Identity { token, .. }) = &self.secret
            && !self.lacks_post.load(Ordering::Relaxed)
        {
            let request = self.exchange(token, scopes, asked);
            let response = transport.send(self.side, request).await?;
            // What services answer that know GET only, as containerd has found: 404 of most, 400 of
            // ACR, 401 of Artifactory, and 405 by the specification of HTTP.
            if !matches!(response.status().as_u16(), 400 | 401 | 404 | 405) {
                return Ok((Method::POST, response));
            }
            self.lacks_post.store(true, Ordering::Relaxed);
        }
        let mut request = Request::new(Method::GET, self.url(scopes, asked));
        if let Some(Secret::Password(basic) | Secret::Identity { basic, .. }) = &self.secret {
            request.headers_mut().insert(AUTHORIZATION, basic.clone());
        }
        let response = transport.send(self.side, request).await?;
        Ok((Method::GET, response))
    }

    /// The exchange of a refresh token (distribution, "Getting a token, OAuth 2").
    fn exchange(&self, token: &SecretString, scopes: &Scopes, asked: Option<&str>) -> Request {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token");
        if let Some(service) = &self.service {
            form.append_pair("service", service);
        }
        form.append_pair("client_id", CLIENT_ID);
        let scopes: Vec<_> = in_order(scopes, asked).collect();
        form.append_pair("scope", &scopes.join(" "));
        form.append_pair("refresh_token", token.expose_secret());
        let mut url = self.realm.clone();
        url.set_fragment(None);
        let mut request = Request::new(Method::POST, url);
        request.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        *request.body_mut() = Some(form.finish().into());
        request
    }

    fn url(&self, scopes: &Scopes, asked: Option<&str>) -> Url {
        let mut url = self.realm.clone();
        url.set_fragment(None);
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            for scope in in_order(scopes, asked) {
                query.append_pair("scope", scope);
            }
        }
        url
    }
}

/// The scopes of a token, with the one that the registry insists on in front.
fn in_order<'a>(scopes: &'a Scopes, asked: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    asked
        .into_iter()
        .chain(scopes.iter().filter(move |scope| Some(*scope) != asked))
}

/// What a registry would say of a manifest or blob, and a token service says of tokens.
fn refused(status: StatusCode, problem: Problem) -> Problem {
    match problem {
        Problem::Denied { code }
        | Problem::NotFound { code }
        | Problem::ReadOnly { code }
        | Problem::Rejected { code, .. } => Problem::TokenRefused { status, code },
        problem => problem,
    }
}

fn parse(body: &[u8], received_at: Instant) -> Result<Token, Problem> {
    let malformed = Problem::Malformed("the token service answered without a usable token");
    let Ok(answer) = serde_json::from_slice::<TokenAnswer>(body) else {
        return Err(malformed);
    };
    let header = answer
        .token
        .filter(|token| !token.is_empty())
        .or(answer.access_token)
        .filter(|token| !token.is_empty())
        .and_then(|token| bearer(&token))
        .ok_or(malformed)?;
    let lifetime =
        answer
            .expires_in
            .filter(|seconds| *seconds >= 1.0)
            .map_or(DEFAULT_LIFETIME, |seconds| {
                Duration::try_from_secs_f64(seconds).map_or(MAX_LIFETIME, |it| it.min(MAX_LIFETIME))
            });
    Ok(Token {
        header,
        received_at,
        lifetime,
    })
}

/// Tokens by exact scope set; requests for the same set share one fetch.
#[derive(Default)]
pub(super) struct TokenCache {
    slots: Mutex<HashMap<Scopes, Slot>>,
}

/// The token of one scope set. The lock is held while it is fetched.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Token>>>>;

impl TokenCache {
    /// The token for `scopes`, fetched when there is none that is good for a request that lasts this
    /// long.
    pub(super) async fn get(
        &self,
        transport: &Transport,
        service: &TokenService,
        scopes: &Scopes,
        asked: Option<&str>,
        lasting: Duration,
    ) -> Result<Arc<Token>, Problem> {
        let slot = self.slot(scopes);
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref()
            && token.is_good(Instant::now(), lasting)
        {
            return Ok(token.clone());
        }
        let token = Arc::new(service.fetch(transport, scopes, asked).await?);
        *slot = Some(token.clone());
        Ok(token)
    }

    /// Drops `refused`, unless another request has replaced it already.
    pub(super) async fn forget(&self, scopes: &Scopes, refused: &Arc<Token>) {
        let slot = self.slot(scopes);
        let mut slot = slot.lock().await;
        if slot
            .as_ref()
            .is_some_and(|token| Arc::ptr_eq(token, refused))
        {
            *slot = None;
        }
    }

    fn slot(&self, scopes: &Scopes) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_ENTRIES && !slots.contains_key(scopes) {
            // Slots in use have a second owner.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(scopes.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::both_names(r#"{"token":"one","access_token":"two"}"#, "Bearer one")]
    #[case::only_access_token(r#"{"access_token":"two"}"#, "Bearer two")]
    #[case::empty_token(r#"{"token":"","access_token":"two"}"#, "Bearer two")]
    #[case::further_members(r#"{"token":"one","issued_at":"x","scope":1}"#, "Bearer one")]
    fn a_token_has_either_name(#[case] body: &str, #[case] expected: &str) {
        let token = parse(body.as_bytes(), Instant::now()).unwrap();
        assert_eq!(token.header(), expected);
        assert!(token.header().is_sensitive());
    }

    #[rstest]
    #[case::missing("", 45)]
    #[case::zero(r#","expires_in":0"#, 45)]
    #[case::negative(r#","expires_in":-5"#, 45)]
    #[case::short(r#","expires_in":8"#, 6)]
    #[case::usual(r#","expires_in":300"#, 270)]
    #[case::fraction(r#","expires_in":300.5"#, 270)]
    #[case::absurd(r#","expires_in":1e300"#, 3570)]
    fn tokens_are_renewed_early(#[case] member: &str, #[case] seconds: u64) {
        let now = Instant::now();
        let body = format!(r#"{{"token":"x"{member}}}"#);
        let token = parse(body.as_bytes(), now).unwrap();
        let good = |after| token.is_good(now + Duration::from_secs(after), Duration::ZERO);
        assert!(good(seconds - 1) && !good(seconds + 1));
    }

    /// A token of five minutes, of which 30 seconds are kept in reserve.
    #[rstest]
    #[case::short_request(5, 264, true)]
    #[case::ends_after_the_token(5, 266, false)]
    #[case::long_request(100, 169, true)]
    #[case::long_request_later(100, 171, false)]
    #[case::outlasts_any_token(3_600, 74, true)]
    #[case::outlasts_any_token_later(3_600, 76, false)]
    fn case_78_a_token_outlives_the_request(
        #[case] lasting: u64,
        #[case] age: u64,
        #[case] is_good: bool,
    ) {
        let now = Instant::now();
        let token = parse(br#"{"token":"x","expires_in":300}"#, now).unwrap();
        let then = now + Duration::from_secs(age);
        assert_eq!(token.is_good(then, Duration::from_secs(lasting)), is_good);
    }

    #[rstest]
    #[case("{}")]
    #[case("")]
    #[case(r#"{"token":"line\nbreak"}"#)]
    #[case(r#"{"token":7}"#)]
    fn other_answers_are_refused(#[case] body: &str) {
        assert!(matches!(
            parse(body.as_bytes(), Instant::now()),
            Err(Problem::Malformed(_))
        ));
    }

    #[test]
    fn the_realm_keeps_its_query() {
        let service = TokenService::new(
            &"https://r.test".parse().unwrap(),
            "https://r.test/token?tenant=a%26b#fragment"
                .parse()
                .unwrap(),
            Some("r test".to_owned()),
            None,
        );
        let scopes = Scopes::pull(&"a/b".parse().unwrap());
        assert_eq!(
            service.url(&scopes, Some("aws")).as_str(),
            "https://r.test/token?tenant=a%26b&service=r+test&scope=aws&scope=repository%3Aa%2Fb%3Apull"
        );
        assert_eq!(
            service.url(&scopes, Some("repository:a/b:pull")),
            service.url(&scopes, None)
        );
    }
}
