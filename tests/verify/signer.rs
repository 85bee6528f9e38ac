//! The program that signs, and what the library is asked to make of its signatures.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use transship::oci::Digest;
use transship::verify::{
    Identity, Matcher, Policy, Provider, Refusal, Rules, Signature, Signers, Trust,
};

use crate::support::tools::ask;

pub(super) const ISSUER: &str = "https://issuer.test";
pub(super) const SUBJECT: &str = "https://forge.test/org/app/release.yaml@refs/tags/v1";

/// What is signed, and how: `tests/tools/signer` explains the members.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub(crate) digest: String,
    pub(crate) form: &'static str,
    pub(crate) key: &'static str,
    pub(crate) issuer: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) without: &'static str,
    pub(crate) old_issuer: bool,
    pub(crate) logged_at: i64,
    pub(crate) log: &'static str,
    pub(crate) predicate: &'static str,
}

impl Request {
    /// A signature by a key, in no log.
    pub(crate) fn by_key(digest: &Digest, form: &'static str, key: &'static str) -> Self {
        Self {
            digest: digest.to_string(),
            form,
            key,
            ..Self::default()
        }
    }

    /// A signature by [`SUBJECT`], for whom [`ISSUER`] vouched.
    pub(crate) fn by_identity(digest: &Digest, form: &'static str) -> Self {
        Self {
            digest: digest.to_string(),
            form,
            issuer: ISSUER,
            subject: SUBJECT,
            log: "v1",
            ..Self::default()
        }
    }
}

/// A signature as it is kept: a document with the annotations of its layer, or a bundle.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Made {
    #[serde(default)]
    document: String,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) bundle: Value,
}

impl Made {
    /// The content of its layer.
    pub(super) fn content(&self) -> Vec<u8> {
        if self.bundle.is_null() {
            STANDARD.decode(&self.document).unwrap()
        } else {
            self.bundle.to_string().into_bytes()
        }
    }

    /// The same with another signed document.
    pub(super) fn with_document(mut self, document: &[u8]) -> Self {
        self.document = STANDARD.encode(document);
        self
    }

    pub(super) fn read(&self) -> Result<Signature, Refusal> {
        if self.bundle.is_null() {
            Signature::from_layer(self.content(), &self.annotations)
        } else {
            Signature::from_bundle(&self.content())
        }
    }
}

/// Everything that one run of the program made.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct World {
    pub(crate) keys: BTreeMap<String, String>,
    pub(crate) trusted_root: Value,
    pub(crate) signatures: Vec<Made>,
}

impl World {
    pub(crate) async fn make(requests: &[Request]) -> Self {
        let input = serde_json::to_string(requests).unwrap();
        let answer = ask("signer", &[], &input).await.unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// The public key of a name.
    pub(crate) fn key(&self, name: &str) -> &str {
        self.keys.get(name).map(String::as_str).unwrap_or_default()
    }

    /// All keys and the root, each under its own name; the root is `root`.
    pub(super) fn trust(&self) -> Trust {
        let mut trust = Trust::default();
        for (name, pem) in &self.keys {
            trust.add_keys(name, pem.as_bytes()).unwrap();
        }
        let root = self.trusted_root.to_string();
        trust.add_trusted_root("root", root.as_bytes()).unwrap();
        trust
    }

    pub(super) fn judge(
        &self,
        made: &Made,
        signers: Signers,
        image: &Digest,
    ) -> Result<(), Refusal> {
        judge(&self.trust(), made, signers, image)
    }
}

/// Whether `made` is a signature of `image` by `signers`.
pub(super) fn judge(
    trust: &Trust,
    made: &Made,
    signers: Signers,
    image: &Digest,
) -> Result<(), Refusal> {
    let rules = Rules::new(&[policy(signers)], trust).unwrap();
    let rule = rules.of("registry.test/app").next().unwrap();
    rule.check(&made.read()?, image)
}

pub(super) fn policy(signers: Signers) -> Policy {
    Policy {
        r#match: "**".to_owned(),
        provider: Provider::Cosign,
        signers,
    }
}

pub(super) fn key(name: &str) -> Signers {
    Signers::Keys {
        keys: name.to_owned(),
        trusted_root: None,
    }
}

pub(super) fn logged_key(name: &str) -> Signers {
    Signers::Keys {
        keys: name.to_owned(),
        trusted_root: Some("root".to_owned()),
    }
}

pub(super) fn identity(issuer: Matcher, subject: Matcher) -> Signers {
    Signers::Identities {
        identities: vec![Identity { issuer, subject }],
        trusted_root: "root".to_owned(),
    }
}

/// The identity of [`Request::by_identity`].
pub(super) fn release() -> Signers {
    identity(exact(ISSUER), exact(SUBJECT))
}

pub(super) fn exact(text: &str) -> Matcher {
    Matcher::Exact(text.to_owned())
}

pub(super) fn image() -> Digest {
    Digest::sha256(b"an image")
}
