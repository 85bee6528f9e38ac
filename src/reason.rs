//! The closed list of reasons: the same CamelCase word names a condition, an event, a failure in a
//! worker's report and a metric label.
//!
//! It belongs to no layer: the copy engine gives reasons, the controller shows them.

use std::fmt;

use serde::de::IntoDeserializer as _;
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

/// Why an object is in its state. Stable: users match on these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Everything asked for is in place.
    Succeeded,
    /// Images are being copied.
    Progressing,
    /// The last attempt failed for a cause that may pass by itself; another follows.
    ProgressingWithRetry,
    /// The spec passed admission but means nothing that can be done.
    InvalidSpec,
    /// A referenced Secret does not exist.
    SecretNotFound,
    /// A referenced Secret lacks a key or its content cannot be read.
    SecretInvalid,
    /// A registry refused the credentials.
    AuthenticationFailed,
    /// The source refuses to serve the image to these credentials.
    PullDenied,
    /// The destination refuses to take the image from these credentials.
    PushDenied,
    /// The source has no such tag or digest.
    SourceNotFound,
    /// The source has none of the tags that the mirror selects.
    NoMatchingTags,
    /// The source has more of the tags that the mirror selects than it allows.
    TooManyTags,
    /// The source serves something that is not an image this version can copy.
    SourceInvalid,
    /// The certificate of a registry or another server is not trusted.
    TlsUntrusted,
    /// There is no Git repository at the address, or it may not be seen with these credentials.
    RepositoryNotFound,
    /// The repository has no such branch or tag.
    ReferenceNotFound,
    /// The repository does not have the commit.
    CommitNotFound,
    /// The source of a build does not have the directory that is to be its context.
    PathNotFound,
    /// The server of a source refuses the credentials, or asks for some.
    SourceAuthenticationFailed,
    /// The host of a repository has another key than the known ones.
    HostKeyMismatch,
    /// The server of a source does not answer, or answers with errors only.
    SourceUnreachable,
    /// The file of a source does not have its checksum.
    ChecksumMismatch,
    /// The context of a build has something that no build gets, or too much.
    ContextInvalid,
    /// A builder said that it succeeded, and left no image that could be published.
    OutputInvalid,
    /// The registry does not answer, or answers with server errors only.
    RegistryUnreachable,
    /// The registry asks to slow down for longer than a retry may wait.
    RateLimited,
    /// The registry broke the protocol, or content did not have its digest.
    RegistryError,
    /// The destination has the tag with another content and does not let it move.
    TagImmutable,
    /// The destination has the tag with another content, and it was asked not to be overwritten.
    TagExists,
    /// The destination has the tag with another content, which stays because it was asked for.
    Kept,
    /// The image could be copied, but others of the run could not, and no tag is moved unless all can.
    HeldBack,
    /// The destination cannot hold an image of this kind.
    DestinationUnsupported,
    /// The image has something that the format asked for cannot express.
    ConversionUnsupported,
    /// The image has no signature that its policy accepts.
    VerificationFailed,
    /// A file or archive cannot be read or written.
    StorageFailed,
    /// The worker did not finish: its pod failed or ran out of time.
    RunFailed,
    /// What finds out what is in an image failed, or left something else.
    ScanFailed,
    /// The worker reported success, but the destination holds something else.
    DestinationMismatch,
    /// A destination tag that this mirror wrote was moved or deleted by someone else.
    DriftDetected,
    /// A tag that no source selects any more was removed from its destination.
    Pruned,
    /// A tag could not be removed from its destination.
    PruneFailed,
    /// Another mirror, which is older, keeps the same destination tag.
    Conflict,
    /// A base image is in place in no mirror, and may come from nowhere else.
    BaseImageNotMirrored,
    /// The source of a build has no Dockerfile where it should be.
    DockerfileNotFound,
    /// A Dockerfile cannot be understood.
    DockerfileInvalid,
    /// A Dockerfile has no such stage.
    TargetNotFound,
    /// A command of a `RUN` instruction failed.
    RunCommandFailed,
    /// What `COPY` or `ADD` names does not exist.
    CopySourceNotFound,
    /// Another instruction of a Dockerfile failed.
    InstructionFailed,
    /// A registry does not have a base image.
    BaseImageNotFound,
    /// A registry does not give a base image to these credentials.
    BaseImageDenied,
    /// A registry speaks no TLS.
    TlsMissing,
    /// Nodes have no user namespaces for pods, or do not let a builder make one.
    UserNamespaceRefused,
    /// A node does not let a builder start a container.
    NestedContainerRefused,
    /// A builder may not do something to files which its isolation does not allow.
    CapabilityMissing,
    /// There was no space left on a node.
    DiskFull,
    /// The daemon of a builder did not start.
    BuilderNotStarted,
    /// A builder was killed.
    BuilderKilled,
    /// A builder failed with an error that this version does not know.
    BuilderFailed,
    /// A build took longer than it may.
    TimedOut,
    /// The pod of a build was evicted.
    Evicted,
    /// A build took more memory than it may.
    OutOfMemory,
    /// Somebody has stopped a build.
    Cancelled,
    /// The API server refused the pod of a build.
    PodRefused,
    /// The pod of a build vanished.
    PodLost,
}

/// What has to happen before a failure can go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The user has to mend something.
    Stalled,
    /// It may pass by itself.
    Transient,
}

impl Reason {
    /// The reason that a status names, if this version knows it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let deserializer: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
        Self::deserialize(deserializer).ok()
    }

    /// Whether waiting can help.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::InvalidSpec
            | Self::SecretNotFound
            | Self::SecretInvalid
            | Self::AuthenticationFailed
            | Self::PullDenied
            | Self::PushDenied
            | Self::SourceNotFound
            | Self::TooManyTags
            | Self::DriftDetected
            | Self::Conflict
            | Self::SourceInvalid
            | Self::DestinationUnsupported
            | Self::ConversionUnsupported
            | Self::VerificationFailed
            | Self::TagImmutable
            | Self::TagExists
            | Self::DockerfileNotFound
            | Self::DockerfileInvalid
            | Self::TargetNotFound
            | Self::RunCommandFailed
            | Self::CopySourceNotFound
            | Self::InstructionFailed
            | Self::BaseImageNotFound
            | Self::BaseImageDenied
            | Self::TlsMissing
            | Self::UserNamespaceRefused
            | Self::NestedContainerRefused
            | Self::CapabilityMissing
            | Self::TimedOut
            | Self::OutOfMemory
            | Self::Cancelled
            | Self::PodRefused
            | Self::TlsUntrusted
            | Self::RepositoryNotFound
            | Self::ReferenceNotFound
            | Self::CommitNotFound
            | Self::PathNotFound
            | Self::SourceAuthenticationFailed
            | Self::HostKeyMismatch
            | Self::ChecksumMismatch
            | Self::ContextInvalid
            | Self::OutputInvalid => Class::Stalled,
            Self::Succeeded
            | Self::Kept
            | Self::Pruned
            | Self::PruneFailed
            | Self::Progressing
            | Self::ProgressingWithRetry
            | Self::NoMatchingTags
            | Self::RegistryUnreachable
            | Self::SourceUnreachable
            | Self::RateLimited
            | Self::RegistryError
            | Self::StorageFailed
            | Self::HeldBack
            | Self::BaseImageNotMirrored
            | Self::DiskFull
            | Self::BuilderNotStarted
            | Self::BuilderKilled
            | Self::BuilderFailed
            | Self::Evicted
            | Self::PodLost
            | Self::RunFailed
            | Self::ScanFailed
            | Self::DestinationMismatch => Class::Transient,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A variant is written as its name.
        self.serialize(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_read_back() {
        assert_eq!(Reason::PushDenied.to_string(), "PushDenied");
        assert_eq!(Reason::from_name("PushDenied"), Some(Reason::PushDenied));
        assert_eq!(Reason::from_name("pushDenied"), None);
    }
}
