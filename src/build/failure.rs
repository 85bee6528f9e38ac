//! Why a build failed, in the classes that decide what happens next.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::reason::Reason;

/// Whose business a failed build is, and whether the same build may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureClass {
    /// The Dockerfile, or what it runs. The same inputs fail again.
    Dockerfile,
    /// The context could not be had: an address, a commit, credentials, or what lies there.
    Source,
    /// A registry: one that a base image comes from, or the one that takes the image.
    Registry,
    /// The cluster, a node or a disk. Another attempt may succeed.
    Infrastructure,
    /// It took longer than it may.
    Timeout,
    /// Kubernetes took the pod away.
    Evicted,
    /// It needed more memory than it may have.
    OutOfMemory,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::Dockerfile,
        Self::Source,
        Self::Registry,
        Self::Infrastructure,
        Self::Timeout,
        Self::Evicted,
        Self::OutOfMemory,
    ];

    /// The class that a status names, if this version knows it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|class| class.to_string() == name)
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A variant is written as its name.
        self.serialize(formatter)
    }
}

/// One failure as it is shown to people: no secret, no remote text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[error("{message}")]
pub struct BuildFailure {
    /// What kind of failure it is.
    pub class: FailureClass,
    /// The fixed reason.
    pub reason: Reason,
    /// One or two sentences: what happened, and what to do.
    pub message: String,
}
