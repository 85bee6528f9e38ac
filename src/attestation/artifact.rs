//! What a build was made from, as SLSA's `ResourceDescriptor` names it.

use std::collections::BTreeMap;

use serde::Serialize;
use url::Url;

use crate::oci::{Digest, Reference};

/// Something that went into a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Artifact {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    /// By algorithm.
    digest: BTreeMap<String, String>,
}

impl Artifact {
    /// A commit of the Git repository at `url`, found under `reference` if it was not named itself.
    #[must_use]
    pub fn git(url: Option<&str>, reference: Option<&str>, commit: &str) -> Self {
        let reference = reference.map_or_else(String::new, |reference| format!("@{reference}"));
        Self {
            name: None,
            uri: url.map(|url| format!("git+{url}{reference}")),
            digest: BTreeMap::from([("gitCommit".to_owned(), commit.to_owned())]),
        }
    }

    /// An image, with the digest that it had. Its URI is a package URL of type `oci`.
    #[must_use]
    pub fn image(reference: &Reference, digest: &Digest) -> Self {
        let repository = reference.repository().as_str();
        let name = repository.rsplit('/').next().unwrap_or_default();
        let place = escaped(&reference.name());
        // A tag has no character that would have to be escaped.
        let tag = reference.tag();
        let tag = tag.map_or_else(String::new, |tag| format!("&tag={tag}"));
        Self {
            name: None,
            uri: Some(format!("pkg:oci/{name}?repository_url={place}{tag}")),
            digest: digests(digest),
        }
    }

    /// A file of a web server. `url` has to be [`without_secrets`].
    #[must_use]
    pub fn file(url: &str, digest: &Digest) -> Self {
        Self {
            name: None,
            uri: Some(url.to_owned()),
            digest: digests(digest),
        }
    }

    /// Something that has no address outside its cluster.
    #[must_use]
    pub fn named(name: &str, digest: &Digest) -> Self {
        Self {
            name: Some(name.to_owned()),
            uri: None,
            digest: digests(digest),
        }
    }
}

/// An address without what may be a credential in it: user, password, query and fragment.
#[must_use]
pub fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Only an address that has no host takes neither, and there is nothing to take away from it.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// A digest as in-toto writes it.
pub(super) fn digests(digest: &Digest) -> BTreeMap<String, String> {
    let parts = digest.as_str().split_once(':').into_iter();
    parts
        .map(|(algorithm, encoded)| (algorithm.to_owned(), encoded.to_owned()))
        .collect()
}

/// A value in a package URL: colons and slashes stand for themselves, brackets of IPv6 addresses do not.
fn escaped(text: &str) -> String {
    text.replace('[', "%5B").replace(']', "%5D")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(
        "alpine:3.22",
        "pkg:oci/alpine?repository_url=docker.io/library/alpine&tag=3.22"
    )]
    #[case(
        "corp.test:5000/a/b-c:v1",
        "pkg:oci/b-c?repository_url=corp.test:5000/a/b-c&tag=v1"
    )]
    #[case(
        "[::1]:5000/app:v1",
        "pkg:oci/app?repository_url=%5B::1%5D:5000/app&tag=v1"
    )]
    fn an_image_is_a_package_url(#[case] reference: &str, #[case] uri: &str) {
        let digest = Digest::sha256(b"");
        let artifact = Artifact::image(&reference.parse().unwrap(), &digest);
        let (_, encoded) = digest.as_str().split_once(':').unwrap();
        assert_eq!(
            serde_json::to_value(artifact).unwrap(),
            json!({"uri": uri, "digest": {"sha256": encoded}})
        );
    }

    #[test]
    fn a_pinned_image_has_no_tag() {
        let digest = Digest::sha256(b"");
        let reference = format!("corp.test/app@{digest}").parse().unwrap();
        let uri = Artifact::image(&reference, &digest).uri.unwrap();
        assert_eq!(uri, "pkg:oci/app?repository_url=corp.test/app");
    }

    #[test]
    fn an_address_loses_what_may_be_secret() {
        let url = "https://user:password@files.test/a.tgz?token=secret#part";
        let shown = without_secrets(&url.parse().unwrap());
        assert_eq!(shown, "https://files.test/a.tgz");
    }
}
