//! Where an image goes: the destination reference of a source reference.

use crate::oci::{Reference, ReferenceError, RegistryHost, Tag};

/// How destination references are made.
///
/// `prefix` is a registry with an optional leading part of the repository, `path` the rest of the
/// repository with the placeholders `{registry}` and `{repository}`, `tag` the tag with the
/// placeholder `{tag}`.
#[derive(Clone, Copy, Debug)]
pub struct DestinationTemplate<'a> {
    /// For example `registry.corp.example/mirror`.
    pub prefix: &'a str,
    /// For example `{registry}/{repository}`.
    pub path: &'a str,
    /// For example `{tag}`.
    pub tag: &'a str,
}

/// Why a source has no destination reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{registry}` for an IPv6 address, which no repository name can hold.
    #[error("{{registry}} cannot stand for an IPv6 address; write a fixed path instead")]
    AddressInPath,
    /// What the template makes is not a reference.
    #[error("prefix and path make no valid destination: {0}")]
    Reference(#[from] ReferenceError),
}

impl DestinationTemplate<'_> {
    /// The destination of `source`: with the tag that the template makes, or by the digest of
    /// `source` when that has no tag and the template asks for it.
    pub fn apply(&self, source: &Reference) -> Result<Reference, TemplateError> {
        let mut path = self
            .path
            .replace("{repository}", source.repository().as_str());
        if path.contains("{registry}") {
            let component = source
                .registry()
                .as_path_component()
                .ok_or(TemplateError::AddressInPath)?;
            path = path.replace("{registry}", &component);
        }
        let (host, leading) = self.prefix.split_once('/').unwrap_or((self.prefix, ""));
        let registry: RegistryHost = host.parse()?;
        let repository = if leading.is_empty() {
            path
        } else {
            format!("{leading}/{path}")
        };
        let (tag, digest) = match (source.tag(), self.tag.contains("{tag}")) {
            (Some(tag), true) => (
                Some(self.tag.replace("{tag}", tag.as_str()).parse::<Tag>()?),
                None,
            ),
            (None, true) => (None, source.digest().cloned()),
            (_, false) => (Some(self.tag.parse()?), None),
        };
        Ok(Reference::new(registry, repository.parse()?, tag, digest)?)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const DEFAULT: (&str, &str) = ("{registry}/{repository}", "{tag}");

    #[rstest]
    #[case::default(
        "corp.example/mirror",
        DEFAULT,
        "alpine:3",
        "corp.example/mirror/docker.io/library/alpine:3"
    )]
    #[case::no_leading_part("corp.example", DEFAULT, "ghcr.io/a/b:1", "corp.example/ghcr.io/a/b:1")]
    #[case::port(
        "corp.example:5000/m",
        DEFAULT,
        "src.test:8080/a:1",
        "corp.example:5000/m/src.test_8080/a:1"
    )]
    #[case::fixed("corp.example", ("team/tool", "stable"), "ghcr.io/a/b:1", "corp.example/team/tool:stable")]
    #[case::suffix("corp.example", ("{repository}", "{tag}-copy"), "ghcr.io/a/b:1", "corp.example/a/b:1-copy")]
    fn destinations_follow_the_template(
        #[case] prefix: &str,
        #[case] (path, tag): (&str, &str),
        #[case] source: &str,
        #[case] expected: &str,
    ) {
        let source = source.parse().unwrap();
        let destination = DestinationTemplate { prefix, path, tag }
            .apply(&source)
            .unwrap();
        assert_eq!(destination.to_string(), expected);
    }

    #[test]
    fn an_image_named_by_digest_alone_keeps_only_the_digest() {
        let source = format!("ghcr.io/a/b@{DIGEST}").parse().unwrap();
        let template = DestinationTemplate {
            prefix: "corp.example",
            path: DEFAULT.0,
            tag: DEFAULT.1,
        };
        assert_eq!(
            template.apply(&source).unwrap().to_string(),
            format!("corp.example/ghcr.io/a/b@{DIGEST}")
        );
    }

    #[test]
    fn a_pinned_tag_is_stored_under_the_tag() {
        let source = format!("ghcr.io/a/b:1@{DIGEST}").parse().unwrap();
        let template = DestinationTemplate {
            prefix: "corp.example",
            path: DEFAULT.0,
            tag: DEFAULT.1,
        };
        assert_eq!(
            template.apply(&source).unwrap().to_string(),
            "corp.example/ghcr.io/a/b:1"
        );
    }

    #[test]
    fn impossible_destinations_are_refused() {
        let template = |path| DestinationTemplate {
            prefix: "corp.example",
            path,
            tag: "{tag}",
        };
        let source = "[::1]:5000/a:1".parse().unwrap();
        assert_eq!(
            template("{registry}/a").apply(&source),
            Err(TemplateError::AddressInPath)
        );
        assert!(template("fixed").apply(&source).is_ok());
        assert!(matches!(
            template("/a/").apply(&source),
            Err(TemplateError::Reference(_))
        ));
    }
}
