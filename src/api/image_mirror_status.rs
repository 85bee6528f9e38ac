//! The status of an `ImageMirror`: what was found, and what is being done about it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the controller last found, and what it is doing about it.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageMirrorStatus {
    /// The generation of the spec that this status is about; -1 before the first scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready` always; `Reconciling` and `Stalled` only while true (kstatus).
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,

    /// Images in place out of images wanted, for example `42/42`.
    #[schemars(length(max = 32))]
    pub summary: String,

    /// Images wanted, counted once per destination.
    pub desired: i64,

    /// Images whose digest the destination was seen to hold.
    pub present: i64,

    /// Images that are to be copied or are being copied.
    pub pending: i64,

    /// Images that could not be copied.
    pub failed: i64,

    /// Images whose destination tag someone else moved or deleted, until they are put back; with `drift: Report`
    /// as long as they are.
    pub drifted: i64,

    /// When source and destination were last compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scan_time: Option<Time>,

    /// When everything was last found in place after a run, or for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,

    /// When source and destination are compared next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_scan_time: Option<Time>,

    /// The last value of the reconcile request annotation that was acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub last_handled_reconcile_at: Option<String>,

    /// The run that is going on, or the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,

    /// The last runs that have ended, the newest first.
    // Atomic: written as a whole, by the controller alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub history: Vec<RunStatus>,

    /// What is to be removed from destinations; only with `prune`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneStatus>,

    /// At most 100 images: failed first, then pending, then present.
    #[schemars(length(max = 100))]
    pub images: Vec<ImageStatus>,

    /// The `ConfigMaps` with all images, where there are more than `images` lists. Their content is compressed;
    /// it is the memory of the controller.
    // Atomic: an entry is nothing but a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512), inner(length(max = 253)))]
    pub image_reports: Vec<String>,
}

/// One run: a Job that copies what a scan found missing.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunStatus {
    /// The name of the Job.
    #[schemars(length(max = 253))]
    pub job: String,
    /// When the run started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the end of the run was noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// How it ended; nothing while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<RunResult>,
    /// Images that the run is to copy, counted once per destination.
    pub images_planned: i64,
    /// Images that it has put in place.
    pub images_copied: i64,
    /// Images that it could not copy.
    pub images_failed: i64,
    /// Bytes of blobs that were sent to destinations.
    pub bytes: i64,
    /// Blobs that were sent to destinations.
    pub blobs_copied: i64,
    /// Blobs that a destination took from another of its own repositories.
    pub blobs_mounted: i64,
    /// Blobs that were already there.
    pub blobs_skipped: i64,
}

/// What this mirror wrote and its sources do not select any more.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PruneStatus {
    /// Tags that this mirror wrote and that have not been removed.
    pub written: i64,
    /// Those of them that no source selects.
    pub unwanted: i64,
    /// Why something is not removed although it would be time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// At most 50 of those that no source selects: the first to be removed first.
    #[schemars(length(max = 50))]
    pub tags: Vec<UnwantedTag>,
}

/// A tag that no source selects any more.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnwantedTag {
    /// The image at the destination, fully written out.
    #[schemars(length(max = 512))]
    pub reference: String,
    /// What this mirror wrote there. It stays when something else is there.
    #[schemars(length(max = 135))]
    pub digest: String,
    /// When `prune.mode: Delete` removes it, unless a source selects it again.
    pub remove_after: Time,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum RunResult {
    /// Everything that it was to copy is in place.
    Succeeded,
    /// Some images could not be copied, or its workers did not come to an end.
    Failed,
    /// Its Job vanished before anybody had read how it ended.
    Lost,
}

/// One source image and what became of it.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// The source image, fully written out.
    #[schemars(length(max = 512))]
    pub source: String,
    /// The digest that the source has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 135))]
    pub source_digest: Option<String>,
    /// The media type of what has that digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub media_type: Option<String>,
    /// The image at each destination.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub destinations: Vec<DestinationStatus>,
}

/// One image at one destination.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationStatus {
    /// The image at the destination, fully written out.
    #[schemars(length(max = 512))]
    pub reference: String,
    /// The digest that the destination was last seen to hold there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 135))]
    pub digest: Option<String>,
    /// How what is there came from the source, where the source's bytes were not copied as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversion: Option<ConversionStatus>,
    /// Where the image stands.
    pub state: ImageState,
    /// Why it failed: one of the fixed reasons.
    // A string, so that objects written by a newer version can still be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// What to do about it, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// Which digest of a destination corresponds to which digest of the source.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConversionStatus {
    /// The digest of the source that was converted.
    #[schemars(length(max = 135))]
    pub source_digest: String,
    /// The digest that it was converted to.
    #[schemars(length(max = 135))]
    pub digest: String,
    /// What was asked for, for example `platforms=linux/amd64 indexPolicy=Rewrite format=OCI`.
    #[schemars(length(max = 5120))]
    pub options: String,
}

/// Where one image stands at one destination.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize,
)]
pub enum ImageState {
    /// Could not be copied.
    Failed,
    /// Was in place, and someone else moved or deleted the tag.
    Drifted,
    /// Is being copied.
    Copying,
    /// Is to be copied.
    Pending,
    /// The destination was seen to hold the source's digest.
    Present,
}
