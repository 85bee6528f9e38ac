//! Why a build failed: a class that says who has to act, a reason that never changes its name, and a sentence.
//!
//! Builders have no codes for their errors, so they are told apart by their words, which the tests hold as they were
//! seen. Steps write into the same log; a step that imitates an error of the builder can at most have the build
//! tried again.

mod text;

use crate::build::FailureClass;
use crate::reason::Reason;

pub(super) use text::{after, error_line, number_before, quoted, registry_reason};

/// The most characters of a message or an instruction.
const MESSAGE_LIMIT: usize = 1024;

/// How the container of a build ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Its exit code.
    pub exit_code: i32,
    /// The reason that Kubernetes has for the end of the container, `OOMKilled` for instance.
    pub container_reason: &'a str,
    /// The reason that Kubernetes has for the end of the pod, `Evicted` for instance; empty otherwise.
    pub pod_reason: &'a str,
    /// The log, or the end of it.
    pub log: &'a str,
}

/// Who has to act.
const fn class_of(reason: Reason) -> FailureClass {
    match reason {
        Reason::DockerfileInvalid
        | Reason::TargetNotFound
        | Reason::RunCommandFailed
        | Reason::CopySourceNotFound
        | Reason::SecretNotFound
        | Reason::InstructionFailed => FailureClass::Dockerfile,
        Reason::DockerfileNotFound => FailureClass::Source,
        Reason::BaseImageNotFound
        | Reason::BaseImageDenied
        | Reason::RegistryUnreachable
        | Reason::TlsUntrusted
        | Reason::TlsMissing
        | Reason::RateLimited
        | Reason::RegistryError => FailureClass::Registry,
        Reason::TimedOut => FailureClass::Timeout,
        Reason::Evicted => FailureClass::Evicted,
        Reason::OutOfMemory => FailureClass::OutOfMemory,
        _ => FailureClass::Infrastructure,
    }
}

/// Why a build failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub reason: Reason,
    /// The builder's own words: one line of at most 1024 characters.
    pub message: String,
    /// The instruction that failed, when the builder names it.
    pub instruction: Option<String>,
    /// Its line in the Dockerfile, counted from 1, when the builder names it.
    pub line: Option<u32>,
}

impl Failure {
    /// Who has to act.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        class_of(self.reason)
    }

    pub(super) fn new(reason: Reason, message: &str) -> Self {
        Self {
            reason,
            message: text::one_line(message, MESSAGE_LIMIT),
            instruction: None,
            line: None,
        }
    }

    pub(super) fn at(self, instruction: Option<&str>, line: Option<u32>) -> Self {
        Self {
            instruction: instruction.map(|instruction| text::one_line(instruction, MESSAGE_LIMIT)),
            line,
            ..self
        }
    }
}

/// The failure of a container that something else than the builder ended.
pub(super) fn from_outside(ended: &Ended<'_>) -> Option<Failure> {
    let (reason, message) = match (ended.pod_reason, ended.container_reason) {
        ("DeadlineExceeded", _) => (Reason::TimedOut, "the build took longer than it may"),
        ("Evicted", _) => (Reason::Evicted, "the node evicted the build"),
        (_, "OOMKilled") => (
            Reason::OutOfMemory,
            "the build took more memory than it may",
        ),
        _ => return None,
    };
    Some(Failure::new(reason, message))
}

/// The failure of a builder whose log says nothing that is known.
pub(super) fn unknown(exit_code: i32, message: Option<&str>) -> Failure {
    match (exit_code, message) {
        (_, Some(message)) if message.contains("no space left on device") => {
            Failure::new(Reason::DiskFull, message)
        }
        // 128 and the number of SIGKILL or SIGTERM.
        (137 | 143, None) => Failure::new(Reason::BuilderKilled, "the builder was killed"),
        (_, Some(message)) => Failure::new(Reason::BuilderFailed, message),
        (code, None) => Failure::new(
            Reason::BuilderFailed,
            &format!("the builder ended with exit code {code} and said nothing"),
        ),
    }
}

#[cfg(test)]
mod tests;
