//! Why the spec of a build cannot be acted upon. Admission refuses most of it; an object that was stored before it
//! did may have it all the same.

use crate::git::{GitUrlError, NameError};
use crate::oci::{PlatformError, ReferenceError};

/// Most images that mirrors have in place, for builds that take their base images from there: a plan is to fit into
/// a `ConfigMap`.
pub(super) const MAX_MIRRORED_IMAGES: usize = 10_000;

/// Why a spec cannot be acted upon; each names the field to mend.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SpecError {
    #[error("spec.source: exactly one of git, inline, configMapRef, image and http must be set")]
    NoSource,
    #[error("spec.source.git.ref: exactly one of branch, tag and commit must be set")]
    NoRevision,
    #[error("spec.{field}: not a duration such as 30m or 1h30m")]
    Duration { field: &'static str },
    #[error(
        "spec.{field}: expected a relative path that stays in the source, such as deploy/Dockerfile"
    )]
    Path { field: &'static str },
    #[error("spec.{field}: {source}")]
    Reference {
        field: &'static str,
        source: ReferenceError,
    },
    #[error("spec.{field}: a repository has neither tag nor digest; tags belong to output.tags")]
    RepositoryWithTag { field: &'static str },
    #[error("spec.output.tags[{index}]: {problem}")]
    Tag { index: usize, problem: String },
    #[error(
        "the operator runs on a platform that images cannot be built for; name one in spec.platforms"
    )]
    OwnPlatform,
    #[error("spec.platforms[{index}]: {source}")]
    Platform { index: usize, source: PlatformError },
    #[error("spec.platforms[{index}]: {platform} stands there twice")]
    PlatformTwice { index: usize, platform: String },
    #[error("spec.output.compression: not a level of this algorithm")]
    Compression,
    #[error("spec.source.git.url: {0}")]
    GitUrl(GitUrlError),
    #[error("spec.source.git.ref.{field}: {source}")]
    GitName {
        field: &'static str,
        source: NameError,
    },
    #[error(
        "spec.source.inline.files: {name} has another name than a file of a ConfigMap may have: letters, digits, -, . and _"
    )]
    FileName { name: String },
    #[error("spec.source.inline.files: {name} stands there, and is the Dockerfile as well")]
    DockerfileTwice { name: String },
    #[error("spec.source.http.url: not an address such as https://files.example/context.tar.gz")]
    HttpUrl,
    #[error("spec.source.http.checksum: not a digest such as sha256:…")]
    Checksum,
    #[error("spec.triggers.schedule: not a schedule of cron, such as `0 3 * * 1`")]
    Schedule,
    #[error("spec.triggers.schedule: no such time zone")]
    TimeZone,
    #[error("spec.builder: {0}")]
    Refused(crate::builder::Refusal),
    #[error(
        "spec.baseImages: the mirrors of this namespace have {count} images in place, of which a build can know \
         {MAX_MIRRORED_IMAGES}; keep those for builds in a namespace of their own"
    )]
    TooManyMirrored { count: usize },
    #[error("spec.builder.image: the operator has no image for this builder; name one")]
    NoBuilderImage,
    #[error(
        "spec.attest.sbom: the operator has no scanner; its administrator can set scanner.repository of the chart"
    )]
    NoScannerImage,
}
