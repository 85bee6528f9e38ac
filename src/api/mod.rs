//! The custom resources of the group `transship.dev`: their fields, defaults and admission rules.
//!
//! These are the types as users write them and as the API server stores them; what they mean is
//! decided in `copy` and `controller`. Doc comments here are what `kubectl explain` shows, so they
//! are written for users.

mod build_pod;
#[expect(
    unreachable_pub,
    reason = "derive(KubeSchema) makes a public twin of each struct"
)]
mod build_source;
#[expect(
    unreachable_pub,
    reason = "derive(KubeSchema) makes a public twin of each struct"
)]
mod build_triggers;
mod condition;
#[expect(
    unreachable_pub,
    reason = "derive(KubeSchema) makes a public twin of each struct"
)]
mod copy_options;
mod definition;
mod duration;
#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "derive(KubeSchema) makes a public twin of each struct; printer columns share keys by nature"
)]
mod image_build;
mod image_build_status;
#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "derive(KubeSchema) makes a public twin of each struct; printer columns share keys by nature"
)]
mod image_mirror;
mod image_mirror_status;
mod image_report;
mod owner;
#[expect(
    unreachable_pub,
    reason = "derive(KubeSchema) makes a public twin of each struct"
)]
mod prune;
mod reconcile_request;
mod reference;
mod secret_reference;
#[expect(
    unreachable_pub,
    reason = "derive(KubeSchema) makes a public twin of each struct"
)]
mod source;
#[expect(
    unreachable_pub,
    reason = "derive(KubeSchema) makes a public twin of each struct"
)]
mod verify;
#[expect(
    unreachable_pub,
    reason = "derive(KubeSchema) makes a public twin of each struct"
)]
mod worker_pod;

pub use build_pod::{
    BUILD_ATTEMPT_LABEL, BUILD_NUMBER_LABEL, BUILD_PLATFORM_ANNOTATION, BUILD_UID_LABEL, has_ended,
    pod_phase,
};
pub use build_source::{
    BuildSource, ConfigMapReference, GitReference, GitSource, HttpSource, ImageSource, InlineSource,
};
pub use build_triggers::{BuildTriggers, IntervalTrigger};
pub use condition::{ConditionType, Conditions, find_condition};
pub use copy_options::{
    CompressionAlgorithm, ExistingPolicy, FailurePolicy, ImageFormat, IndexPolicy,
    LayerCompression, Limits, ReferrerMode, ReferrerRules,
};
pub use definition::definitions;
pub use image_build::{
    Attestations, BaseImagePolicy, BuildArgument, BuildCache, BuildHistory, BuildOutput,
    BuildRetry, BuildSecret, Builder, BuilderType, ImageBuild, ImageBuildSpec, Isolation,
};
pub use image_build_status::{
    AttachedProvenance, AttachedSbom, BaseImage, BuildFailureStatus, BuildRecord, BuildResult,
    BuildStatus, BuildTrigger, BuilderStatus, BuiltImage, ImageBuildStatus, PlatformImage,
    SourceStatus,
};
pub use image_mirror::{Destination, DriftPolicy, ImageMirror, ImageMirrorSpec};
pub use image_mirror_status::{
    ConversionStatus, DestinationStatus, ImageMirrorStatus, ImageState, ImageStatus, PruneStatus,
    RunResult, RunStatus, UnwantedTag,
};
pub use image_report::{IMAGE_REPORT_KEY, is_report_of, reported_images};
pub use owner::is_controlled_by;
pub use prune::{DeletionPolicy, Prune, PruneMode};
pub use reconcile_request::{RECONCILE_REQUEST_ANNOTATIONS, requested_reconcile};
pub use reference::reference;
pub use secret_reference::{SecretKeyReference, SecretReference};
pub use source::{Latest, LatestOrder, Source, TagRules};
pub use verify::{OidcIdentity, Verification, VerificationProvider};
pub use worker_pod::{ResourceQuantities, WorkerPod, WorkerResources};

/// API group of every kind.
pub const GROUP: &str = "transship.dev";
/// Keeps a mirror until what it wrote is removed, if that is wanted.
pub const FINALIZER: &str = "transship.dev/remove-images";
/// By this annotation somebody asks for the end of a build; its value is the number of the build.
pub const CANCEL_ANNOTATION: &str = "transship.dev/cancel";
/// Field manager of everything the controller applies.
pub const FIELD_MANAGER: &str = "transship";
