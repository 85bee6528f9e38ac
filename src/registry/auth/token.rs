//! Bearer tokens: fetching (distribution, "Token Authentication Specification") and keeping them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::{Scopes, secret_header};
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
/// Scope sets that are remembered; more repositories than this in one run cost further requests.
const MAX_ENTRIES: usize = 1024;

/// A token and when to renew it.
pub(in crate::registry) struct Token {
    header: HeaderValue,
    renew_at: Instant,
}

impl Token {
    pub(super) const fn header(&self) -> &HeaderValue {
        &self.header
    }
}

/// Where tokens for the registry are issued. The realm has passed the origin policy.
pub(super) struct TokenService {
    realm: Url,
    service: Option<String>,
    side: Side,
    credentials: Option<HeaderValue>,
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
        credentials: Option<HeaderValue>,
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
            credentials,
        }
    }

    /// Fetches a token for `scopes`, with `asked` in front. Redirects are not followed.
    async fn fetch(
        &self,
        transport: &Transport,
        scopes: &Scopes,
        asked: Option<&str>,
    ) -> Result<Token, Problem> {
        let mut request = Request::new(Method::GET, self.url(scopes, asked));
        if let Some(credentials) = &self.credentials {
            request
                .headers_mut()
                .insert(AUTHORIZATION, credentials.clone());
        }
        let response = transport.send(self.side, request).await?;
        if response.status().is_redirection() {
            return Err(Problem::Refused {
                pointer: Pointer::Realm,
                refusal: Refusal::Redirected,
            });
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(Problem::Unauthorized {
                had_credentials: self.credentials.is_some(),
            });
        }
        // Lifetimes count from before the answer was written, so that slow answers do not extend them.
        let received_at = Instant::now();
        let response = expect_success(transport, &Method::GET, response).await?;
        let body = transport
            .read_body(response, MAX_TOKEN_BYTES, "a token")
            .await?;
        parse(&body, received_at)
    }

    fn url(&self, scopes: &Scopes, asked: Option<&str>) -> Url {
        let mut url = self.realm.clone();
        url.set_fragment(None);
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            for scope in asked
                .into_iter()
                .chain(scopes.iter().filter(|scope| Some(*scope) != asked))
            {
                query.append_pair("scope", scope);
            }
        }
        url
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
        .and_then(|token| secret_header(format!("Bearer {token}")))
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
        renew_at: received_at + lifetime.saturating_sub(MARGIN.min(lifetime / 4)),
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
    /// The token for `scopes`, fetched when there is none that lives long enough.
    pub(super) async fn get(
        &self,
        transport: &Transport,
        service: &TokenService,
        scopes: &Scopes,
        asked: Option<&str>,
    ) -> Result<Arc<Token>, Problem> {
        let slot = self.slot(scopes);
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref()
            && Instant::now() < token.renew_at
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
        assert_eq!((token.renew_at - now).as_secs(), seconds);
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
