//! Why a copy failed: a fixed reason and one sentence that is safe to show.

use crate::oci::ManifestError;
use crate::reason::Reason;
use crate::registry::{Error, ErrorKind};
use crate::transport;

/// Which of the two places failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that is read from.
    Source,
    /// The one that is written to.
    Destination,
}

/// A failure as it is shown to people: no secret, no remote text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The fixed reason.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

impl Failure {
    /// A failure of one of the registries.
    #[must_use]
    pub fn of_registry(side: Side, error: &Error) -> Self {
        let reason = match (error.kind(), side) {
            (ErrorKind::Unauthorized, _) => Reason::AuthenticationFailed,
            (ErrorKind::Denied, Side::Source) => Reason::PullDenied,
            (ErrorKind::Denied, Side::Destination) => Reason::PushDenied,
            (ErrorKind::NotFound, Side::Source) => Reason::SourceNotFound,
            (ErrorKind::TlsUntrusted, _) => Reason::TlsUntrusted,
            (ErrorKind::Unreachable, _) => Reason::RegistryUnreachable,
            (ErrorKind::RateLimited { .. }, _) => Reason::RateLimited,
            (ErrorKind::TagImmutable, _) => Reason::TagImmutable,
            (ErrorKind::Configuration, _) => Reason::SecretInvalid,
            (ErrorKind::NotFound, Side::Destination)
            | (ErrorKind::Protocol | ErrorKind::ContentMissing, _) => Reason::RegistryError,
        };
        Self {
            reason,
            message: error.to_string(),
        }
    }

    /// A failure of one of the places.
    #[must_use]
    pub fn of_place(side: Side, error: &transport::Error) -> Self {
        let reason = match (error, side) {
            (transport::Error::Registry(error), side) => return Self::of_registry(side, error),
            (transport::Error::NotFound { .. }, Side::Source) => Reason::SourceNotFound,
            (transport::Error::Malformed { .. }, Side::Source) => Reason::SourceInvalid,
            (transport::Error::Digest { .. } | transport::Error::Length { .. }, _) => {
                Reason::RegistryError
            }
            (transport::Error::Unsupported { .. }, _) => Reason::DestinationUnsupported,
            (
                transport::Error::File { .. }
                | transport::Error::Malformed { .. }
                | transport::Error::NotFound { .. },
                _,
            ) => Reason::StorageFailed,
        };
        Self {
            reason,
            message: error.to_string(),
        }
    }

    /// A source manifest that cannot be copied.
    #[must_use]
    pub fn of_manifest(error: &ManifestError) -> Self {
        Self {
            reason: Reason::SourceInvalid,
            message: error.to_string(),
        }
    }
}
