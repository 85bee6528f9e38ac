//! Platforms (image-spec, image-index.md): what an image runs on.
//!
//! Text and comparison follow containerd, which most people meet through Docker and Kubernetes:
//! `linux/arm64/v8` and `linux/arm64` are one platform, `linux/arm` is `linux/arm/v7`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most characters of one part.
const MAX_PART_LENGTH: usize = 255;

/// An operating system and a processor, as an index entry or a person names them.
///
/// A platform from a document keeps the text that stands there; one that is parsed from
/// `os/architecture[/variant]` is [normalized](Self::normalized).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub(super) os: Part,
    #[serde(default)]
    pub(super) architecture: Part,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) variant: Option<Part>,
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) os_version: Option<Part>,
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) os_features: Option<Vec<Part>>,
}

/// Printable ASCII of bounded length: safe to show and to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Part(String);

/// Why a text names no platform. It repeats nothing of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "malformed platform: expected os/architecture or os/architecture/variant, for example linux/arm64"
)]
pub struct PlatformError;

impl TryFrom<String> for Part {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if printable && text.len() <= MAX_PART_LENGTH {
            Ok(Self(text))
        } else {
            Err(PlatformError)
        }
    }
}

impl From<Part> for String {
    fn from(part: Part) -> Self {
        part.0
    }
}

impl Platform {
    /// The operating system, for example `linux`; a Go `GOOS`.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os.0
    }

    /// The processor architecture, for example `amd64`; a Go `GOARCH`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture.0
    }

    /// The variant of the processor, for example `v7` of `arm`.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_ref().map(|part| part.0.as_str())
    }

    /// The version of the operating system; Windows images have one.
    #[must_use]
    pub fn os_version(&self) -> Option<&str> {
        self.os_version.as_ref().map(|part| part.0.as_str())
    }

    /// What the operating system must offer, for example `win32k`.
    pub fn os_features(&self) -> impl Iterator<Item = &str> {
        self.os_features
            .iter()
            .flatten()
            .map(|part| part.0.as_str())
    }

    /// Whether it is the platform of something that does not run: BuildKit gives `unknown/unknown`
    /// to attestation manifests.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os() == "unknown" && self.architecture() == "unknown"
    }

    /// The same platform under its usual names: lower case, `amd64` for `x86_64`, no variant where
    /// the architecture has that one by default.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let os = match self.os().to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let (architecture, variant) = normalized_architecture(
            &self.architecture().to_ascii_lowercase(),
            &self.variant().unwrap_or_default().to_ascii_lowercase(),
        );
        Self {
            os: Part(os),
            architecture: Part(architecture),
            variant: (!variant.is_empty()).then_some(Part(variant)),
            os_version: self.os_version.clone().filter(|part| !part.0.is_empty()),
            os_features: self.os_features.clone().filter(|parts| !parts.is_empty()),
        }
    }

    /// Whether somebody who asks for `wanted` means this platform.
    ///
    /// Operating system, architecture and variant must be the same once normalized. A version that
    /// is asked for must be the one here or its beginning (`10.0.17763` for `10.0.17763.5206`), and
    /// every feature that is asked for must be here.
    #[must_use]
    pub fn matches(&self, wanted: &Self) -> bool {
        let (own, wanted) = (self.normalized(), wanted.normalized());
        let same_version = wanted.os_version().is_none_or(|wanted| {
            own.os_version()
                .and_then(|own| own.strip_prefix(wanted))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        own.os == wanted.os
            && own.architecture == wanted.architecture
            && own.variant == wanted.variant
            && same_version
            && wanted
                .os_features()
                .all(|feature| own.os_features().any(|own| own == feature))
    }
}

/// What containerd's platforms package makes of an architecture and its variant.
fn normalized_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        same => same,
    };
    (architecture.to_owned(), variant.to_owned())
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |text: &str| {
            let valid = !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
            if valid {
                Part::try_from(text.to_owned())
            } else {
                Err(PlatformError)
            }
        };
        let mut parts = text.split('/');
        let os = parts.next().ok_or(PlatformError)?;
        // As containerd writes it: `windows(10.0.17763)/amd64`.
        let (os, os_version) = match os.split_once('(') {
            Some((os, version)) => (os, Some(version.strip_suffix(')').ok_or(PlatformError)?)),
            None => (os, None),
        };
        let platform = Self {
            os: part(os)?,
            architecture: part(parts.next().ok_or(PlatformError)?)?,
            variant: parts.next().map(part).transpose()?,
            os_version: os_version.map(part).transpose()?,
            os_features: None,
        };
        if parts.next().is_some() {
            return Err(PlatformError);
        }
        Ok(platform.normalized())
    }
}

/// `os/architecture[/variant]`, with the version of the operating system in parentheses after it.
impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.os())?;
        if let Some(version) = self.os_version() {
            write!(formatter, "({version})")?;
        }
        write!(formatter, "/{}", self.architecture())?;
        if let Some(variant) = self.variant() {
            write!(formatter, "/{variant}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("linux/amd64", "linux/amd64")]
    #[case("Linux/x86_64", "linux/amd64")]
    #[case("linux/x86-64/v1", "linux/amd64")]
    #[case("linux/amd64/v3", "linux/amd64/v3")]
    #[case("linux/arm64/v8", "linux/arm64")]
    #[case("linux/aarch64", "linux/arm64")]
    #[case("linux/arm64/v9", "linux/arm64/v9")]
    #[case("linux/arm", "linux/arm/v7")]
    #[case("linux/arm/6", "linux/arm/v6")]
    #[case("linux/armhf", "linux/arm/v7")]
    #[case("linux/armel", "linux/arm/v6")]
    #[case("linux/i386", "linux/386")]
    #[case("macos/arm64", "darwin/arm64")]
    #[case("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64")]
    fn names_are_normalized_as_containerd_does(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(platform(text).to_string(), expected);
    }

    #[rstest]
    #[case("")]
    #[case("linux")]
    #[case("linux/")]
    #[case("/amd64")]
    #[case("linux/amd64/")]
    #[case("linux/arm/v7/x")]
    #[case("linux/am d64")]
    #[case("windows(10.0/amd64")]
    #[case("windows()/amd64")]
    #[case("linux/*")]
    fn other_texts_are_refused(#[case] text: &str) {
        assert_eq!(text.parse::<Platform>(), Err(PlatformError));
    }

    #[rstest]
    #[case("linux/arm64", true)]
    #[case("linux/arm64/v8", true)]
    #[case("linux/arm64/v9", false)]
    #[case("linux/arm", false)]
    #[case("windows/arm64", false)]
    fn an_entry_with_the_default_variant_matches(#[case] wanted: &str, #[case] expected: bool) {
        let entry: Platform =
            serde_json::from_str(r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#)
                .unwrap();
        assert_eq!(entry.to_string(), "linux/arm64/v8");
        assert_eq!(entry.matches(&platform(wanted)), expected);
    }

    #[rstest]
    #[case("windows/amd64", true)]
    #[case("windows(10.0.17763)/amd64", true)]
    #[case("windows(10.0.17763.5206)/amd64", true)]
    #[case("windows(10.0.1776)/amd64", false)]
    #[case("windows(10.0.20348)/amd64", false)]
    fn versions_match_by_their_beginning(#[case] wanted: &str, #[case] expected: bool) {
        let entry: Platform = serde_json::from_str(
            r#"{"architecture":"amd64","os":"windows","os.version":"10.0.17763.5206","os.features":["win32k"]}"#,
        )
        .unwrap();
        assert_eq!(entry.matches(&platform(wanted)), expected);
        assert!(!platform(wanted).matches(&entry), "it has not the feature");
    }

    #[test]
    fn a_document_keeps_its_text_and_may_leave_out_all() {
        let text = r#"{"os":"","architecture":""}"#;
        let empty: Platform = serde_json::from_str("{}").unwrap();
        assert_eq!(serde_json::to_string(&empty).unwrap(), text);
        assert!(!empty.is_unknown());
        let unknown: Platform =
            serde_json::from_str(r#"{"architecture":"unknown","os":"unknown"}"#).unwrap();
        assert!(unknown.is_unknown());
        assert!(serde_json::from_str::<Platform>(r#"{"os":"linux\n"}"#).is_err());
    }
}
