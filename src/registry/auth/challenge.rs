//! Reads `WWW-Authenticate` headers and chooses the scheme to answer with.
//!
//! Pure: the realm is text here, `origin.rs` judges it.

use http_auth::{ChallengeParser, ChallengeRef};
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// Longest scope taken from a challenge, in bytes; a longer one is ignored.
const MAX_SCOPE_LENGTH: usize = 1024;

/// A scheme that we can answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// RFC 7617.
    Basic,
    /// RFC 6750, with the parameters of the distribution token specification.
    Bearer(Bearer),
}

/// The parameters of a Bearer challenge.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    /// Where tokens are issued.
    pub(super) realm: String,
    /// The name under which the token service knows the registry.
    pub(super) service: Option<String>,
    /// What the token must give the right to.
    pub(super) scope: Option<String>,
}

impl Challenge {
    /// The challenge to answer: Bearer before Basic, Basic only when there is a password.
    ///
    /// Every header line is read; unknown schemes and lines that break the grammar are passed over.
    pub(super) fn choose(headers: &HeaderMap, has_credentials: bool) -> Option<Self> {
        let mut basic = None;
        for line in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(line) = line.to_str() else { continue };
            for challenge in ChallengeParser::new(line).map_while(Result::ok) {
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    if let Some(bearer) = Bearer::read(&challenge) {
                        return Some(Self::Bearer(bearer));
                    }
                } else if challenge.scheme.eq_ignore_ascii_case("basic") && has_credentials {
                    basic = Some(Self::Basic);
                }
            }
        }
        basic
    }
}

impl Bearer {
    fn read(challenge: &ChallengeRef<'_>) -> Option<Self> {
        let parameter = |name: &str| {
            challenge
                .params
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_unescaped())
                .filter(|value| !value.is_empty())
        };
        Some(Self {
            realm: parameter("realm")?,
            service: parameter("service"),
            scope: parameter("scope").filter(|scope| scope.len() <= MAX_SCOPE_LENGTH),
        })
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn choose(lines: &[&'static str], has_credentials: bool) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(line));
        }
        Challenge::choose(&headers, has_credentials)
    }

    fn bearer(realm: &str) -> Challenge {
        Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: None,
            scope: None,
        })
    }

    #[test]
    fn parameters_are_unescaped() {
        assert_eq!(
            choose(
                &[
                    r#"bearer realm="https://r.test/t\"oken", SERVICE=r.test,scope="repository:a:pull,push""#
                ],
                false
            ),
            Some(Challenge::Bearer(Bearer {
                realm: "https://r.test/t\"oken".to_owned(),
                service: Some("r.test".to_owned()),
                scope: Some("repository:a:pull,push".to_owned()),
            }))
        );
    }

    #[rstest]
    #[case::basic_first(&[r#"Basic realm="r""#, r#"Bearer realm="t""#])]
    #[case::one_line(&[r#"Basic realm="r", Bearer realm="t""#])]
    #[case::unknown_first(&[r#"Negotiate, Bearer realm="t""#])]
    #[case::broken_line_first(&["Basic realm=\"open", r#"Bearer realm="t""#])]
    #[case::token_of_another_scheme(&["Negotiate YII=", r#"Bearer realm="t""#])]
    #[case::bearer_without_realm(&["Bearer service=x", r#"Bearer realm="t""#])]
    fn bearer_wins(#[case] lines: &[&'static str]) {
        assert_eq!(choose(lines, true), Some(bearer("t")));
    }

    #[test]
    fn basic_needs_a_password() {
        let line = [r#"Basic realm="r""#];
        assert_eq!(choose(&line, true), Some(Challenge::Basic));
        assert_eq!(choose(&line, false), None);
        assert_eq!(choose(&[], true), None);
        assert_eq!(choose(&["Digest realm=x"], true), None);
    }
}
