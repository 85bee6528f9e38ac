//! Classifies errors of the HTTP stack into closed lists.
//!
//! The original texts can hold URLs with signatures in their query, or words that the remote side
//! chose (HTTP/2 debug data, names in certificates), so they end here.

use std::error::Error as StdError;
use std::io;

use rustls::CertificateError;

use super::error::Problem;
use super::reach::ForbiddenAddress;
use super::resolve::UnresolvedName;

/// Too many open files, in this process or on this machine. The standard library has no kind for it.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// Why no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TransportFailure {
    #[error("its host name does not resolve; check the name and the DNS")]
    Name,
    #[error("the connection was refused; check host and port, and that the registry runs")]
    Refused,
    #[error("it did not answer in time")]
    Timeout,
    #[error("the connection broke off")]
    Closed,
    #[error("the port does not speak TLS; plain HTTP has to be allowed with `insecure`")]
    NotTls,
    #[error("the TLS handshake failed; the registry may want a client certificate")]
    Handshake,
    #[error("this process may open no more files or connections; raise its limit (ulimit -n)")]
    Descriptors,
    #[error("the connection failed")]
    Other,
}

impl TransportFailure {
    pub(super) const fn is_transient(self) -> bool {
        !matches!(self, Self::NotTls | Self::Handshake)
    }

    /// Whether a failed TLS connection leaves open that plain HTTP is spoken at this host.
    pub(super) const fn may_be_plain_http(self) -> bool {
        matches!(self, Self::NotTls | Self::Refused | Self::Closed)
    }
}

/// Why a certificate is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TlsFailure {
    #[error("its issuer is unknown; add the authority's certificate")]
    UnknownIssuer,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("it is for another host name")]
    WrongName,
    #[error("it did not pass verification")]
    Other,
}

/// What an error of the HTTP stack means.
pub(super) fn classify(error: &reqwest::Error) -> Problem {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(problem) = classify_cause(current) {
            return problem;
        }
        cause = next_cause(current);
    }
    if error.is_timeout() {
        Problem::Transport(TransportFailure::Timeout)
    } else if error.is_connect() {
        Problem::Transport(TransportFailure::Other)
    } else {
        Problem::Transport(TransportFailure::Closed)
    }
}

/// The next error of the chain; an [`io::Error`] skips the error that it wraps.
fn next_cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn classify_cause(error: &(dyn StdError + 'static)) -> Option<Problem> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(classify_tls(tls));
    }
    if error.is::<UnresolvedName>() {
        return Some(Problem::Transport(TransportFailure::Name));
    }
    if let Some(forbidden) = error.downcast_ref::<ForbiddenAddress>() {
        return Some(Problem::ForbiddenAddress(*forbidden));
    }
    let error = error.downcast_ref::<io::Error>()?;
    if error
        .get_ref()
        .is_some_and(<dyn StdError + Send + Sync>::is::<rustls::Error>)
    {
        return None;
    }
    let failure = match error.kind() {
        _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => TransportFailure::Descriptors,
        io::ErrorKind::ConnectionRefused => TransportFailure::Refused,
        io::ErrorKind::TimedOut => TransportFailure::Timeout,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => TransportFailure::Closed,
        _ => return None,
    };
    Some(Problem::Transport(failure))
}

fn classify_tls(error: &rustls::Error) -> Problem {
    let failure = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            // A bad signature is an authority of the same name with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsFailure::UnknownIssuer
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsFailure::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsFailure::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsFailure::WrongName
            }
            _ => TlsFailure::Other,
        },
        rustls::Error::NoCertificatesPresented | rustls::Error::UnsupportedNameType => {
            TlsFailure::Other
        }
        rustls::Error::InvalidMessage(_) => {
            return Problem::Transport(TransportFailure::NotTls);
        }
        _ => return Problem::Transport(TransportFailure::Handshake),
    };
    Problem::Certificate(failure)
}
