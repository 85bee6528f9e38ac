//! Policies with the keys and roots that they name, ready to judge signatures.

use std::fmt;
use std::sync::Arc;

use sigstore_verify::types::bundle::VerificationMaterialContent;
use sigstore_verify::types::{Artifact, Bundle, SignatureContent};
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy, Verifier};

use super::claim;
use super::policy::{Pattern, ReadyIdentity};
use super::signature::{Form, SimpleSignature};
use super::trust::PublicKey;
use super::{Policy, PolicyError, Refusal, Signature, Signers, Trust};
use crate::oci::Digest;

/// All policies of a run.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

/// One policy.
pub struct Rule {
    text: String,
    pattern: Pattern,
    signers: ReadySigners,
}

enum ReadySigners {
    Keys {
        keys: Vec<PublicKey>,
        log: Option<Arc<Verifier>>,
    },
    Identities {
        identities: Vec<ReadyIdentity>,
        root: Arc<Verifier>,
    },
}

impl Rules {
    /// The rules of `policies`, whose keys and roots are in `trust`.
    pub fn new(policies: &[Policy], trust: &Trust) -> Result<Self, PolicyError> {
        let rules = policies.iter().map(|policy| Rule::new(policy, trust));
        Ok(Self(rules.collect::<Result<_, _>>()?))
    }

    /// All rules that images of `repository`, with its registry, have to satisfy.
    pub fn of<'a>(&'a self, repository: &'a str) -> impl Iterator<Item = &'a Rule> {
        let is_meant = move |rule: &&Rule| rule.pattern.matches(repository);
        self.0.iter().filter(is_meant)
    }
}

impl Rule {
    fn new(policy: &Policy, trust: &Trust) -> Result<Self, PolicyError> {
        let unknown = |kind, name: &str| PolicyError::Unknown {
            kind,
            name: name.to_owned(),
        };
        let root = |name: &str| {
            let root = trust.root(name);
            root.cloned().ok_or_else(|| unknown("trusted root", name))
        };
        let signers = match &policy.signers {
            Signers::Keys { keys, trusted_root } => ReadySigners::Keys {
                log: trusted_root.as_deref().map(root).transpose()?,
                keys: trust
                    .keys(keys)
                    .ok_or_else(|| unknown("keys", keys))?
                    .to_vec(),
            },
            Signers::Identities {
                identities,
                trusted_root,
            } => {
                let field = "identities";
                if identities.is_empty() {
                    return Err(PolicyError::Empty { field });
                }
                let identities = identities.iter().map(ReadyIdentity::new);
                ReadySigners::Identities {
                    identities: identities.collect::<Result<_, _>>()?,
                    root: root(trusted_root)?,
                }
            }
        };
        Ok(Self {
            text: policy.r#match.clone(),
            pattern: Pattern::new(&policy.r#match)?,
            signers,
        })
    }

    /// The glob that it is for, by which messages call it.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.text
    }

    /// Whether `signature` is one of `image` that satisfies this rule. Whatever cannot be verified is refused.
    pub fn check(&self, signature: &Signature, image: &Digest) -> Result<(), Refusal> {
        match &signature.0 {
            Form::Simple(simple) => claim::check_document(&simple.document, image)?,
            Form::Bundle(bundle) => match &bundle.content {
                SignatureContent::DsseEnvelope(envelope) => {
                    claim::check_statement(envelope, image)?;
                }
                SignatureContent::MessageSignature(message) => {
                    claim::check_message(message, image)?;
                }
                _ => return Err(Refusal::Unsupported),
            },
        }
        match &self.signers {
            ReadySigners::Keys { keys, log } => {
                let made = |key: &&PublicKey| signature.was_made_with(key, image);
                let key = keys.iter().find(made).ok_or(Refusal::OtherKey)?;
                match log {
                    Some(log) => signature.check_log(key, image, log),
                    None => Ok(()),
                }
            }
            ReadySigners::Identities { identities, root } => {
                signature.check_identity(identities, image, root)
            }
        }
    }
}

impl Signature {
    fn was_made_with(&self, key: &PublicKey, image: &Digest) -> bool {
        match &self.0 {
            Form::Simple(simple) => key.signed(&simple.document, &simple.signature),
            Form::Bundle(bundle) => match &bundle.content {
                SignatureContent::DsseEnvelope(envelope) => {
                    key.signed(&envelope.pae(), &envelope.signature.sig)
                }
                SignatureContent::MessageSignature(message) => claim::sha256(image)
                    .is_ok_and(|digest| key.signed_digest(&digest, &message.signature)),
                _ => false,
            },
        }
    }

    /// Whether a log of `root` holds this signature by `key`.
    fn check_log(&self, key: &PublicKey, image: &Digest, root: &Verifier) -> Result<(), Refusal> {
        let policy = PublicKeyVerificationPolicy::new(key.der().clone());
        let verified = match &self.0 {
            Form::Simple(simple) => {
                root.verify(simple.document.as_slice(), &simple.to_bundle()?, &policy)
            }
            Form::Bundle(bundle) => root.verify(artifact(image)?, bundle, &policy),
        };
        match verified {
            Ok(verified) if verified.tlog_verified() => Ok(()),
            Ok(_) => Err(Refusal::NoLogEntry),
            Err(error) => Err(Refusal::of(&error)),
        }
    }

    /// Whether `root` vouches for the certificate, the log entry and the time of this signature, and the
    /// certificate names one of `identities`.
    fn check_identity(
        &self,
        identities: &[ReadyIdentity],
        image: &Digest,
        root: &Verifier,
    ) -> Result<(), Refusal> {
        // Who it is, is compared below: the library knows no expressions.
        let policy = VerificationPolicy::any_identity();
        let verified = match &self.0 {
            Form::Simple(simple) => {
                let bundle = keyless(simple)?;
                root.verify(simple.document.as_slice(), &bundle, &policy)
            }
            Form::Bundle(bundle) if has_certificate(bundle) => {
                root.verify(artifact(image)?, bundle, &policy)
            }
            Form::Bundle(_) => return Err(Refusal::NoCertificate),
        }
        .map_err(|error| Refusal::of(&error))?;
        if !(verified.certificate_verified() && verified.sct_verified() && verified.tlog_verified())
        {
            return Err(Refusal::UntrustedCertificate);
        }
        let issuer = verified.issuer().unwrap_or_default();
        let subject = verified.identity();
        let subject = subject.map_or("", |subject| subject.as_str());
        let is_wanted = |identity: &ReadyIdentity| identity.matches(issuer, subject);
        if !issuer.is_empty() && !subject.is_empty() && identities.iter().any(is_wanted) {
            Ok(())
        } else {
            Err(Refusal::other_identity(issuer, subject))
        }
    }
}

fn keyless(simple: &SimpleSignature) -> Result<Bundle, Refusal> {
    if simple.has_certificate() {
        simple.to_bundle()
    } else {
        Err(Refusal::NoCertificate)
    }
}

fn has_certificate(bundle: &Bundle) -> bool {
    !matches!(
        bundle.verification_material.content,
        VerificationMaterialContent::PublicKey(_)
    )
}

fn artifact(image: &Digest) -> Result<Artifact<'static>, Refusal> {
    Ok(claim::sha256(image)?.into())
}

impl fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Rule")
            .field(&self.text)
            .finish_non_exhaustive()
    }
}
