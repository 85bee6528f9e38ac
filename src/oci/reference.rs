//! Image references: `[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]`.
//!
//! The grammar is that of the distribution specification ("Pulling manifests") with Docker's rules
//! for what is left out: a first component without `.`, `:` or the name `localhost` is not a host,
//! the host is then `docker.io`, and single-component repositories there live under `library/`.

use std::fmt;
use std::str::FromStr;

use super::{Digest, DigestError};

/// Most characters of host and repository together; the limit that registries share.
const MAX_NAME_LENGTH: usize = 255;
const MAX_TAG_LENGTH: usize = 128;
const DOCKER_HUB: &str = "docker.io";

/// A registry as people name it: host name, IPv4 or `[IPv6]` address, with an optional port.
///
/// Docker Hub's several names are one here, `docker.io`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost(String);

/// A repository name within a registry, for example `library/alpine`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(String);

/// A tag name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// One image in one registry. At least one of tag and digest is present.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: RegistryHost,
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// Why a string is not a reference. The text is safe to show: it repeats nothing of the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The host is not a host name or address with an optional port.
    #[error("malformed registry host: expected a host name or address with an optional port")]
    Host,
    /// The repository breaks the grammar.
    #[error(
        "malformed repository: expected lower-case letters, digits and single separators . _ - in components joined by /"
    )]
    Repository,
    /// Host and repository together are too long.
    #[error("reference name too long: at most {MAX_NAME_LENGTH} characters before the tag")]
    NameLength,
    /// The tag breaks the grammar.
    #[error(
        "malformed tag: expected at most {MAX_TAG_LENGTH} letters, digits, _ . - not starting with . or -"
    )]
    Tag,
    /// The digest breaks the grammar.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl RegistryHost {
    /// The host with its port, as it is written in references.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is Docker Hub, whose API lives under another name.
    #[must_use]
    pub fn is_docker_hub(&self) -> bool {
        self.0 == DOCKER_HUB
    }

    /// The host as one repository path component, or [`None`] for an IPv6 address.
    ///
    /// The colon before a port becomes `_`, which no host name may contain, so two hosts never
    /// share a component.
    #[must_use]
    pub fn as_path_component(&self) -> Option<String> {
        (!self.0.starts_with('[')).then(|| self.0.replace(':', "_"))
    }
}

impl FromStr for RegistryHost {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_ascii_lowercase();
        let (host, port) = match lower.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (lower.as_str(), None),
        };
        let address = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let valid_host = match address {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host.split('.').all(is_host_label) && is_name_or_canonical_address(host),
        };
        let valid_port = port.is_none_or(|port| {
            !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !valid_host || !valid_port {
            return Err(ReferenceError::Host);
        }
        Ok(match lower.as_str() {
            "index.docker.io" | "registry-1.docker.io" => Self(DOCKER_HUB.to_owned()),
            _ => Self(lower),
        })
    }
}

/// Refuses `0x7f.1` and `127.1`: in a URL they are addresses, and not those that the text shows.
fn is_name_or_canonical_address(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x");
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    !is_number || host.parse::<std::net::Ipv4Addr>().is_ok()
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl Repository {
    /// The name as it is written in URLs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_NAME_LENGTH {
            return Err(ReferenceError::NameLength);
        }
        if text.split('/').all(is_repository_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Repository)
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` of the distribution specification.
fn is_repository_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_are_alphanumeric = component.bytes().next().is_some_and(alphanumeric)
        && component.bytes().next_back().is_some_and(alphanumeric);
    ends_are_alphanumeric
        && component
            .split(|character: char| character.is_ascii_lowercase() || character.is_ascii_digit())
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__")
                    || separator.bytes().all(|byte| byte == b'-')
            })
}

impl Tag {
    /// The name as it is written in URLs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let valid = text.len() <= MAX_TAG_LENGTH
            && text.bytes().next().is_some_and(word)
            && text
                .bytes()
                .all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Tag)
        }
    }
}

impl Reference {
    /// Puts parts together. Without tag and digest the tag is `latest`.
    pub fn new(
        registry: RegistryHost,
        repository: Repository,
        tag: Option<Tag>,
        digest: Option<Digest>,
    ) -> Result<Self, ReferenceError> {
        if registry.0.len() + 1 + repository.0.len() > MAX_NAME_LENGTH {
            return Err(ReferenceError::NameLength);
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(Tag("latest".to_owned())),
            (tag, _) => tag,
        };
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }

    /// Registry and repository, without tag and digest.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The reference as Docker shows it: without the host of Docker Hub, and without the tag that everybody means.
    #[must_use]
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let of_hub = full.strip_prefix(DOCKER_HUB);
        let of_hub = of_hub.and_then(|rest| rest.strip_prefix('/'));
        let short = of_hub.map_or(full.as_str(), |rest| {
            rest.strip_prefix("library/").unwrap_or(rest)
        });
        short.strip_suffix(":latest").unwrap_or(short).to_owned()
    }

    /// Another image of the same repository.
    #[must_use]
    pub fn with_tag(&self, tag: Tag) -> Self {
        Self {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            tag: Some(tag),
            digest: None,
        }
    }

    /// What has this digest in the same repository.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            tag: None,
            digest: Some(digest),
        }
    }

    /// The registry that holds the image.
    #[must_use]
    pub const fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    /// The repository within the registry.
    #[must_use]
    pub const fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, absent when the reference has only a digest.
    #[must_use]
    pub const fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, present when the reference is pinned. It wins over the tag.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            // A colon before the last slash belongs to a port.
            Some((before, tag)) if !tag.contains('/') => (before, Some(tag.parse()?)),
            _ => (name, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((host, repository)) if is_host(host) => (host.parse()?, repository.to_owned()),
            _ => (RegistryHost(DOCKER_HUB.to_owned()), name.to_owned()),
        };
        let repository = if registry.is_docker_hub() && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository
        };
        Self::new(registry, repository.parse()?, tag, digest)
    }
}

/// Whether the first component of a name is a host rather than part of the repository.
fn is_host(component: &str) -> bool {
    component == "localhost" || component.contains(['.', ':', '['])
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry.0, self.repository.0)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{}", tag.0)?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

macro_rules! display_as_str {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    )*};
}
display_as_str!(RegistryHost, Repository, Tag);

/// Serialised as the string that [`fmt::Display`] writes, so that plans stay readable.
macro_rules! serde_as_string {
    ($($name:ident),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_string!(Reference, RegistryHost, Repository, Tag);

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[rstest]
    #[case("alpine", "docker.io/library/alpine:latest")]
    #[case("alpine:3.22", "docker.io/library/alpine:3.22")]
    #[case("org/tool", "docker.io/org/tool:latest")]
    #[case("docker.io/alpine:3", "docker.io/library/alpine:3")]
    #[case("index.docker.io/library/alpine:3", "docker.io/library/alpine:3")]
    #[case("registry-1.docker.io/org/tool:3", "docker.io/org/tool:3")]
    #[case("localhost/tool:1", "localhost/tool:1")]
    #[case("localhost:5000/tool:1", "localhost:5000/tool:1")]
    #[case("GHCR.io/org/tool:V1", "ghcr.io/org/tool:V1")]
    #[case("127.0.0.1:5000/tool:1", "127.0.0.1:5000/tool:1")]
    #[case("[::1]:5000/tool:1", "[::1]:5000/tool:1")]
    #[case("[::1]/tool:1", "[::1]/tool:1")]
    #[case("quay.io/a/b__c/d--e.f:1_2-3.4", "quay.io/a/b__c/d--e.f:1_2-3.4")]
    fn cases_69_70_and_71_references_are_normalised(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<Reference>().unwrap().to_string(), expected);
    }

    #[test]
    fn case_70_a_digest_pins_and_the_tag_is_kept() {
        let both: Reference = format!("ghcr.io/org/tool:v1@{DIGEST}").parse().unwrap();
        assert_eq!(both.digest().unwrap().as_str(), DIGEST);
        assert_eq!(both.tag().unwrap().as_str(), "v1");
        let only_digest: Reference = format!("ghcr.io/org/tool@{DIGEST}").parse().unwrap();
        assert_eq!(only_digest.tag(), None);
    }

    #[rstest]
    #[case::empty("", ReferenceError::Repository)]
    #[case::upper_case_repository("ghcr.io/Org/tool", ReferenceError::Repository)]
    #[case::double_slash("ghcr.io//tool", ReferenceError::Repository)]
    #[case::traversal("ghcr.io/../tool", ReferenceError::Repository)]
    #[case::separator_at_the_end("ghcr.io/tool-", ReferenceError::Repository)]
    #[case::three_underscores("ghcr.io/a___b", ReferenceError::Repository)]
    #[case::scheme("https://ghcr.io/org/tool", ReferenceError::Host)]
    #[case::empty_tag("ghcr.io/org/tool:", ReferenceError::Tag)]
    #[case::tag_with_dot_in_front("ghcr.io/org/tool:.1", ReferenceError::Tag)]
    #[case::space("ghcr.io/org/tool:1 2", ReferenceError::Tag)]
    #[case::port_zero("ghcr.io:0/org/tool", ReferenceError::Host)]
    #[case::port_too_large("ghcr.io:65536/org/tool", ReferenceError::Host)]
    #[case::userinfo(
        "user:secret@ghcr.io/org/tool",
        ReferenceError::Digest(DigestError::Algorithm)
    )]
    #[case::label_with_underscore("my_host.example/tool", ReferenceError::Host)]
    #[case::bad_address("[::zz]/tool", ReferenceError::Host)]
    #[case::short_address("127.1/tool", ReferenceError::Host)]
    #[case::octal_address("127.0.0.010/tool", ReferenceError::Host)]
    #[case::hexadecimal_address("registry.0x7F/tool", ReferenceError::Host)]
    #[case::address_beyond_the_addresses("127.0.0.256:5000/tool", ReferenceError::Host)]
    fn malformed_references_are_refused(#[case] text: &str, #[case] expected: ReferenceError) {
        assert_eq!(text.parse::<Reference>(), Err(expected));
    }

    #[test]
    fn names_are_bounded() {
        let long = format!("ghcr.io/{}", "a".repeat(300));
        assert_eq!(long.parse::<Reference>(), Err(ReferenceError::NameLength));
        assert_eq!("t".repeat(129).parse::<Tag>(), Err(ReferenceError::Tag));
    }

    #[test]
    fn a_host_becomes_one_path_component() {
        let component = |text: &str| text.parse::<RegistryHost>().unwrap().as_path_component();
        assert_eq!(component("docker.io").as_deref(), Some("docker.io"));
        assert_eq!(
            component("Registry.test:5000").as_deref(),
            Some("registry.test_5000")
        );
        assert_eq!(component("[::1]:5000"), None);
        assert!(
            component("registry.test:5000")
                .unwrap()
                .parse::<Repository>()
                .is_ok()
        );
    }
}
