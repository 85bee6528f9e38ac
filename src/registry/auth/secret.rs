//! Credentials in the forms in which they are sent, and to whom each form may go.
//!
//! It knows no URL: a password goes to the token service or to the registry, an identity token to
//! the token service alone, a registry token to the registry alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::registry::access::Credentials;
use crate::registry::error::Problem;

/// The user name that stands for an identity token that has none of its own.
const NO_USERNAME: &str = "<token>";

/// The credentials of one registry.
#[derive(Clone)]
pub(super) enum Secret {
    /// `Basic` of RFC 7617.
    Password(HeaderValue),
    /// A refresh token.
    Identity {
        /// For the `refresh_token` of RFC 6749 §6.
        token: SecretString,
        /// The same as a password, for a token service that takes no `POST`.
        basic: HeaderValue,
    },
    /// `Bearer` of RFC 6750.
    Token(HeaderValue),
}

impl Secret {
    /// Fails when the credentials have characters that no header has.
    pub(super) fn new(credentials: &Credentials) -> Result<Self, Problem> {
        match credentials {
            Credentials::Password { username, password } => {
                basic(username, password).map(Self::Password)
            }
            Credentials::IdentityToken { username, token } => {
                let username = if username.is_empty() {
                    NO_USERNAME
                } else {
                    username
                };
                basic(username, token).map(|basic| Self::Identity {
                    token: token.clone(),
                    basic,
                })
            }
            Credentials::RegistryToken(token) => bearer(token.expose_secret())
                .map(Self::Token)
                .ok_or(UNUSABLE),
        }
    }

    /// Whether a text has the credentials in it.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let (Self::Password(header) | Self::Identity { basic: header, .. } | Self::Token(header)) =
            self;
        let sent = header.to_str().ok().and_then(|it| it.split_once(' '));
        let Some((scheme, sent)) = sent else {
            return false;
        };
        let decoded = STANDARD.decode(sent).ok().filter(|_| scheme == "Basic");
        let pair = decoded.and_then(|pair| String::from_utf8(pair).ok());
        let password = pair.as_deref().and_then(|pair| pair.split_once(':'));
        text.contains(sent)
            || password.is_some_and(|(_, password)| !password.is_empty() && text.contains(password))
    }

    /// What the registry itself gets when it asks for `Basic`.
    pub(super) const fn for_basic(&self) -> Option<&HeaderValue> {
        match self {
            Self::Password(header) => Some(header),
            Self::Identity { .. } | Self::Token(_) => None,
        }
    }
}

const UNUSABLE: Problem = Problem::Configuration("the credentials cannot be sent");

fn basic(username: &str, password: &SecretString) -> Result<HeaderValue, Problem> {
    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    secret_header(format!("Basic {pair}")).ok_or(UNUSABLE)
}

/// The header for a bearer token, when it can be one.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    secret_header(format!("Bearer {token}"))
}

/// A header value that HTTP libraries keep out of their logs and compression tables.
fn secret_header(text: String) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_kept_out_of_logs() {
        let token = || SecretString::from("secret");
        let identity = |username: &str| Credentials::IdentityToken {
            username: username.to_owned(),
            token: token(),
        };
        for (credentials, expected) in [
            (Credentials::RegistryToken(token()), "Bearer secret"),
            (identity("user"), "Basic dXNlcjpzZWNyZXQ="),
            (identity(""), "Basic PHRva2VuPjpzZWNyZXQ="),
        ] {
            let secret = Secret::new(&credentials).unwrap();
            assert!(secret.for_basic().is_none());
            let (Secret::Password(header)
            | Secret::Identity { basic: header, .. }
            | Secret::Token(header)) = secret;
            assert_eq!(header, expected);
            assert!(header.is_sensitive());
            let secret = Secret::new(&credentials).unwrap();
            assert!(secret.is_in("you sent secret") && !secret.is_in("you sent nothing"));
        }
        let broken = Credentials::RegistryToken("two\r\nlines".to_owned().into());
        assert!(Secret::new(&broken).is_err());
    }
}
