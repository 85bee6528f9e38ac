//! What went wrong, from what `git` and `ssh` print. Pure.
//!
//! They are run in English. The texts are those of Git 2.39 to 2.50 and OpenSSH 9, with `GnuTLS` and
//! `OpenSSL`; what servers add (`remote: …`) is never shown, because it may be anything.

use super::process::ProcessError;
use super::{GitUrl, Protocol};
use crate::reason::Reason;

/// Why a repository could not be read: a fixed reason, and a sentence that is safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GitError {
    /// The fixed reason.
    pub reason: Reason,
    /// One or two sentences: what happened, and what to do.
    pub message: String,
}

/// What a failed program said, as far as it is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NotFound,
    NoRepository,
    ReferenceNotFound,
    CommitNotFound,
    /// The server gives what references point at, and nothing else.
    CommitNotServed,
    CredentialsMissing,
    CredentialsRefused,
    IdentityUnusable,
    HostKey,
    Certificate,
    Moved,
    NotAllowed,
    Unreachable,
    DiskFull,
    NoUser,
    Unknown,
}

/// Texts and what they mean; the first that is found counts, so that causes stand before consequences.
const TEXTS: &[(&str, Problem)] = &[
    ("No space left on device", Problem::DiskFull),
    ("Disk quota exceeded", Problem::DiskFull),
    ("No user exists for uid", Problem::NoUser),
    ("Host key verification failed", Problem::HostKey),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Problem::HostKey),
    ("invalid format", Problem::IdentityUnusable),
    ("error in libcrypto", Problem::IdentityUnusable),
    ("incorrect passphrase", Problem::IdentityUnusable),
    ("Permission denied (", Problem::CredentialsRefused),
    (
        "Too many authentication failures",
        Problem::CredentialsRefused,
    ),
    (
        "server certificate verification failed",
        Problem::Certificate,
    ),
    ("server verification failed", Problem::Certificate),
    ("SSL certificate problem", Problem::Certificate),
    ("does not match target host", Problem::Certificate),
    ("certificate verify failed", Problem::Certificate),
    ("error setting certificate", Problem::Certificate),
    ("non-properly terminated", Problem::Unreachable),
    ("gnutls_handshake() failed", Problem::Certificate),
    ("SSL_ERROR", Problem::Certificate),
    ("could not read Username", Problem::CredentialsMissing),
    ("could not read Password", Problem::CredentialsMissing),
    ("Authentication failed for", Problem::CredentialsRefused),
    (
        "requested URL returned error: 401",
        Problem::CredentialsRefused,
    ),
    (
        "requested URL returned error: 403",
        Problem::CredentialsRefused,
    ),
    ("requested URL returned error: 404", Problem::NotFound),
    ("requested URL returned error: 30", Problem::Moved),
    ("Protocol \"", Problem::NotAllowed),
    ("not allowed", Problem::NotAllowed),
    ("does not appear to be a git repository", Problem::NotFound),
    ("Repository not found", Problem::NotFound),
    ("could not be found", Problem::NotFound),
    ("not valid: is this a git repository", Problem::NoRepository),
    ("invalid server response", Problem::NoRepository),
    ("couldn't find remote ref", Problem::ReferenceNotFound),
    ("not our ref", Problem::CommitNotFound),
    ("unadvertised object", Problem::CommitNotServed),
    ("Could not resolve", Problem::Unreachable),
    ("Failed to connect", Problem::Unreachable),
    ("Couldn't connect", Problem::Unreachable),
    ("requested URL returned error: ", Problem::Unreachable),
    ("Connection ", Problem::Unreachable),
    ("connect to host", Problem::Unreachable),
    ("timed out", Problem::Unreachable),
    ("Operation too slow", Problem::Unreachable),
    ("hung up unexpectedly", Problem::Unreachable),
    ("early EOF", Problem::Unreachable),
    ("' not found", Problem::NotFound),
    ("Could not read from remote repository", Problem::NotFound),
];

impl Problem {
    /// What the messages of a program mean. What the server said is left out, unless it is an error.
    pub(super) fn of(messages: &str) -> Self {
        let lines = messages.lines();
        let own: Vec<&str> = lines.filter(|line| !line.starts_with("remote: ")).collect();
        let means = |(text, _): &&(&str, Self)| own.iter().any(|line| line.contains(text));
        TEXTS
            .iter()
            .find(means)
            .map_or(Self::Unknown, |(_, problem)| *problem)
    }

    const fn reason(self) -> Reason {
        match self {
            Self::NotFound | Self::NoRepository | Self::Moved => Reason::RepositoryNotFound,
            Self::ReferenceNotFound => Reason::ReferenceNotFound,
            Self::CommitNotFound | Self::CommitNotServed => Reason::CommitNotFound,
            Self::CredentialsMissing | Self::CredentialsRefused => {
                Reason::SourceAuthenticationFailed
            }
            Self::IdentityUnusable => Reason::SecretInvalid,
            Self::HostKey => Reason::HostKeyMismatch,
            Self::Certificate => Reason::TlsUntrusted,
            Self::NotAllowed => Reason::InvalidSpec,
            Self::DiskFull | Self::NoUser => Reason::StorageFailed,
            Self::Unreachable | Self::Unknown => Reason::SourceUnreachable,
        }
    }

    /// What to tell people. `wanted` is what was asked for, like `branch main`.
    fn message(self, url: &GitUrl, wanted: &str) -> String {
        match self {
            Self::NotFound => format!(
                "{url} is no repository, or these credentials may not see it: check the address and the Secret"
            ),
            Self::NoRepository => format!(
                "{url} does not answer as a Git server does: check the address; it is the one that git clone takes"
            ),
            Self::Moved => {
                format!("{url} sends to another address: write the address that it sends to")
            }
            Self::ReferenceNotFound => format!("{url} has no {wanted}: check its name"),
            Self::CommitNotFound => format!(
                "{url} does not have {wanted}: push it, or check that it was not removed by a forced push"
            ),
            Self::CommitNotServed => format!(
                "{url} does not give out single commits, and {wanted} is not where it was found: name the branch or tag that it is on"
            ),
            Self::CredentialsMissing => {
                format!("{url} asks for credentials: name a Secret with some in secretRef")
            }
            Self::CredentialsRefused => format!(
                "{url} refuses the credentials, or they may not read it: check the Secret that secretRef names"
            ),
            Self::IdentityUnusable => format!(
                "the key identity of the Secret for {url} is no private key of OpenSSH without a passphrase"
            ),
            Self::HostKey => format!(
                "the host of {url} has a key that known_hosts does not have: compare it with ssh-keyscan and add it to the Secret if it is the right one"
            ),
            Self::Certificate => format!(
                "the certificate of {url} is not trusted: add the certificate authority to the Secret as ca.crt, or mend the certificate"
            ),
            Self::NotAllowed => {
                format!("{url} is not read with https or ssh, or leads to an address that is not")
            }
            Self::Unreachable => {
                format!("{url} cannot be reached: check its name, and the network")
            }
            Self::DiskFull => format!("there is no room on the disk for {url}"),
            Self::NoUser => format!(
                "ssh needs a user for {url}, and the container runs with one that its image does not know"
            ),
            Self::Unknown => {
                format!("git could not read {url}: the log of the stage has its message")
            }
        }
    }

    /// The error to show for a repository.
    pub(super) fn into_error(self, url: &GitUrl, wanted: &str) -> GitError {
        // Whatever ssh could not do without a key, that is what is missing.
        let problem = match (self, url.protocol()) {
            (Self::CredentialsMissing, Protocol::Ssh) => Self::CredentialsRefused,
            (problem, _) => problem,
        };
        GitError {
            reason: problem.reason(),
            message: problem.message(url, wanted),
        }
    }
}

/// What it means that a program did not come to its end.
pub(super) fn of_process(url: &GitUrl, error: &ProcessError) -> GitError {
    match error {
        ProcessError::Timeout(_) => GitError {
            reason: Reason::SourceUnreachable,
            message: format!("{url} does not answer in time: {error}"),
        },
        ProcessError::Run(_) => GitError {
            reason: Reason::StorageFailed,
            message: "git cannot be run in this container".to_owned(),
        },
        ProcessError::Output => GitError {
            reason: Reason::SourceInvalid,
            message: format!("{url} has more references or files than can be built: {error}"),
        },
    }
}
