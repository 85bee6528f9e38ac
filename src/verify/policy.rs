//! What a user demands of signatures, as it is written down in a plan. Nothing is verified here.

use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Most bytes of a glob: as many as registry and repository have.
const MAX_GLOB_BYTES: usize = 255;
/// Most bytes of an issuer or a subject, or of an expression for one.
const MAX_TEXT_BYTES: usize = 2048;
/// Most bytes that a compiled expression takes.
const MAX_EXPRESSION_BYTES: usize = 1024 * 1024;

/// Which images have to be signed, and by whom.
///
/// An image that no policy matches is copied. One that several match has to satisfy each of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// The source repositories that it is for.
    ///
    /// A glob over registry and repository, for example `ghcr.io/org/**`: `*` stands for any characters but
    /// `/`, `**` for any. Tags are not looked at: whoever may move a tag must not choose the policy with it.
    #[serde(default = "everything")]
    pub r#match: String,
    /// In which form signatures are kept.
    #[serde(default)]
    pub provider: Provider,
    /// Whose signature is valid.
    pub signers: Signers,
}

impl Policy {
    /// Whether its glob means something. The signers are looked at one by one, as [`Identity::check`] does.
    pub fn check_match(&self) -> Result<(), PolicyError> {
        Pattern::new(&self.r#match).map(|_| ())
    }
}

impl Identity {
    /// Whether both of its expressions mean something.
    pub fn check(&self) -> Result<(), PolicyError> {
        ReadyIdentity::new(self).map(|_| ())
    }
}

/// In which form signatures are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provider {
    /// As cosign keeps them: under the tag `sha256-<hex>.sig`, or as Sigstore bundles that refer to the image.
    #[default]
    Cosign,
}

/// Whose signature is valid. Keys and trusted roots go by the names under which [`super::Trust`] has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Signers {
    /// Whoever has the private half of one of these keys.
    #[serde(rename_all = "camelCase")]
    Keys {
        /// The keys.
        keys: String,
        /// With it, the signature has to stand in a transparency log of this root, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trusted_root: Option<String>,
    },
    /// Whoever one of these identity providers vouched for.
    #[serde(rename_all = "camelCase")]
    Identities {
        /// The identities, one of which has to match.
        identities: Vec<Identity>,
        /// The authorities that issue certificates, and the logs that keep them and the signatures.
        trusted_root: String,
    },
}

/// A signer without a key of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// The identity provider that vouched, for example `https://token.actions.githubusercontent.com`.
    pub issuer: Matcher,
    /// Whom it vouched for: an address of a person, or the URI of a workflow.
    pub subject: Matcher,
}

/// The glob of a policy for every image.
fn everything() -> String {
    "**".to_owned()
}

/// What one text has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Matcher {
    /// Exactly this.
    Exact(String),
    /// A text of which this regular expression matches the whole, not only a part as with cosign.
    Regex(String),
}

/// Why a policy means nothing that can be demanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The glob is none, or can match no source.
    #[error("match: {0}")]
    Pattern(&'static str),
    /// The expression is no regular expression, or one that takes too much memory.
    #[error("{field}: not a regular expression of at most {MAX_TEXT_BYTES} bytes")]
    Expression {
        /// Which member of an identity it is.
        field: &'static str,
    },
    /// Nobody would match, or anybody.
    #[error("{field}: it is empty")]
    Empty {
        /// Which member it is.
        field: &'static str,
    },
    /// There are no keys or no root of this name.
    #[error("there are no {kind} named {name}")]
    Unknown {
        /// What there should be.
        kind: &'static str,
        /// Its name.
        name: String,
    },
}

/// The glob of a policy, ready to be asked.
#[derive(Debug)]
pub(super) struct Pattern(GlobMatcher);

impl Pattern {
    /// Reads a glob. One that no repository in its normal form can match is refused: the images that it was
    /// meant for would be copied unverified.
    pub(super) fn new(text: &str) -> Result<Self, PolicyError> {
        let error = PolicyError::Pattern;
        if text.is_empty() || text.len() > MAX_GLOB_BYTES {
            return Err(error("it is empty or longer than 255 characters"));
        }
        if text.starts_with('[') {
            return Err(error(
                "brackets stand for one of several characters: write ? for those of an address",
            ));
        }
        if text.contains('@')
            || text
                .rsplit('/')
                .next()
                .is_some_and(|last| last.contains(':'))
        {
            return Err(error(
                "it names a tag or a digest: write registry and repository only",
            ));
        }
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(error(
                "it has capital letters, and names of images have none",
            ));
        }
        let (host, repository) = text.split_once('/').unwrap_or((text, ""));
        let is_glob = |text: &str| text.contains(['*', '?', '[', '{']);
        if !(is_glob(host) || host == "localhost" || host.contains(['.', ':'])) {
            return Err(error(
                "it does not begin with a registry, such as docker.io/library/",
            ));
        }
        let reaches_below = repository.contains('/') || repository.contains("**");
        match host {
            "docker.io" if !reaches_below => Err(error(
                "no image of docker.io has such a name: write docker.io/library/ before it",
            )),
            "index.docker.io" | "registry-1.docker.io" => {
                Err(error("this registry goes by the name docker.io"))
            }
            _ => Ok(()),
        }?;
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|_| error("it is not a glob"))?;
        Ok(Self(glob.compile_matcher()))
    }

    /// Whether the policy is for `repository`, with its registry and in the normal form.
    pub(super) fn matches(&self, repository: &str) -> bool {
        self.0.is_match(repository)
    }
}

/// A [`Matcher`], ready to be asked.
#[derive(Debug)]
enum ReadyMatcher {
    Exact(String),
    Regex(Regex),
}

impl ReadyMatcher {
    fn new(field: &'static str, matcher: &Matcher) -> Result<Self, PolicyError> {
        let (Matcher::Exact(text) | Matcher::Regex(text)) = matcher;
        if text.is_empty() {
            return Err(PolicyError::Empty { field });
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(PolicyError::Expression { field });
        }
        match matcher {
            Matcher::Exact(text) => Ok(Self::Exact(text.clone())),
            // Alone first: `a)|(b` would leave the group around it.
            Matcher::Regex(text) => compile(text)
                .and_then(|_| compile(&format!(r"\A(?:{text})\z")))
                .map(Self::Regex)
                .map_err(|_| PolicyError::Expression { field }),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == text,
            Self::Regex(expression) => expression.is_match(text),
        }
    }
}

fn compile(expression: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(expression)
        .size_limit(MAX_EXPRESSION_BYTES)
        .build()
}

/// An [`Identity`], ready to be asked.
#[derive(Debug)]
pub(super) struct ReadyIdentity {
    issuer: ReadyMatcher,
    subject: ReadyMatcher,
}

impl ReadyIdentity {
    pub(super) fn new(identity: &Identity) -> Result<Self, PolicyError> {
        Ok(Self {
            issuer: ReadyMatcher::new("issuer", &identity.issuer)?,
            subject: ReadyMatcher::new("subject", &identity.subject)?,
        })
    }

    /// Whether this is `subject`, vouched for by `issuer`.
    pub(super) fn matches(&self, issuer: &str, subject: &str) -> bool {
        self.issuer.matches(issuer) && self.subject.matches(subject)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("**", "ghcr.io/org/app", true)]
    #[case("**", "localhost:5000/app", true)]
    #[case("ghcr.io/org/**", "ghcr.io/org/app", true)]
    #[case("ghcr.io/org/**", "ghcr.io/org/team/app", true)]
    #[case("ghcr.io/org/**", "ghcr.io/organisation/app", false)]
    #[case("ghcr.io/org/*", "ghcr.io/org/team/app", false)]
    #[case("*.example/app", "a.example/app", true)]
    #[case("*/app", "a.example/app", true)]
    #[case("docker.io/library/alpine", "docker.io/library/alpine", true)]
    #[case("docker.io/**", "docker.io/library/alpine", true)]
    #[case("localhost:5000/app", "localhost:5000/app", true)]
    #[case("?::1?:5000/**", "[::1]:5000/app", true)]
    #[case("{ghcr.io,quay.io}/org/*", "quay.io/org/app", true)]
    fn a_glob_is_over_registry_and_repository(
        #[case] glob: &str,
        #[case] repository: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(Pattern::new(glob).unwrap().matches(repository), expected);
    }

    #[rstest]
    #[case::nothing("")]
    #[case::tag("ghcr.io/org/app:v1")]
    #[case::every_tag("ghcr.io/org/app:*")]
    #[case::digest("ghcr.io/org/app@sha256:0")]
    #[case::capitals("ghcr.io/Org/app")]
    #[case::no_registry("org/app")]
    #[case::one_word("alpine")]
    #[case::no_library("docker.io/alpine")]
    #[case::no_library_glob("docker.io/*")]
    #[case::other_name("index.docker.io/library/alpine")]
    #[case::no_glob("ghcr.io/[")]
    #[case::address("[::1]:5000/**")]
    fn a_glob_that_no_image_can_match_is_refused(#[case] glob: &str) {
        assert!(
            matches!(Pattern::new(glob), Err(PolicyError::Pattern(_))),
            "{glob}"
        );
    }

    fn matches(expression: &str, text: &str) -> Result<bool, PolicyError> {
        let matcher = Matcher::Regex(expression.to_owned());
        Ok(ReadyMatcher::new("subject", &matcher)?.matches(text))
    }

    #[test]
    fn an_expression_matches_the_whole_text() {
        let release = "https://github.com/org/app/.github/workflows/release.yaml@refs/tags/v1";
        assert_eq!(matches("https://github.com/org/.*", release), Ok(true));
        assert_eq!(matches("^https://github.com/org/.*$", release), Ok(true));
        assert_eq!(matches("https://github.com/org/", release), Ok(false));
        assert_eq!(matches("a|b", "ab"), Ok(false));
        assert_eq!(matches("(?m)^a$", "x\na"), Ok(false));
    }

    #[rstest]
    #[case::group("a)|(b")]
    #[case::open("(")]
    #[case::large("((a{1000}){1000}){1000}")]
    #[case::empty("")]
    fn what_is_no_expression_is_refused(#[case] expression: &str) {
        assert!(matches(expression, "b").is_err());
    }

    #[test]
    fn a_policy_reads_as_it_was_written() {
        let document = json!({
            "match": "ghcr.io/org/**",
            "provider": "Cosign",
            "signers": {"identities": {
                "identities": [{"issuer": {"exact": "https://a.test"}, "subject": {"regex": "b.*"}}],
                "trustedRoot": "root",
            }},
        });
        let policy: Policy = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(policy).unwrap(), document);
        let short: Policy =
            serde_json::from_value(json!({"signers": {"keys": {"keys": "cosign"}}})).unwrap();
        assert_eq!(short.r#match, "**");
        assert_eq!(short.provider, Provider::Cosign);
    }
}
