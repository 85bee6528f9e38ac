//! What is copied of each image, in which form, and how much at once.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of an index of which only some platforms are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum IndexPolicy {
    /// The index is copied with all images that it names.
    #[default]
    Preserve,
    /// The index keeps its digest, and names images that the destination does not have. Not every registry
    /// takes that.
    Sparse,
    /// A new index of the wanted platforms only; it has another digest than the source's.
    Rewrite,
}

/// The family of documents that an image is described by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum ImageFormat {
    /// What the source has.
    #[default]
    Preserve,
    /// OCI image specification.
    #[serde(rename = "OCI")]
    Oci,
    /// Docker image manifest version 2, schema 2.
    Docker,
}

/// How layers are compressed at the destination.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.level) || self.algorithm != 'Preserve'").message("level needs algorithm Gzip or Zstd"),
    validation = Rule::new("!has(self.level) || self.algorithm != 'Gzip' || self.level <= 9").message("level of Gzip must be between 1 and 9")
)]
pub struct LayerCompression {
    /// The algorithm. Layers that are compressed with it already stay as they are, whatever their level.
    #[serde(default)]
    pub algorithm: CompressionAlgorithm,
    /// How hard to try: `1` to `9` for Gzip (without it 6), `1` to `19` for Zstd (without it 3).
    #[schemars(range(min = 1, max = 19))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<i32>,
}

/// An algorithm that compresses layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum CompressionAlgorithm {
    /// What the source has.
    #[default]
    Preserve,
    /// gzip, which everything can read.
    Gzip,
    /// Zstandard: smaller and faster to unpack. Docker's format has no place for it.
    Zstd,
}

/// How much happens at once.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Images that one worker copies at once. How many requests a registry gets is found out by its answers;
    /// this bounds memory.
    #[schemars(range(min = 1, max = 256))]
    pub parallel_images: i32,
    /// Worker pods of one run, spread over nodes. Each copies a part of the images; those of one repository go
    /// to one of them, as long as that keeps the parts even.
    #[schemars(range(min = 1, max = 64))]
    pub shards: i32,
    /// Most bytes of layers that each worker reads in a second, for example `20Mi`; as many as it can without it.
    /// What it sends is within the limit, too. At least `64Ki`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = r"^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$")
    )]
    pub bandwidth: Option<String>,
}

/// Which signatures, attestations and other referrers come along.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReferrerRules {
    /// Whether any do.
    pub mode: ReferrerMode,
    /// Only referrers of these types, for example `application/spdx+json`; of all types without it. The type is the
    /// `artifactType`, or the media type of the configuration where there is none.
    // Atomic: an entry is nothing but its text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 255)))]
    pub artifact_types: Vec<String>,
    /// Whether the tags come along that cosign makes of a digest: `sha256-<hex>.sig`, `.att` and `.sbom`. They have
    /// no artifact type.
    pub cosign_tags: bool,
}

impl Default for ReferrerRules {
    fn default() -> Self {
        Self {
            mode: ReferrerMode::default(),
            artifact_types: Vec::new(),
            cosign_tags: true,
        }
    }
}

/// Whether referrers come along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum ReferrerMode {
    /// They do, and what refers to them in turn.
    #[default]
    All,
    /// They stay behind.
    None,
}

/// What becomes of a destination tag that is there with another digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum ExistingPolicy {
    /// It is moved.
    #[default]
    Overwrite,
    /// It stays, for ever, and counts as present with the reason `Kept`. A new tag is written once.
    Keep,
    /// It stays, and the image fails with `TagExists`.
    Fail,
}

/// What one image that cannot be copied means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum FailurePolicy {
    /// They are put in place.
    #[default]
    BestEffort,
    /// No tag is moved unless all images can be copied: the others fail with `HeldBack`. What a registry refuses
    /// only when a tag is moved comes too late for that.
    Strict,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parallel_images: 48,
            shards: 1,
            bandwidth: None,
        }
    }
}
