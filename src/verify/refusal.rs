//! Why a signature does not satisfy a rule, in words that are safe to show.

use sigstore_verify::bundle::Error as BundleError;
use sigstore_verify::{CertificateError, Error, TransparencyLogError};

/// Most characters of a name that stands in a certificate.
const MAX_NAME_CHARACTERS: usize = 150;

/// Why a signature does not satisfy a rule. It completes the sentence "a signature was refused: …" and repeats
/// nothing that a stranger wrote, except the names in a certificate of a trusted authority.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read.
    #[error("{0} cannot be read")]
    Malformed(&'static str),
    /// More bytes than any signature has.
    #[error("it is larger than any signature")]
    TooLarge,
    /// A listing or a tag names it, and it is gone.
    #[error("it is no longer there")]
    Missing,
    /// It says something about the image, but does not sign it.
    #[error("it is an attestation, not the signature of an image")]
    Attestation,
    /// It signs something else.
    #[error("it signs another image")]
    OtherImage,
    /// None of the keys made it.
    #[error("none of the keys made it")]
    OtherKey,
    /// The certificate's key did not make it.
    #[error("the key of its certificate did not make it")]
    Forged,
    /// It was made with a key, and identities are wanted.
    #[error("it has no certificate, and a policy for identities needs one")]
    NoCertificate,
    /// The certificate is not one of a trusted authority.
    #[error("no authority of the trusted root issued its certificate for signing code")]
    UntrustedCertificate,
    /// It was made when the certificate was not valid.
    #[error("its certificate was not valid when the signature was made")]
    CertificateTime,
    /// No trusted log knows of the certificate.
    #[error("no certificate log of the trusted root vouches for its certificate")]
    UnloggedCertificate,
    /// It has nothing from a transparency log.
    #[error("it has no entry of a transparency log")]
    NoLogEntry,
    /// What it has from the log is not genuine.
    #[error("no transparency log of the trusted root vouches for its entry")]
    UntrustedLogEntry,
    /// What it has from the log is genuine and about something else.
    #[error("its entry of the transparency log is of another signature")]
    OtherLogEntry,
    /// Nothing says when it was made.
    #[error("no log and no timestamp authority of the trusted root says when it was made")]
    NoTime,
    /// Somebody else signed.
    #[error("{subject} signed it, and {issuer} vouched for that; the policy wants others")]
    OtherIdentity {
        /// The provider in the certificate.
        issuer: String,
        /// The signer in the certificate.
        subject: String,
    },
    /// A form that this version does not know.
    #[error("its form or its algorithm is not supported")]
    Unsupported,
}

impl Refusal {
    /// The refusal of a signer whom a trusted certificate names.
    pub(super) fn other_identity(issuer: &str, subject: &str) -> Self {
        Self::OtherIdentity {
            issuer: shown(issuer),
            subject: shown(subject),
        }
    }

    /// What the library says, without its details: they may be a stranger's words.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::SignatureInvalid(_) => Self::Forged,
            Error::ArtifactMismatch(_) => Self::OtherLogEntry,
            Error::Certificate(problem) => match problem {
                CertificateError::Malformed(_) => Self::Malformed("its certificate"),
                CertificateError::NotYetValid { .. } | CertificateError::Expired { .. } => {
                    Self::CertificateTime
                }
                CertificateError::Sct(_) => Self::UnloggedCertificate,
                _ => Self::UntrustedCertificate,
            },
            Error::TransparencyLog(problem) => match problem {
                TransparencyLogError::EntryMismatch(_) => Self::OtherLogEntry,
                TransparencyLogError::IntegratedTime(_) => Self::CertificateTime,
                TransparencyLogError::MalformedEntry(_) => {
                    Self::Malformed("its entry of the transparency log")
                }
                _ => Self::UntrustedLogEntry,
            },
            Error::Timestamp(_) => Self::NoTime,
            Error::Bundle(
                BundleError::MissingInclusionPromise(_)
                | BundleError::MissingInclusionProof(_)
                | BundleError::MissingSigningTimeEvidence,
            ) => Self::NoLogEntry,
            Error::Bundle(_) => Self::Malformed("the bundle"),
            Error::UnsupportedBundle(_) | Error::UnsupportedArtifact(_) => Self::Unsupported,
            _ => Self::Malformed("it"),
        }
    }
}

/// The beginning of a name, without characters that do something to a terminal.
fn shown(name: &str) -> String {
    let printable = |character: &char| !character.is_control() && !is_direction(*character);
    let mut shown: String = name
        .chars()
        .filter(printable)
        .take(MAX_NAME_CHARACTERS)
        .collect();
    if shown.is_empty() {
        shown.push_str("somebody without a name");
    }
    shown
}

/// Whether it changes the direction of the text that follows.
const fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
