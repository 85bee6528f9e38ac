//! Credentials from a Docker configuration: `.dockerconfigjson` of a Secret, `config.json` of a user.
//!
//! Keys are matched to images as the kubelet does it
//! (<https://kubernetes.io/docs/concepts/containers/images/#config-json>). Errors name the entry and
//! never repeat what is in it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::access::Credentials;
use crate::oci::{RegistryHost, Repository};

/// Both padded and unpadded `auth` values are in use.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A parsed Docker configuration.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The most specific first.
    entries: Vec<Entry>,
    /// Programs that keep the credentials of one registry each.
    helpers: Vec<(RegistryHost, String)>,
    /// The program that keeps all other credentials.
    store: Option<String>,
}

/// The program that keeps the credentials of a registry, by the end of its name: `docker-credential-`
/// comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialHelper<'a> {
    /// Named for this registry: nothing else has its credentials.
    ForRegistry(&'a str),
    /// The store for every registry; what it does not have may be elsewhere.
    Store(&'a str),
}

/// Why a Docker configuration gives no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerConfigError {
    /// Not JSON, or not an object with an object `auths`.
    #[error("the Docker configuration is malformed at line {line}, column {column}")]
    Syntax {
        /// Counted from one.
        line: usize,
        /// Counted from one; zero at the start of a line.
        column: usize,
    },
    /// One entry cannot be used.
    #[error("the entry `{key}` of the Docker configuration {problem}")]
    Entry {
        /// The key of the entry, without user information.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    auths: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEntry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

#[derive(Clone, Debug)]
struct Entry {
    pattern: Pattern,
    credentials: Credentials,
}

/// What the key of an entry matches.
#[derive(Clone, Debug)]
struct Pattern {
    /// Lower case; labels may contain `*`.
    host: String,
    port: Option<String>,
    /// Components of a path prefix.
    path: Vec<String>,
}

impl DockerConfig {
    /// Reads a configuration. Entries without credentials are left out.
    pub fn parse(bytes: &[u8]) -> Result<Self, DockerConfigError> {
        // The parser's own message can quote values.
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| DockerConfigError::Syntax {
                line: error.line(),
                column: error.column(),
            })?;
        let mut entries = Vec::with_capacity(document.auths.len());
        for (key, value) in document.auths {
            entries.extend(Entry::read(&key, value)?);
        }
        // Exact hosts before globs, longer paths before shorter ones.
        entries.sort_by_key(|entry: &Entry| {
            let pattern = &entry.pattern;
            (
                pattern.host.contains('*'),
                std::cmp::Reverse(pattern.path.len()),
                pattern.port.is_none(),
            )
        });
        let helpers = document
            .cred_helpers
            .into_iter()
            .map(|(key, helper)| match registry_of(&key) {
                Some(registry) => Ok((registry, helper)),
                None => Err(invalid(&key, "does not name a registry")),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            entries,
            helpers,
            store: document.creds_store.filter(|name| !name.is_empty()),
        })
    }

    /// The program to ask for the credentials of `registry` before [`Self::credentials_for`].
    #[must_use]
    pub fn helper_for(&self, registry: &RegistryHost) -> Option<CredentialHelper<'_>> {
        self.helpers
            .iter()
            .find(|(known, _)| known == registry)
            .map(|(_, name)| CredentialHelper::ForRegistry(name))
            .or_else(|| self.store.as_deref().map(CredentialHelper::Store))
    }

    /// The credentials for a repository, [`None`] when no entry matches it.
    #[must_use]
    pub fn credentials_for(
        &self,
        registry: &RegistryHost,
        repository: &Repository,
    ) -> Option<Credentials> {
        self.entries
            .iter()
            .find(|entry| entry.pattern.matches(registry, repository))
            .map(|entry| entry.credentials.clone())
    }
}

impl Entry {
    /// [`None`] for an entry that says nothing, as credential helpers leave them.
    fn read(key: &str, value: serde_json::Value) -> Result<Option<Self>, DockerConfigError> {
        let raw = serde_json::from_value::<RawEntry>(value)
            .map_err(|_| invalid(key, "is not an object of strings"))?;
        let pattern =
            Pattern::parse(key).ok_or_else(|| invalid(key, "does not name a registry"))?;
        let (username, password) = if raw.auth.is_empty() {
            (raw.username, raw.password)
        } else {
            decode(&raw.auth).ok_or_else(|| {
                invalid(key, "has an `auth` that is not base64 of `user:password`")
            })?
        };
        // A token beside a password is what the password was exchanged for.
        let credentials = if !raw.registrytoken.is_empty() {
            Credentials::RegistryToken(raw.registrytoken.into())
        } else if !raw.identitytoken.is_empty() {
            Credentials::IdentityToken {
                username,
                token: raw.identitytoken.into(),
            }
        } else if username.is_empty() && raw.auth.is_empty() {
            return Ok(None);
        } else {
            Credentials::Password {
                username,
                password: password.into(),
            }
        };
        Ok(Some(Self {
            pattern,
            credentials,
        }))
    }
}

/// The registry that a key of `credHelpers` names: these are hosts, without paths and globs.
fn registry_of(key: &str) -> Option<RegistryHost> {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    rest.split('/').next()?.parse().ok()
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // Some tools pad with zero bytes before encoding.
    let password = password.trim_end_matches('\0');
    Some((username.to_owned(), password.to_owned()))
}

fn invalid(key: &str, problem: &'static str) -> DockerConfigError {
    let key = match key.rsplit_once('@') {
        Some((_, host)) => host,
        None => key,
    };
    DockerConfigError::Entry {
        key: key.to_owned(),
        problem,
    }
}

impl Pattern {
    /// `[SCHEME://]HOST[:PORT][/v1|/v2][/PATH]`
    fn parse(key: &str) -> Option<Self> {
        let rest = key
            .strip_prefix("https://")
            .or_else(|| key.strip_prefix("http://"))
            .unwrap_or(key);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut path: Vec<_> = path
            .split('/')
            .filter(|component| !component.is_empty())
            .map(str::to_owned)
            .collect();
        if path
            .first()
            .is_some_and(|first| first == "v1" || first == "v2")
        {
            path.remove(0);
        }
        // Where no `*` is in the way the host goes through the same parser as that of an image,
        // which also makes Docker Hub's several names one.
        let (host, port) = split_port(authority);
        let (host, port) = if host.contains('*') {
            (host.to_ascii_lowercase(), port.map(str::to_owned))
        } else {
            let host: RegistryHost = authority.parse().ok()?;
            let (host, port) = split_port(host.as_str());
            (host.to_owned(), port.map(str::to_owned))
        };
        Some(Self { host, port, path })
    }

    fn matches(&self, registry: &RegistryHost, repository: &Repository) -> bool {
        let (host, port) = split_port(registry.as_str());
        self.port.as_deref() == port
            && self.matches_host(host)
            && self.path.len() <= repository.as_str().split('/').count()
            && self
                .path
                .iter()
                .zip(repository.as_str().split('/'))
                .all(|(wanted, component)| wanted == component)
    }

    /// Label by label: `*` never stands for a dot.
    fn matches_host(&self, host: &str) -> bool {
        if !self.host.contains('*') {
            return self.host == host;
        }
        self.host.split('.').count() == host.split('.').count()
            && self
                .host
                .split('.')
                .zip(host.split('.'))
                .all(|(glob, label)| matches_glob(glob, label))
    }
}

/// Whether `text` is `glob` with something, or nothing, for every `*`.
fn matches_glob(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(suffix) = parts.next_back() else {
        return rest.is_empty();
    };
    // The first place for each part leaves most to the parts after it, so that no other is tried.
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(suffix)
}

/// The host and port of `HOST[:PORT]`, with brackets around an IPv6 address.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret as _;
    use serde_json::json;

    use super::*;
    use crate::oci::Reference;

    fn found(config: &DockerConfig, image: &str) -> Option<String> {
        let image: Reference = image.parse().unwrap();
        let found = config.credentials_for(image.registry(), image.repository())?;
        Some(match found {
            Credentials::Password { username, password } => {
                format!("{username}:{}", password.expose_secret())
            }
            Credentials::IdentityToken { username, token } => {
                format!("{username} identity {}", token.expose_secret())
            }
            Credentials::RegistryToken(token) => format!("registry {}", token.expose_secret()),
        })
    }

    fn config(keys: &[&str]) -> DockerConfig {
        let auths: serde_json::Map<_, _> = keys
            .iter()
            .map(|key| {
                (
                    (*key).to_owned(),
                    json!({"username": *key, "password": "p"}),
                )
            })
            .collect();
        DockerConfig::parse(json!({ "auths": auths }).to_string().as_bytes()).unwrap()
    }

    #[rstest]
    #[case("registry.test", "registry.test/a")]
    #[case("REGISTRY.test", "registry.test/a")]
    #[case("https://registry.test/v1/", "registry.test/a")]
    #[case("https://registry.test/v2/", "registry.test/a")]
    #[case("http://registry.test", "registry.test/a")]
    #[case("registry.test:5000", "registry.test:5000/a")]
    #[case("[::1]:5000", "[::1]:5000/a")]
    #[case("registry.test/team", "registry.test/team/a")]
    #[case("registry.test/team/a", "registry.test/team/a")]
    #[case("https://registry.test/v2/team", "registry.test/team/a")]
    #[case("*.registry.test", "eu.registry.test/a")]
    #[case("*.*.test", "eu.registry.test/a")]
    #[case("eu-*.registry.test", "eu-west.registry.test/a")]
    #[case("*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu-1.amazonaws.com/a")]
    #[case("*.registry.test:5000/team", "eu.registry.test:5000/team/a")]
    #[case("*us*w*.registry.test", "eu-us-west.registry.test/a")]
    #[case("docker.io", "alpine")]
    #[case("index.docker.io", "docker.io/org/a")]
    #[case("https://index.docker.io/v1/", "docker.io/library/alpine")]
    #[case("registry-1.docker.io", "alpine")]
    #[case("docker.io/library", "alpine")]
    fn keys_match_like_in_the_kubelet(#[case] key: &str, #[case] image: &str) {
        assert_eq!(found(&config(&[key]), image), Some(format!("{key}:p")));
    }

    #[rstest]
    #[case("registry.test", "registry.test:5000/a")]
    #[case("registry.test:5000", "registry.test/a")]
    #[case("registry.test", "eu.registry.test/a")]
    #[case("registry.test", "registry.test.evil.test/a")]
    #[case("*.test", "eu.registry.test/a")]
    #[case("*", "registry.test/a")]
    #[case("*.registry.test", "registry.test/a")]
    #[case("r*r.test", "r.test/a")]
    #[case::many_globs(&format!("{}x.test", "*r".repeat(60)), &format!("{}.test/a", "r".repeat(63)))]
    #[case("registry.test/team", "registry.test/team-b/a")]
    #[case("registry.test/team/a/b", "registry.test/team/a")]
    #[case("docker.io", "ghcr.io/a")]
    #[case("docker.io/org", "alpine")]
    fn other_images_get_nothing(#[case] key: &str, #[case] image: &str) {
        assert_eq!(found(&config(&[key]), image), None);
    }

    #[test]
    fn the_most_specific_entry_wins() {
        let config = config(&[
            "*.registry.test",
            "eu.registry.test",
            "eu.registry.test/team",
            "eu.registry.test/team/app",
        ]);
        for (image, key) in [
            ("eu.registry.test/team/app", "eu.registry.test/team/app"),
            ("eu.registry.test/team/web", "eu.registry.test/team"),
            ("eu.registry.test/x", "eu.registry.test"),
            ("us.registry.test/x", "*.registry.test"),
        ] {
            assert_eq!(found(&config, image), Some(format!("{key}:p")));
        }
    }

    #[rstest]
    #[case::auth(json!({"auth": "dXNlcjpwYTpzcw=="}), Some("user:pa:ss"))]
    #[case::unpadded(json!({"auth": "dXNlcjpwYTpzcw"}), Some("user:pa:ss"))]
    #[case::auth_wins(json!({"auth": "dXNlcjpwYTpzcw==", "username": "x"}), Some("user:pa:ss"))]
    #[case::fields(json!({"username": "user", "password": "pw", "email": "a@b.test"}), Some("user:pw"))]
    #[case::helper_leftover(json!({}), None)]
    #[case::identity(json!({"identitytoken": "it"}), Some(" identity it"))]
    #[case::identity_of_a_user(
        json!({"auth": "dXNlcjo=", "identitytoken": "it"}), Some("user identity it"))]
    #[case::registry_token(json!({"registrytoken": "rt", "identitytoken": "it"}), Some("registry rt"))]
    fn entries_hold_credentials_in_either_form(
        #[case] entry: serde_json::Value,
        #[case] expected: Option<&str>,
    ) {
        let document = json!({"auths": {"registry.test": entry}, "credsStore": "desktop"});
        let config = DockerConfig::parse(document.to_string().as_bytes()).unwrap();
        assert_eq!(found(&config, "registry.test/a").as_deref(), expected);
    }

    #[rstest]
    #[case::not_base64(json!({"auth": "canary!"}))]
    #[case::no_colon(json!({"auth": "Y2FuYXJ5"}))]
    #[case::not_text(json!({"auth": "/w=="}))]
    #[case::wrong_type(json!({"password": ["canary"]}))]
    #[case::not_an_object(json!("canary"))]
    fn errors_name_the_entry_and_not_its_content(#[case] entry: serde_json::Value) {
        let document = json!({"auths": {"https://me:canary@registry.test/v1/": entry}});
        let error = DockerConfig::parse(document.to_string().as_bytes()).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("registry.test/v1/"), "{text}");
        assert!(!text.contains("canary") && !text.contains("Y2Fu"), "{text}");
    }

    #[rstest]
    #[case(r#"{"auths": "canary"}"#)]
    #[case(r#"{"auths": {canary}}"#)]
    #[case("canary")]
    #[case("")]
    fn malformed_documents_are_located_and_not_quoted(#[case] document: &str) {
        let error = DockerConfig::parse(document.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[rstest]
    #[case("cloud.test", Some(CredentialHelper::ForRegistry("cloud")))]
    #[case("docker.io", Some(CredentialHelper::ForRegistry("hub")))]
    #[case("cloud.test:5000", Some(CredentialHelper::Store("desktop")))]
    fn helpers_belong_to_their_registry(
        #[case] registry: &str,
        #[case] expected: Option<CredentialHelper<'_>>,
    ) {
        let document = json!({
            "credsStore": "desktop",
            "credHelpers": {"cloud.test": "cloud", "https://index.docker.io/v1/": "hub"},
        });
        let config = DockerConfig::parse(document.to_string().as_bytes()).unwrap();
        assert_eq!(config.helper_for(&registry.parse().unwrap()), expected);
    }

    #[test]
    fn no_helper_is_asked_where_none_is_named() {
        let document = json!({"credsStore": "", "credHelpers": {"cloud.test": "cloud"}});
        let config = DockerConfig::parse(document.to_string().as_bytes()).unwrap();
        assert_eq!(config.helper_for(&"registry.test".parse().unwrap()), None);
    }

    #[test]
    fn a_configuration_prints_no_token() {
        let document = json!({"auths": {
            "one.test": {"identitytoken": "canary"},
            "two.test": {"registrytoken": "canary"},
            "three.test": {"username": "canary", "password": "canary"},
        }});
        let config = DockerConfig::parse(document.to_string().as_bytes()).unwrap();
        assert!(!format!("{config:?}").contains("canary"));
    }
}
