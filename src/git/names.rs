//! Names of commits and references. Pure; whether they exist is another matter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most bytes of a reference's name.
const MAX_NAME_BYTES: usize = 1024;
const SHA1_DIGITS: usize = 40;
const SHA256_DIGITS: usize = 64;
const BRANCHES: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";

/// A commit by its full name: 40 hexadecimal digits, or 64 in a repository that uses SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

/// A branch or tag by its full name, for example `refs/heads/main`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReferenceName(String);

/// Why a text is no name. It repeats nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is not the full name of a commit.
    #[error("expected the full name of a commit: 40 or 64 lower-case hexadecimal digits")]
    Commit,
    /// It breaks the rules that Git has for names of references.
    #[error("expected the name of a branch or tag as Git allows it (git help check-ref-format)")]
    Reference,
}

impl CommitId {
    /// As Git writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How the repository names its objects.
    pub(super) fn object_format(&self) -> &'static str {
        if self.0.len() == SHA1_DIGITS {
            "sha1"
        } else {
            "sha256"
        }
    }
}

impl ReferenceName {
    /// The branch `name`, for example `main`.
    pub fn branch(name: &str) -> Result<Self, NameError> {
        Self::below(BRANCHES, name)
    }

    /// The tag `name`, for example `v1.2.3`.
    pub fn tag(name: &str) -> Result<Self, NameError> {
        Self::below(TAGS, name)
    }

    fn below(kind: &str, name: &str) -> Result<Self, NameError> {
        if is_reference_path(name) {
            Ok(Self(format!("{kind}{name}")))
        } else {
            Err(NameError::Reference)
        }
    }

    /// As Git writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is and how people call it, for messages: `branch main`.
    #[must_use]
    pub fn describe(&self) -> String {
        let of_kind = |kind, word| Some(format!("{word} {}", self.0.strip_prefix(kind)?));
        of_kind(BRANCHES, "branch")
            .or_else(|| of_kind(TAGS, "tag"))
            .unwrap_or_else(|| self.0.clone())
    }
}

/// The rules of `git check-ref-format`, and a limit to the length.
fn is_reference_path(name: &str) -> bool {
    let is_component = |component: &str| {
        !component.is_empty()
            && !component.starts_with('.')
            && component.strip_suffix(".lock").is_none()
    };
    let is_forbidden = |character: char| {
        character.is_control()
            || matches!(character, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\')
    };
    name.len() <= MAX_NAME_BYTES
        && name.split('/').all(is_component)
        && !name.contains(is_forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.starts_with('-')
        && !name.ends_with('.')
}

impl FromStr for CommitId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if matches!(text.len(), SHA1_DIGITS | SHA256_DIGITS) && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Commit)
        }
    }
}

impl FromStr for ReferenceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let of_kind = |kind| Some(Self::below(kind, text.strip_prefix(kind)?));
        of_kind(BRANCHES)
            .or_else(|| of_kind(TAGS))
            .unwrap_or(Err(NameError::Reference))
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    )*};
}
as_text!(CommitId, ReferenceName);

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn commits_have_full_names() {
        for text in ["a".repeat(40), "0".repeat(64)] {
            assert_eq!(text.parse::<CommitId>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "main",
            "a1b2c3d",
            &"A".repeat(40),
            &"a".repeat(41),
            &"-".repeat(40),
        ] {
            assert_eq!(text.parse::<CommitId>(), Err(NameError::Commit), "{text}");
        }
    }

    #[rstest]
    #[case("main")]
    #[case("feature/login")]
    #[case("v1.2.3")]
    #[case("@")]
    #[case("grün")]
    fn references_have_names(#[case] name: &str) {
        let branch = ReferenceName::branch(name).unwrap();
        assert_eq!(branch.as_str(), format!("refs/heads/{name}"));
        assert_eq!(branch.describe(), format!("branch {name}"));
        assert_eq!(branch.as_str().parse(), Ok(branch));
        let tag = ReferenceName::tag(name).unwrap();
        assert_eq!(tag.describe(), format!("tag {name}"));
    }

    #[rstest]
    #[case("")]
    #[case("-upload-pack=touch")]
    #[case("--exec")]
    #[case("a b")]
    #[case("a\nb")]
    #[case("a..b")]
    #[case("a:b")]
    #[case("a~1")]
    #[case("a^{}")]
    #[case("a@{1}")]
    #[case("*")]
    #[case("/a")]
    #[case("a/")]
    #[case("a//b")]
    #[case(".a")]
    #[case("a/.b")]
    #[case("a.lock")]
    #[case("a.")]
    #[case("a\\b")]
    #[case("+a\u{7f}")]
    fn what_git_refuses_is_refused(#[case] name: &str) {
        assert_eq!(ReferenceName::branch(name), Err(NameError::Reference));
        let full = format!("refs/heads/{name}");
        assert_eq!(full.parse::<ReferenceName>(), Err(NameError::Reference));
    }

    #[test]
    fn only_branches_and_tags_are_references() {
        for name in ["HEAD", "main", "refs/pull/1/head", "refs/heads"] {
            assert_eq!(
                name.parse::<ReferenceName>(),
                Err(NameError::Reference),
                "{name}"
            );
        }
    }
}
