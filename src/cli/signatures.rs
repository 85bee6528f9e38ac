//! The options that say whose signatures images must have.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::copy::SignatureCheck;
use crate::verify::{Identity, Matcher, Policy, Provider, Rules, Signers, Trust};

/// The name under which the rules know what the options name.
const OPTIONS: &str = "the options";
/// Most bytes of a file with keys or a trusted root.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Whose signatures are valid. The names are those of cosign's options.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Signatures")]
pub(super) struct SignatureArguments {
    /// Only images with a valid signature by this key (cosign.pub); may be repeated, any of them will do
    #[arg(long = "verify-key", value_name = "FILE", group = "signer")]
    verify_keys: Vec<PathBuf>,

    /// Only images that this person or workflow signed without a key, for example a@b.example
    #[arg(long, value_name = "SUBJECT", groups = ["signer", "identity"], requires = "issuer", requires = "trusted_root")]
    certificate_identity: Option<String>,

    /// The same as a regular expression for the whole subject
    #[arg(long, value_name = "EXPRESSION", groups = ["signer", "identity"], requires = "issuer", requires = "trusted_root")]
    certificate_identity_regexp: Option<String>,

    /// Who vouched for the signer, for example <https://token.actions.githubusercontent.com>
    #[arg(long, value_name = "URL", group = "issuer", requires = "identity")]
    certificate_oidc_issuer: Option<String>,

    /// The same as a regular expression for the whole URL
    #[arg(
        long,
        value_name = "EXPRESSION",
        group = "issuer",
        requires = "identity"
    )]
    certificate_oidc_issuer_regexp: Option<String>,

    /// Authorities and logs to trust (`trusted_root.json`); with a key, its signatures must be logged there
    #[arg(long, value_name = "FILE", requires = "signer")]
    trusted_root: Option<PathBuf>,
}

impl SignatureArguments {
    /// What the options demand, if anything. Reads the files that they name.
    pub(super) fn check(&self) -> anyhow::Result<Option<SignatureCheck>> {
        let mut trust = Trust::default();
        for path in &self.verify_keys {
            let added = trust.add_keys(OPTIONS, &read(path)?);
            added.with_context(|| format!("cannot use the key in {}", path.display()))?;
        }
        if let Some(path) = &self.trusted_root {
            let added = trust.add_trusted_root(OPTIONS, &read(path)?);
            added.with_context(|| format!("cannot use the trusted root in {}", path.display()))?;
        }
        let Some(signers) = self.signers() else {
            return Ok(None);
        };
        let policy = Policy {
            r#match: "**".to_owned(),
            provider: Provider::Cosign,
            signers,
        };
        let rules = Rules::new(&[policy], &trust).context("the options for signatures")?;
        Ok(Some(SignatureCheck::new(rules)))
    }

    /// Whether they demand anything.
    pub(super) fn are_given(&self) -> bool {
        self.signers().is_some()
    }

    fn signers(&self) -> Option<Signers> {
        if !self.verify_keys.is_empty() {
            return Some(Signers::Keys {
                keys: OPTIONS.to_owned(),
                trusted_root: self.trusted_root.as_ref().map(|_| OPTIONS.to_owned()),
            });
        }
        let subject = matcher(
            self.certificate_identity.as_ref(),
            self.certificate_identity_regexp.as_ref(),
        )?;
        let issuer = matcher(
            self.certificate_oidc_issuer.as_ref(),
            self.certificate_oidc_issuer_regexp.as_ref(),
        )?;
        Some(Signers::Identities {
            identities: vec![Identity { issuer, subject }],
            trusted_root: OPTIONS.to_owned(),
        })
    }
}

fn matcher(exact: Option<&String>, expression: Option<&String>) -> Option<Matcher> {
    match (exact, expression) {
        (Some(exact), _) => Some(Matcher::Exact(exact.clone())),
        (None, expression) => expression.cloned().map(Matcher::Regex),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)
        // One byte more tells that there is more.
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(content)
}
