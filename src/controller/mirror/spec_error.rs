//! Why a spec cannot be acted upon. Admission refuses most of it; an object that was stored before it did may have
//! it all the same.

use crate::copy::{BandwidthError, TemplateError};
use crate::oci::{PlatformError, ReferenceError};
use crate::tag_selection::RulesError;
use crate::verify::PolicyError;

/// Why a spec cannot be acted upon; each names the field to mend.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    #[error("{0}")]
    Unreadable(String),
    #[error("spec.{field}: there is none")]
    None { field: &'static str },
    #[error("spec.{field}: not a duration such as 30m or 1h30m")]
    Duration { field: &'static str },
    #[error("spec.platforms[{index}]: {source}")]
    Platform { index: usize, source: PlatformError },
    #[error("spec.{field}: {problem}")]
    Combination {
        field: &'static str,
        problem: &'static str,
    },
    #[error("spec.verify[{index}]: {problem}")]
    Verify { index: usize, problem: &'static str },
    #[error("spec.verify[{index}].{source}")]
    Policy { index: usize, source: PolicyError },
    #[error("spec.verify[{index}].matchOIDCIdentity[{number}].{source}")]
    Identity {
        index: usize,
        number: usize,
        source: PolicyError,
    },
    #[error("spec.limits.bandwidth: {0}")]
    Bandwidth(BandwidthError),
    #[error("spec.sources[{index}]: exactly one of image and repository must be set")]
    Source { index: usize },
    #[error("spec.sources[{index}].image: {source}")]
    Image {
        index: usize,
        source: ReferenceError,
    },
    #[error("spec.sources[{index}].repository: {source}")]
    Repository {
        index: usize,
        source: ReferenceError,
    },
    #[error(
        "spec.sources[{index}].repository: a repository has neither tag nor digest; select tags with tags, or write image instead of repository"
    )]
    RepositoryWithTag { index: usize },
    #[error("spec.sources[{index}].tags.{source}")]
    Tags { index: usize, source: RulesError },
    #[error(
        "spec.sources[{first}].image and spec.sources[{second}].image are the same image {image}"
    )]
    RepeatedImage {
        first: usize,
        second: usize,
        image: String,
    },
    #[error("spec.destinations[{index}]: {source} (for source {image})")]
    Destination {
        index: usize,
        image: String,
        source: TemplateError,
    },
    #[error(
        "spec.destinations[{first}] and spec.destinations[{second}] are the same place for {image}: {reference}"
    )]
    SamePlace {
        first: usize,
        second: usize,
        image: String,
        reference: String,
    },
    #[error(
        "spec.destinations: {first} and {second} would both be stored as {reference}; use {{registry}}, {{repository}} and {{tag}} to keep them apart"
    )]
    Collision {
        first: String,
        second: String,
        reference: String,
    },
}
