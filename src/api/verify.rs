//! Which images have to be signed, and by whom.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret_reference::SecretReference;

/// What is demanded of the signatures of some images. It is asked before an image is copied; what is in place
/// already is not looked at again.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef) != (has(self.matchOIDCIdentity) && size(self.matchOIDCIdentity) > 0)").message("either secretRef (public keys) or matchOIDCIdentity (keyless) must be set"),
    validation = Rule::new("has(self.secretRef) || has(self.trustedRootSecretRef)").message("matchOIDCIdentity needs trustedRootSecretRef: the authorities and logs to trust")
)]
pub struct Verification {
    /// The source repositories that it is for, for example `ghcr.io/org/**`: `*` stands for anything but `/`, `**` for
    /// anything. Tags are not looked at. An image that several entries match has to satisfy each of them; one
    /// that none matches is copied.
    #[serde(default = "everything", rename = "match")]
    #[schemars(length(min = 1, max = 255))]
    pub pattern: String,

    /// In which form signatures are kept: as cosign keeps them, under the tag `sha256-<hex>.sig` or as
    /// Sigstore bundles that refer to the image.
    #[serde(default)]
    pub provider: VerificationProvider,

    /// A Secret in this namespace with public keys, each in an entry whose name ends in `.pub`. Any of
    /// them may have signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// Signers without a key of their own, of whom any may have signed.
    // Atomic: an entry has no key but all of itself.
    #[serde(
        default,
        rename = "matchOIDCIdentity",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 32))]
    pub identities: Vec<OidcIdentity>,

    /// A Secret in this namespace with an entry `trusted_root.json`: what `cosign trusted-root create` makes, the
    /// authorities that issue certificates and the logs of signatures. With `secretRef` the signature has to
    /// be in such a log, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root_secret_ref: Option<SecretReference>,
}

/// Whom an identity provider must have vouched for.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OidcIdentity {
    /// A regular expression for the whole issuer, for example `https://token\.actions\.githubusercontent\.com`.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,
    /// A regular expression for the whole subject, for example
    /// `https://github\.com/org/app/\.github/workflows/release\.yml@refs/tags/v.*`.
    #[schemars(length(min = 1, max = 2048))]
    pub subject: String,
}

/// In which form signatures are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum VerificationProvider {
    /// That of cosign and Sigstore.
    #[default]
    #[serde(rename = "cosign")]
    Cosign,
}

fn everything() -> String {
    "**".to_owned()
}
