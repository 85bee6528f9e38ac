//! What each builder needs in a pod, and what it means when it fails. Pure: a description of a build in, a
//! container out; the end of a container in, a failure out.
//!
//! A builder runs what users wrote. So its container has no credentials to push, no token, as few capabilities as
//! it works with, and never `privileged`; and what users chose reaches it as arguments and environment variables,
//! never as a part of a script.
//!
//! It must not know: the custom resources, where the context comes from and where the image goes, and how pods are
//! made, watched and retried.

use crate::builder::failure::{Ended, Failure};

mod build;
mod buildah;
mod buildkit;
mod container;
pub mod failure;
mod img;
mod kaniko;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use build::{Build, BuildArgument, BuildSecret, Isolation, Refusal, SeccompFilter};
pub use container::{BuildContainer, OUTPUT_DIRECTORY, OUTPUT_VOLUME, Output};

/// The builders that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuilderType {
    /// [BuildKit](https://github.com/moby/buildkit), a daemon for one build. The default.
    BuildKit,
    /// [Buildah](https://github.com/containers/buildah).
    Buildah,
    /// [Kaniko](https://github.com/osscontainertools/kaniko), which needs nothing special of a node.
    Kaniko,
    /// [img](https://github.com/genuinetools/img), which is BuildKit of 2020 and not maintained.
    Img,
}

impl BuilderType {
    /// What this builder needs and says.
    #[must_use]
    pub fn builder(self) -> &'static dyn Builder {
        match self {
            Self::BuildKit => &buildkit::BuildKit,
            Self::Buildah => &buildah::Buildah,
            Self::Kaniko => &kaniko::Kaniko,
            Self::Img => &img::Img,
        }
    }
}

/// One of the programs that turn a Dockerfile into an image.
pub trait Builder: Sync {
    /// The container that builds.
    fn container(&self, build: &Build) -> Result<BuildContainer, Refusal>;

    /// Why a container with this exit code and this end of its log failed, when nothing from outside ended it.
    fn failure_in_log(&self, exit_code: i32, log: &str) -> Failure;

    /// Why a container failed.
    fn failure(&self, ended: &Ended<'_>) -> Failure {
        failure::from_outside(ended)
            .unwrap_or_else(|| self.failure_in_log(ended.exit_code, ended.log))
    }
}
