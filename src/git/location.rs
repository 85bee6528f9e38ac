//! The address of a repository. Only what `git` cannot read as an option, a command or another
//! protocol; and nothing secret, so that it can be shown everywhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

/// Most bytes of an address.
const MAX_URL_BYTES: usize = 2048;

/// `https://HOST[:PORT]/PATH`, `ssh://[USER@]HOST[:PORT]/PATH`, or `http://` like `https://`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitUrl(Url);

/// What a repository is read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Git's smart HTTP over TLS.
    Https,
    /// The same without TLS: whoever is on the way sees and changes everything.
    Http,
    /// SSH.
    Ssh,
}

/// Why a text is not the address of a repository. It repeats nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitUrlError {
    /// It is no URL, or too long.
    #[error(
        "malformed address of a repository: expected https://HOST/PATH or ssh://USER@HOST/PATH"
    )]
    Malformed,
    /// The short form that Git itself knows.
    #[error("addresses like git@HOST:PATH are not supported: write ssh://git@HOST/PATH")]
    Short,
    /// Another protocol.
    #[error("a repository is read with https or ssh, not with another protocol")]
    Protocol,
    /// It has no host or no path.
    #[error("the address of a repository needs a host and a path")]
    Incomplete,
    /// It contains credentials.
    #[error("credentials do not belong into an address: put them into a Secret")]
    Credentials,
    /// It has a query or a fragment.
    #[error("the address of a repository has no part after ? or #")]
    Query,
}

impl GitUrl {
    /// As Git takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// What it is read with.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self.0.scheme() {
            "https" => Protocol::Https,
            "ssh" => Protocol::Ssh,
            _ => Protocol::Http,
        }
    }

    /// Scheme, host and port: what credentials over HTTP belong to.
    pub(super) fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The address that a submodule has which `.gitmodules` places at `text`: an address of its own, or
    /// one from here on.
    pub(super) fn submodule(&self, text: &str) -> Result<Self, GitUrlError> {
        if !text.starts_with("./") && !text.starts_with("../") {
            return match text.parse() {
                // `git@host:path` is written in many repositories.
                Err(GitUrlError::Short) => match text.split_once(':') {
                    Some((host, path)) => {
                        format!("ssh://{host}/{}", path.trim_start_matches('/')).parse()
                    }
                    None => Err(GitUrlError::Short),
                },
                parsed => parsed,
            };
        }
        let mut path: Vec<&str> = self.0.path().trim_matches('/').split('/').collect();
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." if path.pop().is_some() => {}
                ".." => return Err(GitUrlError::Malformed),
                name => path.push(name),
            }
        }
        let mut url = self.0.clone();
        url.set_path(&path.join("/"));
        url.as_str().parse()
    }
}

impl FromStr for GitUrl {
    type Err = GitUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_strange = |character: char| {
            character.is_control() || character.is_whitespace() || character == '\\'
        };
        if text.len() > MAX_URL_BYTES || text.contains(is_strange) {
            return Err(GitUrlError::Malformed);
        }
        if !text.contains("://") {
            let is_short = text.contains('@') && text.contains(':') && !text.contains("::");
            return Err(if is_short {
                GitUrlError::Short
            } else {
                GitUrlError::Malformed
            });
        }
        let url = Url::parse(text).map_err(|_| GitUrlError::Malformed)?;
        let may_have_user = match url.scheme() {
            "https" | "http" => false,
            "ssh" => true,
            _ => return Err(GitUrlError::Protocol),
        };
        if url.password().is_some() || (!may_have_user && !url.username().is_empty()) {
            return Err(GitUrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(GitUrlError::Query);
        }
        // ssh would take a host or user with a dash in front, also an encoded one, for an option.
        let is_option = |text: &str| text.starts_with('-') || text.contains('%');
        let host = url.host_str().unwrap_or_default();
        if is_option(host) || is_option(url.username()) {
            return Err(GitUrlError::Malformed);
        }
        if host.is_empty() || url.path().len() < 2 {
            return Err(GitUrlError::Incomplete);
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for GitUrl {
    type Error = GitUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<GitUrl> for String {
    fn from(url: GitUrl) -> Self {
        url.0.into()
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://git.example/team/app.git", Protocol::Https)]
    #[case("https://git.example:8443/app", Protocol::Https)]
    #[case("https://[2001:db8::1]/app", Protocol::Https)]
    #[case("ssh://git@git.example/team/app.git", Protocol::Ssh)]
    #[case("ssh://git.example:2222/~team/app", Protocol::Ssh)]
    #[case("http://127.0.0.1:3000/app.git", Protocol::Http)]
    fn addresses(#[case] text: &str, #[case] protocol: Protocol) {
        let url: GitUrl = text.parse().unwrap();
        assert_eq!((url.as_str(), url.protocol()), (text, protocol));
    }

    #[rstest]
    #[case("../library.git", "https://git.example/team/library.git")]
    #[case("./library.git", "https://git.example/team/app.git/library.git")]
    #[case("../a?b", "https://git.example/team/a%3Fb")]
    #[case("../../other/library", "https://git.example/other/library")]
    #[case("https://other.example/a.git", "https://other.example/a.git")]
    #[case("ssh://git@other.example/a.git", "ssh://git@other.example/a.git")]
    #[case("git@other.example:team/a.git", "ssh://git@other.example/team/a.git")]
    fn submodules_have_addresses(#[case] text: &str, #[case] expected: &str) {
        let parent: GitUrl = "https://git.example/team/app.git".parse().unwrap();
        assert_eq!(parent.submodule(text).unwrap().as_str(), expected);
    }

    #[rstest]
    #[case("../../../../etc")]
    #[case("../../..")]
    #[case("ext::sh -c touch")]
    #[case("-u./payload")]
    #[case("file:///etc")]
    #[case("/etc")]
    #[case("-oProxyCommand=touch@host:path")]
    fn submodules_are_nowhere_else(#[case] text: &str) {
        let parent: GitUrl = "https://git.example/team/app.git".parse().unwrap();
        assert!(
            parent.submodule(text).is_err(),
            "{:?}",
            parent.submodule(text)
        );
    }

    #[rstest]
    #[case("", GitUrlError::Malformed)]
    #[case("app.git", GitUrlError::Malformed)]
    #[case("/srv/app.git", GitUrlError::Malformed)]
    #[case("--upload-pack=touch /tmp/x", GitUrlError::Malformed)]
    #[case("-oProxyCommand=touch", GitUrlError::Malformed)]
    #[case("ext::sh -c touch", GitUrlError::Malformed)]
    #[case("ext::touch", GitUrlError::Malformed)]
    #[case("git@git.example:team/app.git", GitUrlError::Short)]
    #[case("file:///srv/app.git", GitUrlError::Protocol)]
    #[case("git://git.example/app.git", GitUrlError::Protocol)]
    #[case("ftp://git.example/app.git", GitUrlError::Protocol)]
    #[case("https://user@git.example/app.git", GitUrlError::Credentials)]
    #[case("https://user:password@git.example/app.git", GitUrlError::Credentials)]
    #[case("ssh://git:password@git.example/app.git", GitUrlError::Credentials)]
    #[case("https://git.example/app.git?token=x", GitUrlError::Query)]
    #[case("https://git.example/app.git#main", GitUrlError::Query)]
    #[case("https://git.example", GitUrlError::Incomplete)]
    #[case("ssh://git@git.example/", GitUrlError::Incomplete)]
    #[case("https:///app.git\n", GitUrlError::Malformed)]
    #[case("https://git.example/a\nb", GitUrlError::Malformed)]
    #[case("https://git.example/a b", GitUrlError::Malformed)]
    #[case("ssh://-oProxyCommand=touch/app.git", GitUrlError::Malformed)]
    #[case("ssh://%2doProxyCommand=touch/app.git", GitUrlError::Malformed)]
    #[case(
        "ssh://-oProxyCommand=touch@git.example/app.git",
        GitUrlError::Malformed
    )]
    fn others_are_refused(#[case] text: &str, #[case] expected: GitUrlError) {
        assert_eq!(text.parse::<GitUrl>(), Err(expected), "{text}");
    }
}
