//! The failures of our stages in the classes of a build.

use std::io;

use crate::build::{BuildFailure, FailureClass};
use crate::copy;
use crate::git::GitError;
use crate::reason::Reason;
use crate::worker::access::AccessError;

/// A failure of the source of a build, unless it is the disk's.
pub(super) fn of_source(reason: Reason, message: String) -> BuildFailure {
    let class = match reason {
        Reason::StorageFailed => FailureClass::Infrastructure,
        _ => FailureClass::Source,
    };
    BuildFailure {
        class,
        reason,
        message,
    }
}

/// A failure of a place that the source of a build is read from.
pub(super) fn of_read(failure: copy::Failure) -> BuildFailure {
    of_source(failure.reason, failure.message)
}

/// A failure of a repository that the source of a build is in.
pub(super) fn of_git(error: GitError) -> BuildFailure {
    of_source(error.reason, error.message)
}

/// The disk, or what belongs to it.
pub(super) fn of_disk(what: &str, error: &io::Error) -> BuildFailure {
    BuildFailure {
        class: FailureClass::Infrastructure,
        reason: Reason::StorageFailed,
        message: format!("{what}: {error}"),
    }
}

/// A mounted Secret that cannot be used.
pub(super) fn of_secret(class: FailureClass, error: &AccessError) -> BuildFailure {
    BuildFailure {
        class,
        reason: Reason::SecretInvalid,
        message: error.to_string(),
    }
}
