//! The Secrets that policies for signatures name: which there are, and what of their content is used.

use std::collections::BTreeSet;

use super::{Failure, SignatureCheck};
use crate::reason::Reason;
use crate::verify::{Policy, PolicyError, Rules, Signers, Trust, TrustError};

/// The end of the names of entries that hold public keys.
const KEY_SUFFIX: &str = ".pub";
/// The entry that holds a trusted root.
const TRUSTED_ROOT: &str = "trusted_root.json";

/// One entry of a Secret: its name and its content.
pub type SecretEntry = (String, Vec<u8>);

/// The names of Secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerificationSecrets {
    /// Those with public keys.
    pub keys: BTreeSet<String>,
    /// Those with trusted roots.
    pub trusted_roots: BTreeSet<String>,
}

impl VerificationSecrets {
    /// What `policies` name.
    #[must_use]
    pub fn of(policies: &[Policy]) -> Self {
        let mut secrets = Self::default();
        for policy in policies {
            match &policy.signers {
                Signers::Keys { keys, trusted_root } => {
                    secrets.keys.insert(keys.clone());
                    secrets.trusted_roots.extend(trusted_root.clone());
                }
                Signers::Identities { trusted_root, .. } => {
                    secrets.trusted_roots.insert(trusted_root.clone());
                }
            }
        }
        secrets
    }

    /// All of them.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&String> {
        self.keys.iter().chain(&self.trusted_roots).collect()
    }
}

/// Collects what Secrets hold.
#[derive(Debug, Default)]
pub struct VerificationCatalog(Trust);

impl VerificationCatalog {
    /// Takes from the entries of the Secret `name` what policies need of it.
    pub fn add(
        &mut self,
        secrets: &VerificationSecrets,
        name: &str,
        entries: &[SecretEntry],
    ) -> Result<(), Failure> {
        if secrets.keys.contains(name) {
            let keys = entries
                .iter()
                .filter(|(entry, _)| entry.ends_with(KEY_SUFFIX));
            let mut found = false;
            for (entry, content) in keys {
                let added = self.0.add_keys(name, content);
                added.map_err(|error| unusable(name, entry, &error))?;
                found = true;
            }
            if !found {
                return Err(missing(name, "whose name ends in .pub"));
            }
        }
        if secrets.trusted_roots.contains(name) {
            let root = entries.iter().find(|(entry, _)| entry == TRUSTED_ROOT);
            let Some((entry, content)) = root else {
                return Err(missing(name, TRUSTED_ROOT));
            };
            let added = self.0.add_trusted_root(name, content);
            added.map_err(|error| unusable(name, entry, &error))?;
        }
        Ok(())
    }

    /// The check by `policies`; nothing without any.
    pub fn check(&self, policies: &[Policy]) -> Result<Option<SignatureCheck>, PolicyError> {
        if policies.is_empty() {
            return Ok(None);
        }
        Ok(Some(SignatureCheck::new(Rules::new(policies, &self.0)?)))
    }
}

fn unusable(secret: &str, entry: &str, error: &TrustError) -> Failure {
    Failure {
        reason: Reason::SecretInvalid,
        message: format!("Secret {secret}, entry {entry}: {error}"),
    }
}

fn missing(secret: &str, entry: &str) -> Failure {
    Failure {
        reason: Reason::SecretInvalid,
        message: format!("Secret {secret} has no entry {entry}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8nXRh950IZbRj8Ra/N9sbqOPZrfM\n5/KAQN0/KjHcorm/J5yctVd7iEcnessRQjU917hmKO6JWVGHpDguIyakZA==\n-----END PUBLIC KEY-----\n";

    fn secrets() -> VerificationSecrets {
        VerificationSecrets {
            keys: ["keys".to_owned()].into(),
            trusted_roots: ["root".to_owned()].into(),
        }
    }

    fn add(name: &str, entry: &str, content: &str) -> Result<(), Failure> {
        let entries = [(entry.to_owned(), content.as_bytes().to_vec())];
        VerificationCatalog::default().add(&secrets(), name, &entries)
    }

    #[test]
    fn keys_are_the_entries_that_end_in_pub() {
        add("keys", "cosign.pub", KEY).unwrap();
        for (name, entry, content, problem) in [
            (
                "keys",
                "cosign.key",
                KEY,
                "Secret keys has no entry whose name ends in .pub",
            ),
            (
                "keys",
                "cosign.pub",
                "none",
                "Secret keys, entry cosign.pub",
            ),
            (
                "root",
                "cosign.pub",
                KEY,
                "Secret root has no entry trusted_root.json",
            ),
            (
                "root",
                "trusted_root.json",
                "{}",
                "Secret root, entry trusted_root.json",
            ),
        ] {
            let failure = add(name, entry, content).unwrap_err();
            assert_eq!(failure.reason, Reason::SecretInvalid);
            assert!(failure.message.starts_with(problem), "{failure}");
        }
    }
}
