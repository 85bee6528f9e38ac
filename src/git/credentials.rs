//! What a repository is read with, from the keys of a Secret. The names of the keys are those that
//! Flux has.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::{GitUrl, Protocol};

const USERNAME: &str = "username";
const PASSWORD: &str = "password";
const BEARER_TOKEN: &str = "bearerToken";
const IDENTITY: &str = "identity";
const KNOWN_HOSTS: &str = "known_hosts";
const AUTHORITIES: &str = "ca.crt";

/// Most bytes of one value.
const MAX_VALUE_BYTES: usize = 256 * 1024;
/// Parts of a secret that are shorter are not looked for in what is shown: they are everywhere.
const MIN_SCRUBBED_CHARACTERS: usize = 4;

/// Credentials and certificate authorities of one repository.
#[derive(Clone, Debug, Default)]
pub struct GitCredentials {
    pub(super) http: Option<HttpCredentials>,
    pub(super) ssh: Option<SshCredentials>,
    /// Certificate authorities to trust in addition to those of the system, PEM.
    pub(super) authorities: Option<String>,
}

/// Credentials over HTTP. They are for one origin.
#[derive(Clone, Debug)]
pub(super) enum HttpCredentials {
    Password {
        username: String,
        password: SecretString,
    },
    Bearer(SecretString),
}

/// Credentials over SSH.
#[derive(Clone, Debug)]
pub(super) struct SshCredentials {
    /// The private key, as OpenSSH reads it.
    pub(super) identity: SecretString,
    /// The keys that hosts must have.
    pub(super) known_hosts: String,
}

/// Why a Secret cannot be used; names the key, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitCredentialsError {
    /// A key is there without the one that belongs to it.
    #[error("key {0} is missing")]
    Missing(&'static str),
    /// It has none of the keys.
    #[error(
        "none of the keys {USERNAME} with {PASSWORD}, {BEARER_TOKEN}, {IDENTITY} with {KNOWN_HOSTS} and {AUTHORITIES} is there"
    )]
    Empty,
    /// Two ways to log in at the same host.
    #[error("keys {PASSWORD} and {BEARER_TOKEN} are both there: only one of them can be used")]
    Ambiguous,
    /// A value that cannot be what the key says.
    #[error("key {0} has a value that cannot be used: too large, not text, or of several lines")]
    Value(&'static str),
    /// It has nothing for the protocol of the address.
    #[error("the address needs {0}")]
    Protocol(&'static str),
}

impl GitCredentials {
    /// The keys of a Secret that mean something.
    pub const KEYS: [&'static str; 6] = [
        USERNAME,
        PASSWORD,
        BEARER_TOKEN,
        IDENTITY,
        KNOWN_HOSTS,
        AUTHORITIES,
    ];

    /// Reads the values of a Secret by their keys; others than [`Self::KEYS`] are not looked at.
    pub fn parse(values: &BTreeMap<String, Vec<u8>>) -> Result<Self, GitCredentialsError> {
        let text = |key| text(values, key);
        // A line that ends is no other line: files are written that way.
        let line = |key| {
            let Some(value) = text(key)? else {
                return Ok(None);
            };
            let value = value.trim_end_matches(['\r', '\n']);
            if value.contains(char::is_control) {
                return Err(GitCredentialsError::Value(key));
            }
            Ok(Some(value.to_owned()))
        };
        let both = |one: (_, Option<String>), other: (_, Option<String>)| match (one, other) {
            ((_, Some(one)), (_, Some(other))) => Ok(Some((one, other))),
            ((_, None), (_, None)) => Ok(None),
            ((missing, None), _) | (_, (missing, None)) => {
                Err(GitCredentialsError::Missing(missing))
            }
        };
        let password = both((USERNAME, line(USERNAME)?), (PASSWORD, line(PASSWORD)?))?;
        let bearer = line(BEARER_TOKEN)?;
        let http = match (password, bearer) {
            (Some(_), Some(_)) => return Err(GitCredentialsError::Ambiguous),
            (Some((username, password)), None) => Some(HttpCredentials::Password {
                username,
                password: password.into(),
            }),
            (None, Some(token)) => Some(HttpCredentials::Bearer(token.into())),
            (None, None) => None,
        };
        let ssh = both(
            (IDENTITY, text(IDENTITY)?),
            (KNOWN_HOSTS, text(KNOWN_HOSTS)?),
        )?;
        let ssh = ssh.map(|(identity, known_hosts)| SshCredentials {
            identity: identity.into(),
            known_hosts,
        });
        let authorities = text(AUTHORITIES)?;
        if http.is_none() && ssh.is_none() && authorities.is_none() {
            return Err(GitCredentialsError::Empty);
        }
        Ok(Self {
            http,
            ssh,
            authorities,
        })
    }

    /// Whether there is what the protocol of `url` cannot do without.
    pub fn check_for(&self, url: &GitUrl) -> Result<(), GitCredentialsError> {
        match url.protocol() {
            Protocol::Ssh if self.ssh.is_none() => Err(GitCredentialsError::Protocol(
                "the keys identity and known_hosts",
            )),
            Protocol::Https | Protocol::Http
                if self.http.is_none() && self.authorities.is_none() =>
            {
                Err(GitCredentialsError::Protocol(
                    "the keys username and password, or bearerToken",
                ))
            }
            Protocol::Https | Protocol::Http | Protocol::Ssh => Ok(()),
        }
    }

    /// `text` without any part of the credentials that a server may have sent back.
    pub(super) fn scrub(&self, text: &str) -> String {
        let mut secrets = Vec::new();
        match &self.http {
            Some(HttpCredentials::Password { username, password }) => {
                let password = password.expose_secret();
                secrets.push(STANDARD.encode(format!("{username}:{password}")));
                secrets.push(password.to_owned());
            }
            Some(HttpCredentials::Bearer(token)) => {
                secrets.push(token.expose_secret().to_owned());
            }
            None => {}
        }
        if let Some(ssh) = &self.ssh {
            secrets.extend(ssh.identity.expose_secret().lines().map(str::to_owned));
        }
        secrets
            .iter()
            .filter(|secret| secret.chars().count() >= MIN_SCRUBBED_CHARACTERS)
            .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

fn text(
    values: &BTreeMap<String, Vec<u8>>,
    key: &'static str,
) -> Result<Option<String>, GitCredentialsError> {
    let Some(value) = values.get(key) else {
        return Ok(None);
    };
    if value.is_empty() || value.len() > MAX_VALUE_BYTES || value.contains(&0) {
        return Err(GitCredentialsError::Value(key));
    }
    String::from_utf8(value.clone())
        .map(Some)
        .map_err(|_| GitCredentialsError::Value(key))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(entries: &[(&str, &str)]) -> Result<GitCredentials, GitCredentialsError> {
        let entries = entries.iter();
        let values = entries.map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
        GitCredentials::parse(&values.collect())
    }

    #[test]
    fn a_line_that_ends_is_one_line() {
        let credentials = parse(&[("username", "user\n"), ("password", "secret\r\n")]).unwrap();
        let Some(HttpCredentials::Password { username, password }) = credentials.http else {
            panic!("no password");
        };
        assert_eq!(
            (username.as_str(), password.expose_secret()),
            ("user", "secret")
        );
    }

    #[rstest]
    #[case(&[], GitCredentialsError::Empty)]
    #[case(&[("token", "x")], GitCredentialsError::Empty)]
    #[case(&[("username", "user")], GitCredentialsError::Missing("password"))]
    #[case(&[("password", "secret")], GitCredentialsError::Missing("username"))]
    #[case(&[("identity", "key")], GitCredentialsError::Missing("known_hosts"))]
    #[case(&[("known_hosts", "host")], GitCredentialsError::Missing("identity"))]
    #[case(&[("username", "a"), ("password", "b\nc")], GitCredentialsError::Value("password"))]
    #[case(&[("username", "a\nb"), ("password", "c")], GitCredentialsError::Value("username"))]
    #[case(&[("bearerToken", "a\r\nHost: b")], GitCredentialsError::Value("bearerToken"))]
    #[case(&[("bearerToken", "")], GitCredentialsError::Value("bearerToken"))]
    #[case(&[("identity", "a\0b"), ("known_hosts", "c")], GitCredentialsError::Value("identity"))]
    #[case(&[("username", "a"), ("password", "b"), ("bearerToken", "c")], GitCredentialsError::Ambiguous)]
    fn what_cannot_be_used_is_refused(
        #[case] entries: &[(&str, &str)],
        #[case] expected: GitCredentialsError,
    ) {
        assert_eq!(parse(entries).unwrap_err(), expected);
    }

    #[rstest]
    #[case("https://git.test/a", &[("identity", "a"), ("known_hosts", "b")], false)]
    #[case("https://git.test/a", &[("ca.crt", "a")], true)]
    #[case("https://git.test/a", &[("bearerToken", "a")], true)]
    #[case("ssh://git@git.test/a", &[("bearerToken", "a")], false)]
    #[case("ssh://git@git.test/a", &[("identity", "a"), ("known_hosts", "b")], true)]
    fn credentials_are_for_a_protocol(
        #[case] url: &str,
        #[case] entries: &[(&str, &str)],
        #[case] expected: bool,
    ) {
        let checked = parse(entries).unwrap().check_for(&url.parse().unwrap());
        assert_eq!(checked.is_ok(), expected, "{checked:?}");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let credentials = parse(&[
            ("username", "user"),
            ("password", "canary"),
            ("identity", "-----BEGIN\nc2VjcmV0\n-----END\n"),
            ("known_hosts", "host"),
        ])
        .unwrap();
        let encoded = STANDARD.encode("user:canary");
        let shown = credentials.scrub(&format!("user: canary {encoded} c2VjcmV0"));
        assert_eq!(shown, "user: *** *** ***");
        let debug = format!("{credentials:?}");
        assert!(
            !debug.contains("canary") && !debug.contains("c2VjcmV0"),
            "{debug}"
        );
    }
}
