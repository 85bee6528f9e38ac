//! The status of an `ImageBuild`: what the registry holds, and what is being built.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image_build::{BuilderType, Isolation};

/// What the controller last found, and what it is doing about it.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageBuildStatus {
    /// The generation of the spec that this status is about; -1 before it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready` always; `Reconciling` and `Stalled` only while true (kstatus).
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,

    /// The last value of the reconcile request annotation that was acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub last_handled_reconcile_at: Option<String>,

    /// What the image was made from. Another build follows when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 135))]
    pub inputs_hash: Option<String>,

    /// The image of the last build that succeeded, as its registry was seen to hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<BuiltImage>,

    /// What was built, or is being built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,

    /// The base images of the last build that succeeded.
    // Atomic: written as a whole, by the controller alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub base_images: Vec<BaseImage>,

    /// What builds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builder: Option<BuilderStatus>,

    /// The build that is going on, or the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildStatus>,

    /// Why the last build failed, or why none can be started; until one succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<BuildFailureStatus>,

    /// When triggers are looked at next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_check_time: Option<Time>,

    /// When `triggers.schedule` builds next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,

    /// The last builds that have ended, the newest first.
    // Atomic: written as a whole, by the controller alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub history: Vec<BuildRecord>,
}

/// An image that a registry holds.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuiltImage {
    /// The image by its digest, for example `registry.corp.example/team-a/app@sha256:…`.
    #[schemars(length(max = 512))]
    pub reference: String,
    /// The digest.
    #[schemars(length(max = 135))]
    pub digest: String,
    /// The media type of what has the digest.
    #[schemars(length(max = 255))]
    pub media_type: String,
    /// Bytes of the image as the registry stores it.
    pub size: i64,
    /// The tags that were seen to have the digest.
    // Atomic: an entry is nothing but a name.
    #[schemars(length(max = 16), inner(length(max = 128)))]
    pub tags: Vec<String>,
    /// The image of each platform, when there are several: what has the digest is their index.
    // Atomic: written as a whole, by the controller alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub platforms: Vec<PlatformImage>,
    /// The provenance that is attached to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<AttachedProvenance>,
    /// The bill of materials that is attached to it. With several platforms each of their images has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbom: Option<AttachedSbom>,
}

/// The image of one platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlatformImage {
    /// The platform, for example `linux/arm64`.
    #[schemars(length(max = 128))]
    pub platform: String,
    /// The digest of its image.
    #[schemars(length(max = 135))]
    pub digest: String,
    /// The bill of materials that is attached to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbom: Option<AttachedSbom>,
}

/// A provenance that a registry holds beside its image.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachedProvenance {
    /// The digest of the artifact that refers to the image.
    #[schemars(length(max = 135))]
    pub digest: String,
    /// Whether it is signed.
    pub signed: bool,
}

/// A bill of materials that a registry holds beside its image.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachedSbom {
    /// The digest of the artifact that refers to the image.
    #[schemars(length(max = 135))]
    pub digest: String,
}

/// What a build is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceStatus {
    /// Where it was found: the address of a Git repository or of a file, without credentials, or an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub address: Option<String>,
    /// The commit of a Git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub commit: Option<String>,
    /// Where the commit was found, for example `refs/heads/main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub r#ref: Option<String>,
    /// The digest of files, of an image or of a tar file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 135))]
    pub digest: Option<String>,
}

/// A base image and what it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BaseImage {
    /// As the Dockerfile has it, for example `alpine:3.22`.
    #[schemars(length(max = 512))]
    pub from: String,
    /// The digest that it had.
    #[schemars(length(max = 135))]
    pub digest: String,
}

/// What builds.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuilderStatus {
    /// The program.
    #[serde(rename = "type")]
    pub builder_type: BuilderType,
    /// The isolation that is in use: never `Auto`.
    pub isolation: Isolation,
    /// The image of the builder.
    #[schemars(length(max = 512))]
    pub image: String,
}

/// One build.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildStatus {
    /// Builds are counted from 1.
    pub number: i64,
    /// The attempt at this build, from 1.
    pub attempt: i64,
    /// The name of the pod; of the first platform's, when there are several.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// Why it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<BuildTrigger>,
    /// What it is made from.
    #[schemars(length(max = 135))]
    pub inputs_hash: String,
    /// When it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When its end was noticed; nothing while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// When another attempt follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_time: Option<Time>,
}

/// Why a build was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum BuildTrigger {
    /// The object is new, or was changed.
    Spec,
    /// Git has another commit.
    GitCommit,
    /// A base image was replaced.
    BaseImage,
    /// A `ConfigMap` or an image with the source was changed.
    Source,
    /// The time had come.
    Schedule,
    /// Somebody asked for it.
    Request,
    /// The registry does not have the image any more.
    ImageLost,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum BuildResult {
    /// The registry holds the image.
    Succeeded,
    /// It does not.
    Failed,
    /// It was stopped, because somebody asked for that or the spec was changed.
    Cancelled,
}

/// A build that has ended. It is never changed.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildRecord {
    /// The number of the build.
    pub number: i64,
    /// How it ended.
    pub result: BuildResult,
    /// Why it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<BuildTrigger>,
    /// The digest that the registry held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 135))]
    pub digest: Option<String>,
    /// What it was made from: the commit, or the digest of the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 135))]
    pub source: Option<String>,
    /// Why it failed, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// How long it took, for example `3m2s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub duration: Option<String>,
}

/// Why a build failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildFailureStatus {
    /// The number of the build; 0 when none could be started.
    pub number: i64,
    /// Whose business it is: `Dockerfile`, `Source`, `Registry`, `Infrastructure`, `Timeout`, `Evicted` or
    /// `OutOfMemory`.
    // A string, so that objects written by a newer version can still be read.
    #[schemars(length(max = 64))]
    pub class: String,
    /// One of the fixed reasons.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What happened, and what to do, in a sentence or two.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The instruction that failed, for example `RUN make`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub instruction: Option<String>,
    /// The line of the Dockerfile, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<i64>,
    /// The last lines of its log, without what is known to be a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub log_tail: Option<String>,
}
