//! Why a build failed: a class that says who has to act, a reason that never changes its name, and a sentence.
//!
//! Builders have no codes for their errors, so they are told apart by their words, which the tests hold as they were
//! seen. Steps write into the same log; a step that imitates an error of the builder can at most have the build
//! tried again.

use std::fmt;

mod text;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// Who wrote the Dockerfile. Another try gives the same.
    Dockerfile,
    /// Who chose the source: something is not in it.
    Source,
    /// Who runs the registry of a base image, or chose the image or the credentials.
    Registry,
    /// Who runs the cluster; another try may succeed.
    Infrastructure,
    /// The build took longer than it may.
    Timeout,
    /// The node needed what the build took, or the build took more of its disk than it may.
    Evicted,
    /// The build took more memory than it may.
    OutOfMemory,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureReason {
    /// There is no Dockerfile where it should be.
    DockerfileNotFound,
    /// The Dockerfile cannot be understood.
    DockerfileInvalid,
    /// The Dockerfile has no such stage.
    TargetNotFound,
    /// A command of a `RUN` instruction failed.
    RunCommandFailed,
    /// What `COPY` or `ADD` names does not exist.
    CopySourceNotFound,
    /// The Dockerfile needs a secret that the build does not have.
    SecretNotFound,
    /// Another instruction failed.
    InstructionFailed,
    /// The registry does not have the base image.
    BaseImageNotFound,
    /// The registry does not give the base image to these credentials.
    BaseImageDenied,
    /// The registry of a base image does not answer.
    RegistryUnreachable,
    /// The registry's certificate is not trusted.
    TlsUntrusted,
    /// The registry speaks no TLS.
    TlsMissing,
    /// The registry asks to slow down.
    RateLimited,
    /// The registry of a base image answered with another error.
    RegistryError,
    /// The node does not let the builder make a user namespace.
    UserNamespaceRefused,
    /// The node does not let the builder start a container.
    NestedContainerRefused,
    /// The builder may not do something to files which the isolation does not allow.
    CapabilityMissing,
    /// There was no space left on the node.
    DiskFull,
    /// The builder's daemon did not start.
    BuilderNotStarted,
    /// The builder was killed.
    BuilderKilled,
    /// The builder failed with an error that this version does not know.
    BuilderFailed,
    /// The build took longer than it may.
    TimedOut,
    /// The pod was evicted.
    Evicted,
    /// The container took more memory than it may.
    OutOfMemory,
}

impl FailureReason {
    /// Who has to act.
    #[must_use]
    pub const fn class(self) -> FailureClass {
        match self {
            Self::DockerfileInvalid
            | Self::TargetNotFound
            | Self::RunCommandFailed
            | Self::CopySourceNotFound
            | Self::SecretNotFound
            | Self::InstructionFailed => FailureClass::Dockerfile,
            Self::DockerfileNotFound => FailureClass::Source,
            Self::BaseImageNotFound
            | Self::BaseImageDenied
            | Self::RegistryUnreachable
            | Self::TlsUntrusted
            | Self::TlsMissing
            | Self::RateLimited
            | Self::RegistryError => FailureClass::Registry,
            Self::UserNamespaceRefused
            | Self::NestedContainerRefused
            | Self::CapabilityMissing
            | Self::DiskFull
            | Self::BuilderNotStarted
            | Self::BuilderKilled
            | Self::BuilderFailed => FailureClass::Infrastructure,
            Self::TimedOut => FailureClass::Timeout,
            Self::Evicted => FailureClass::Evicted,
            Self::OutOfMemory => FailureClass::OutOfMemory,
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A variant is written as its name.
        fmt::Debug::fmt(self, formatter)
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A variant is written as its name.
        fmt::Debug::fmt(self, formatter)
    }
}

/// Why a build failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub reason: FailureReason,
    /// The builder's own words: one line of at most 1024 characters.
    pub message: String,
    /// The instruction that failed, when the builder names it.
    pub instruction: Option<String>,
    /// Its line in the Dockerfile, counted from 1, when the builder names it.
    pub line: Option<u32>,
}

impl Failure {
    pub(super) fn new(reason: FailureReason, message: &str) -> Self {
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
        ("DeadlineExceeded", _) => (FailureReason::TimedOut, "the build took longer than it may"),
        ("Evicted", _) => (FailureReason::Evicted, "the node evicted the build"),
        (_, "OOMKilled") => (
            FailureReason::OutOfMemory,
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
            Failure::new(FailureReason::DiskFull, message)
        }
        // 128 and the number of SIGKILL or SIGTERM.
        (137 | 143, None) => Failure::new(FailureReason::BuilderKilled, "the builder was killed"),
        (_, Some(message)) => Failure::new(FailureReason::BuilderFailed, message),
        (code, None) => Failure::new(
            FailureReason::BuilderFailed,
            &format!("the builder ended with exit code {code} and said nothing"),
        ),
    }
}

#[cfg(test)]
mod tests;
