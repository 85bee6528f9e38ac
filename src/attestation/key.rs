//! The key that signs. Its bytes are in no error, and it does not print.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use sigstore_verify::crypto::{KeyPair, SigningScheme, verify_signature};
use sigstore_verify::types::{DerPublicKey, SignatureBytes};

/// Most bytes of a file with a key; usually it has 250.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// A private key: ECDSA on P-256, with SHA-256.
#[derive(Debug)]
pub struct SigningKey {
    pair: KeyPair,
    public: DerPublicKey,
}

/// Why a file is no key to sign with. It repeats nothing of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It needs a password.
    #[error(
        "the key is encrypted, as cosign makes keys, and nobody is there to type a password: make one with \
         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
    )]
    Encrypted,
    /// Another file than a key, or a key in another form.
    #[error(
        "it holds no PEM block PRIVATE KEY (PKCS#8): make one with \
         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
    )]
    Form,
    /// A key of another kind.
    #[error("the key is not ECDSA on P-256, the only kind that signs a provenance")]
    Algorithm,
    /// The library could not sign.
    #[error("the key does not sign")]
    Signing,
}

impl SigningKey {
    /// Reads a PEM file.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        if pem.len() > MAX_KEY_BYTES {
            return Err(KeyError::Form);
        }
        // `ENCRYPTED SIGSTORE PRIVATE KEY`, `ENCRYPTED COSIGN PRIVATE KEY`, and PKCS#8's own.
        if String::from_utf8_lossy(pem).contains("-----BEGIN ENCRYPTED ") {
            return Err(KeyError::Encrypted);
        }
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::Form)?;
        let pair =
            KeyPair::from_pkcs8_der(key.secret_pkcs8_der()).map_err(|_| KeyError::Algorithm)?;
        let public = pair.public_key_der().map_err(|_| KeyError::Algorithm)?;
        Ok(Self { pair, public })
    }

    /// A name of the public key, as cosign computes it: verifiers with many keys may choose by it.
    pub(super) fn hint(&self) -> String {
        STANDARD.encode(digest(&SHA256, self.public.as_bytes()))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<SignatureBytes, KeyError> {
        self.pair.sign(message).map_err(|_| KeyError::Signing)
    }

    /// Whether this key signed `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &SignatureBytes) -> bool {
        let scheme = SigningScheme::EcdsaP256Sha256;
        verify_signature(&self.public, message, signature, scheme).is_ok()
    }
}
