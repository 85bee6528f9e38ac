//! The keys and roots that policies name, read from the bytes of Secrets or files.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use sigstore_verify::Verifier;
use sigstore_verify::crypto::{
    KeyAlgorithm, SigningScheme, verify_signature, verify_signature_prehashed,
};
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{DerPublicKey, HashAlgorithm, Sha256Hash, SignatureBytes};

/// Most keys under one name: the present one and those that it replaces.
const MAX_KEYS: usize = 64;
/// Most bytes of a file with keys, and of a trusted root; the public one has 7,000.
const MAX_FILE_BYTES: usize = 1024 * 1024;

/// How trusted roots call themselves, before their version.
const TRUSTED_ROOT: &str = "application/vnd.dev.sigstore.trustedroot";

/// Keys and trusted roots by name.
#[derive(Default)]
pub struct Trust {
    keys: BTreeMap<String, Vec<PublicKey>>,
    roots: BTreeMap<String, Arc<Verifier>>,
}

/// Why a file is neither keys nor a root. It repeats nothing of the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// More bytes than any such file has.
    #[error("it has more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// Not one key.
    #[error("it holds no PEM block PUBLIC KEY, which is what `cosign public-key` prints")]
    NoKey,
    /// More keys than are tried.
    #[error("it holds more than {MAX_KEYS} keys")]
    TooManyKeys,
    /// A key of another kind.
    #[error("it holds a key that is not ECDSA on P-256 or P-384, Ed25519, or RSA")]
    KeyAlgorithm,
    /// Not a trusted root.
    #[error(
        "it is not a trusted root, the document that `cosign trusted-root create` makes (trusted_root.json)"
    )]
    Root,
}

impl Trust {
    /// Adds the public keys of `pem` to those under `name`; any of them may sign, so that a key can be replaced.
    pub fn add_keys(&mut self, name: &str, pem: &[u8]) -> Result<(), TrustError> {
        let keys = read_keys(pem)?;
        let known = self.keys.entry(name.to_owned()).or_default();
        known.extend(keys);
        if known.len() > MAX_KEYS {
            return Err(TrustError::TooManyKeys);
        }
        Ok(())
    }

    /// Adds the trusted root `json` under `name`: authorities, transparency logs and timestamp authorities.
    pub fn add_trusted_root(&mut self, name: &str, json: &[u8]) -> Result<(), TrustError> {
        if json.len() > MAX_FILE_BYTES {
            return Err(TrustError::TooLarge);
        }
        let text = std::str::from_utf8(json).map_err(|_| TrustError::Root)?;
        let root = TrustedRoot::from_json(text).map_err(|_| TrustError::Root)?;
        // Every member but this one may be absent.
        if !root.media_type.starts_with(TRUSTED_ROOT) {
            return Err(TrustError::Root);
        }
        let verifier = Verifier::new(&root).map_err(|_| TrustError::Root)?;
        self.roots.insert(name.to_owned(), Arc::new(verifier));
        Ok(())
    }

    /// The keys under `name`.
    pub(super) fn keys(&self, name: &str) -> Option<&[PublicKey]> {
        self.keys.get(name).map(Vec::as_slice)
    }

    /// The root under `name`.
    pub(super) fn root(&self, name: &str) -> Option<&Arc<Verifier>> {
        self.roots.get(name)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Trust")
            .field("keys", &self.keys.keys())
            .field("roots", &self.roots.keys())
            .finish()
    }
}

fn read_keys(pem: &[u8]) -> Result<Vec<PublicKey>, TrustError> {
    if pem.len() > MAX_FILE_BYTES {
        return Err(TrustError::TooLarge);
    }
    let keys = SubjectPublicKeyInfoDer::pem_slice_iter(pem)
        .map(|key| PublicKey::new(key.map_err(|_| TrustError::NoKey)?.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() {
        return Err(TrustError::NoKey);
    }
    Ok(keys)
}

/// The public half of a key that signs.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    der: DerPublicKey,
    algorithm: KeyAlgorithm,
}

impl PublicKey {
    fn new(der: &[u8]) -> Result<Self, TrustError> {
        let der = DerPublicKey::new(der.to_vec());
        let algorithm = KeyAlgorithm::from_spki(&der).map_err(|_| TrustError::KeyAlgorithm)?;
        Ok(Self { der, algorithm })
    }

    /// The key in its usual form.
    pub(super) const fn der(&self) -> &DerPublicKey {
        &self.der
    }

    /// Whether `signature` over `message` was made with this key. cosign hashes with SHA-256 whatever the
    /// curve, other tools with what the curve suggests.
    pub(super) fn signed(&self, message: &[u8], signature: &SignatureBytes) -> bool {
        let usual = self.algorithm.default_signing_scheme();
        [self.sha256_scheme(), Some(usual)]
            .into_iter()
            .flatten()
            .any(|scheme| verify_signature(&self.der, message, signature, scheme).is_ok())
    }

    /// Whether `signature` over the content that hashes to `digest` was made with this key. Schemes that do
    /// not hash first cannot tell.
    pub(super) fn signed_digest(&self, digest: &Sha256Hash, signature: &SignatureBytes) -> bool {
        self.sha256_scheme().is_some_and(|scheme| {
            verify_signature_prehashed(&self.der, digest.as_bytes(), signature, scheme).is_ok()
        })
    }

    fn sha256_scheme(&self) -> Option<SigningScheme> {
        self.algorithm
            .resolve_signing_scheme(HashAlgorithm::Sha2256)
            .ok()
    }
}
