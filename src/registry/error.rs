//! What goes wrong when talking to a registry, in words that are safe to show anywhere.
//!
//! Every text here is our own. A message names the operation, the registry, the repository and the
//! tag or digest; it never repeats a URL, a header or a body that the remote side chose, which is
//! also why errors of the HTTP stack are classified in `failure.rs` instead of being kept as sources.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;

use super::failure::{TlsFailure, TransportFailure};
use super::origin::Refusal;
use super::reach::ForbiddenAddress;
use crate::oci::{Digest, RegistryHost, Repository};

/// A failed operation on a registry.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {subject}: {problem}")]
pub struct Error {
    operation: Operation,
    subject: Box<Subject>,
    problem: Box<Problem>,
}

/// The classes of failure that callers treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Name resolution, connection, timeout or a server error, after all attempts.
    Unreachable,
    /// The certificate did not pass verification.
    TlsUntrusted,
    /// The registry refused the credentials, or wants some and there are none.
    Unauthorized,
    /// The credentials are good but give no right to do this, or nobody has it.
    Denied,
    /// The registry has no such manifest, blob or repository.
    NotFound,
    /// The registry lacks something that the manifest points at. It was never sent, was removed in
    /// between, or is not visible yet.
    ContentMissing,
    /// The tag exists with another content and may not be moved.
    TagImmutable,
    /// The registry asks for fewer requests.
    RateLimited {
        /// How long the registry wants to be left alone, when it says.
        retry_after: Option<Duration>,
    },
    /// The registry answered against the specification, sent content with another digest, refused
    /// the request as invalid, or pointed somewhere the origin policy does not allow.
    Protocol,
    /// The certificates, key or host name that were configured cannot be used.
    Configuration,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Prepare,
    FindManifest,
    ReadManifest,
    WriteManifest,
    DeleteManifest,
    FindBlob,
    ReadBlob,
    StartUpload,
    WriteBlob,
    ListTags,
    ListReferrers,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Prepare => "use the registry",
            Self::FindManifest => "look up the manifest",
            Self::ReadManifest => "read the manifest",
            Self::WriteManifest => "write the manifest",
            Self::DeleteManifest => "delete the manifest",
            Self::FindBlob => "look up the blob",
            Self::ReadBlob => "read the blob",
            Self::StartUpload => "start the upload of the blob",
            Self::WriteBlob => "write the blob",
            Self::ListTags => "list the tags of",
            Self::ListReferrers => "list the referrers",
        })
    }
}

/// What the operation was about, written like an image reference.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    registry: RegistryHost,
    repository: Option<Repository>,
    /// `:tag` or `@digest`.
    suffix: String,
}

impl Subject {
    pub(super) fn registry(registry: &RegistryHost) -> Self {
        Self {
            registry: registry.clone(),
            repository: None,
            suffix: String::new(),
        }
    }

    pub(super) fn item(registry: &RegistryHost, repository: &Repository, suffix: String) -> Self {
        Self {
            registry: registry.clone(),
            repository: Some(repository.clone()),
            suffix,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.registry)?;
        if let Some(repository) = &self.repository {
            write!(formatter, "/{repository}{}", self.suffix)?;
        }
        Ok(())
    }
}

/// What was wrong, before it is known in which operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("{0}")]
    Configuration(&'static str),
    #[error("{0}")]
    Transport(TransportFailure),
    #[error("the certificate of the server is not trusted: {0}")]
    Certificate(TlsFailure),
    #[error("{}", unauthorized(*.had_credentials))]
    Unauthorized { had_credentials: bool },
    #[error(
        "the registry answered 403{}; the credentials need the right to do this in this repository",
        in_parentheses(*.code)
    )]
    Denied { code: Option<&'static str> },
    #[error(
        "the registry answered 405{}; it takes no pushes, like a pull-through cache or a registry in maintenance",
        in_parentheses(*.code)
    )]
    ReadOnly { code: Option<&'static str> },
    #[error("the registry answered 404{}", in_parentheses(*.code))]
    NotFound { code: Option<&'static str> },
    #[error("the registry answered 429, too many requests{}", after(*.retry_after))]
    RateLimited { retry_after: Option<Duration> },
    #[error("the registry answered {}{}", .status.as_u16(), after(*.retry_after))]
    Unavailable {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    #[error("the registry refused it with {}{}", .status.as_u16(), in_parentheses(*.code))]
    Rejected {
        status: StatusCode,
        code: Option<&'static str>,
    },
    /// Says nothing of what the token was for: not that it is absent, nor that the registry cannot do it.
    #[error(
        "the token service of the registry refused a token with {}{}; check the credentials and what they may do",
        .status.as_u16(),
        in_parentheses(*.code)
    )]
    TokenRefused {
        status: StatusCode,
        code: Option<&'static str>,
    },
    #[error("the registry lacks a blob or manifest that it points at; copy it again")]
    ContentMissing,
    #[error(
        "the tag exists and the registry does not let it be moved; delete it there or choose another tag"
    )]
    TagImmutable,
    #[error("{pointer} that the registry gave was not followed: {refusal}")]
    Refused { pointer: Pointer, refusal: Refusal },
    #[error("no connection was made: {0}")]
    ForbiddenAddress(ForbiddenAddress),
    #[error("the registry sent {what} larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: usize },
    #[error("the registry broke the protocol: {0}")]
    Malformed(&'static str),
    #[error("the content has the digest {actual}, expected {expected}")]
    Digest { expected: Digest, actual: Digest },
    #[error("the content has {}{actual} bytes, expected {expected}", at_least(*.open))]
    Length {
        expected: u64,
        actual: u64,
        /// Whether reading stopped before the end, so that `actual` is a lower bound.
        open: bool,
    },
    #[error("the registry lost the upload, or its token expired before the end; start again")]
    UploadLost,
}

/// A place where a registry names another URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pointer {
    Realm,
    Redirect,
    Location,
    NextPage,
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Realm => "the token service",
            Self::Redirect => "the redirect",
            Self::Location => "the upload location",
            Self::NextPage => "the next page",
        })
    }
}

fn unauthorized(had_credentials: bool) -> &'static str {
    if had_credentials {
        "the registry refused the credentials; check user name and password"
    } else {
        "the registry wants credentials, and none are configured for this repository"
    }
}

fn in_parentheses(code: Option<&'static str>) -> String {
    code.map(|code| format!(" ({code})")).unwrap_or_default()
}

fn after(retry_after: Option<Duration>) -> String {
    retry_after
        .map(|delay| format!("; it asks to wait {} s", delay.as_secs()))
        .unwrap_or_default()
}

fn at_least(open: bool) -> &'static str {
    if open { "at least " } else { "" }
}

impl Problem {
    /// Whether the same request can succeed later without anybody changing anything.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Transport(failure) => failure.is_transient(),
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::Digest { .. }
            | Self::Length { .. }
            | Self::ContentMissing
            | Self::UploadLost => true,
            Self::Configuration(_)
            | Self::Certificate(_)
            | Self::Unauthorized { .. }
            | Self::Denied { .. }
            | Self::ReadOnly { .. }
            | Self::NotFound { .. }
            | Self::TagImmutable
            | Self::Rejected { .. }
            | Self::TokenRefused { .. }
            | Self::Refused { .. }
            | Self::ForbiddenAddress(_)
            | Self::TooLarge { .. }
            | Self::Malformed(_) => false,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Configuration(_) => ErrorKind::Configuration,
            Self::Transport(_) | Self::Unavailable { .. } => ErrorKind::Unreachable,
            Self::Certificate(_) => ErrorKind::TlsUntrusted,
            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::Denied { .. } | Self::ReadOnly { .. } => ErrorKind::Denied,
            Self::TokenRefused { status, .. } if *status == StatusCode::FORBIDDEN => {
                ErrorKind::Denied
            }
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::ContentMissing => ErrorKind::ContentMissing,
            Self::TagImmutable => ErrorKind::TagImmutable,
            Self::RateLimited { retry_after } => ErrorKind::RateLimited {
                retry_after: *retry_after,
            },
            Self::Rejected { .. }
            | Self::TokenRefused { .. }
            | Self::Refused { .. }
            | Self::ForbiddenAddress(_)
            | Self::TooLarge { .. }
            | Self::Malformed(_)
            | Self::Digest { .. }
            | Self::Length { .. }
            | Self::UploadLost => ErrorKind::Protocol,
        }
    }
}

impl Error {
    pub(super) fn new(operation: Operation, subject: Subject, problem: Problem) -> Self {
        Self {
            operation,
            subject: Box::new(subject),
            problem: Box::new(problem),
        }
    }

    /// The class of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.problem.kind()
    }

    /// Whether doing the whole operation again later can succeed without anybody changing anything.
    ///
    /// Single requests were already repeated where that is safe; this is for the caller's next run
    /// or, for blob content, for its next attempt from the start.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.problem.is_transient()
    }
}
