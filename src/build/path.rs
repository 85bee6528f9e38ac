//! A path inside the context of a build. It says nothing of what lies there: links are another matter.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most bytes of a path; that of Linux.
const MAX_PATH_BYTES: usize = 4095;

/// A relative path, its components separated by single slashes, none of them `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContextPath(String);

/// A text is not a [`ContextPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a relative path without . or .., its components separated by /, of at most {MAX_PATH_BYTES} bytes"
)]
pub struct ContextPathError;

impl AsRef<Path> for ContextPath {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl FromStr for ContextPath {
    type Err = ContextPathError;

    /// A leading `./` and slashes at the end, which people write, mean nothing.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("./").unwrap_or(text);
        let path = path.trim_end_matches('/');
        let is_name =
            |name: &str| !matches!(name, "" | "." | "..") && !name.contains(char::is_control);
        if path.len() > MAX_PATH_BYTES || !path.split('/').all(is_name) {
            return Err(ContextPathError);
        }
        Ok(Self(path.to_owned()))
    }
}

impl TryFrom<String> for ContextPath {
    type Error = ContextPathError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ContextPath> for String {
    fn from(path: ContextPath) -> Self {
        path.0
    }
}

impl fmt::Display for ContextPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("services/app", "services/app")]
    #[case("./services/app/", "services/app")]
    #[case("a..b", "a..b")]
    fn paths_inside_are_taken(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<ContextPath>().unwrap().to_string(), expected);
    }

    #[rstest]
    #[case("")]
    #[case("/")]
    #[case("/etc")]
    #[case(".")]
    #[case("..")]
    #[case("a/../b")]
    #[case("a//b")]
    #[case("a/./b")]
    #[case("a\nb")]
    #[case("a\0b")]
    #[case(&"a/".repeat(2100))]
    fn others_are_refused(#[case] text: &str) {
        assert_eq!(text.parse::<ContextPath>(), Err(ContextPathError));
    }
}
