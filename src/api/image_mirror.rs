//! `ImageMirror`: keeps images of some registries copied to others.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::copy_options::{
    ExistingPolicy, FailurePolicy, ImageFormat, IndexPolicy, LayerCompression, Limits,
    ReferrerRules,
};
use super::duration::{BOUNDED_DURATION, DURATION, one_hour};
use super::image_mirror_status::ImageMirrorStatus;
use super::prune::{DeletionPolicy, Prune};
use super::secret_reference::SecretReference;
use super::source::Source;
use super::verify::Verification;
use super::worker_pod::WorkerPod;

/// What to mirror, where to, and how often to look.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "transship.dev",
    version = "v1alpha1",
    kind = "ImageMirror",
    namespaced,
    status = "ImageMirrorStatus",
    derive = "PartialEq",
    shortname = "imir",
    category = "transship",
    doc = "ImageMirror keeps images of some registries copied, byte for byte, to others.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Images",
        type_ = "string",
        json_path = ".status.summary",
        description = "Images in place out of images wanted"
    ),
    printcolumn(name = "Pending", type_ = "integer", json_path = ".status.pending"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failed"),
    printcolumn(name = "Last Sync", type_ = "date", json_path = ".status.lastSyncTime"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Source",
        type_ = "string",
        json_path = ".spec.sources[*]['image','repository']",
        priority = 1
    ),
    printcolumn(
        name = "Destination",
        type_ = "string",
        json_path = ".spec.destinations[*].prefix",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.platforms) || size(self.platforms) == 0 || self.indexPolicy != 'Preserve'").message("platforms needs indexPolicy Sparse (the index keeps its digest) or Rewrite (a new index of these platforms)"),
    validation = Rule::new("self.indexPolicy == 'Preserve' || (has(self.platforms) && size(self.platforms) > 0)").message("indexPolicy Sparse and Rewrite need platforms"),
    validation = Rule::new("self.indexPolicy != 'Sparse' || (self.format == 'Preserve' && self.compression.algorithm == 'Preserve')").message("indexPolicy Sparse keeps the index as it is; to convert images use Rewrite"),
    validation = Rule::new("self.failurePolicy != 'Strict' || self.limits.shards == 1").message("failurePolicy Strict needs limits.shards 1: workers that share a run know nothing of each other"),
    validation = Rule::new("self.format != 'Docker' || self.compression.algorithm != 'Zstd'").message("format Docker has no place for layers that are compressed with Zstd")
)]
pub struct ImageMirrorSpec {
    /// How often to compare source and destination, for example `30m`. Jittered, so that many
    /// mirrors do not scan at once. At least `10s`.
    #[serde(default = "one_hour")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(
        validation = Rule::new(BOUNDED_DURATION).message("interval must be between 10s and 8760h")
    )]
    pub interval: String,

    /// While true nothing is scanned and no run is started; the last status stays. A run that has
    /// already started is finished by its pods.
    #[serde(default)]
    pub suspend: bool,

    /// How long one run may take before its pods are stopped, for example `2h`. The next scan
    /// starts another run for what is still missing. At least `10s`.
    #[serde(default = "one_hour")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(
        validation = Rule::new(BOUNDED_DURATION).message("timeout must be between 10s and 8760h")
    )]
    pub timeout: String,

    /// What happens when somebody else moves or deletes a tag at a destination that this mirror put in place.
    #[serde(default)]
    pub drift: DriftPolicy,

    /// The platforms to copy of an image that has several, for example `linux/amd64` and `linux/arm64/v8`; all
    /// without it. `indexPolicy` says what becomes of the index. An image of a single platform is copied
    /// whatever stands here.
    // Atomic: an entry is nothing but its text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 3, max = 128), regex(pattern = PLATFORM))
    )]
    pub platforms: Vec<String>,

    /// What becomes of an index of which only `platforms` are copied.
    #[serde(default)]
    pub index_policy: IndexPolicy,

    /// The format that images have at the destinations. Signatures stay behind where it is another than the
    /// source's: they are about the original.
    #[serde(default)]
    pub format: ImageFormat,

    /// How layers are compressed at the destinations. Signatures stay behind where that changes the image.
    #[serde(default)]
    pub compression: LayerCompression,

    /// Which signatures, attestations and other referrers come along with an image that keeps its bytes.
    #[serde(default)]
    pub referrers: ReferrerRules,

    /// Which images are copied only with a valid signature.
    // Atomic: of two entries for the same images both count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub verify: Vec<Verification>,

    /// What one image that cannot be copied means for the others.
    #[serde(default)]
    pub failure_policy: FailurePolicy,

    /// What becomes of tags at the destinations that this mirror wrote and that its sources do not select any
    /// more.
    #[serde(default)]
    pub prune: Prune,

    /// What becomes of the images at the destinations when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// How much happens at once.
    #[serde(default)]
    pub limits: Limits,

    /// Where and as whom the worker pods run.
    #[serde(default)]
    pub pod: WorkerPod,

    /// The images to mirror: the union of all entries. Each names an image, or a repository of which tags
    /// are selected.
    // Atomic, because an entry has no field of its own that will always be there to serve as a key.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = Rule::new("self.all(a, !has(a.image) || self.exists_one(b, has(b.image) && a.image == b.image))").message("sources must not name the same image twice")
    )]
    pub sources: Vec<Source>,

    /// The places to keep them in: every image goes to every destination.
    // Atomic, because what tells two destinations apart is prefix, path and tag together.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        validation = Rule::new("self.all(a, !has(a.prefix) || self.exists_one(b, has(b.prefix) && a.prefix == b.prefix && a.path == b.path && a.tag == b.tag))").message("destinations must not repeat the same prefix, path and tag")
    )]
    pub destinations: Vec<Destination>,
}

/// What happens to a tag that somebody else moved or deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum DriftPolicy {
    /// It is put back at the next scan.
    #[default]
    Correct,
    /// The status says so, and the tag stays as it is until its source moves.
    Report,
}

/// One place to keep images in.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The registry, and the leading part of the repository, for example
    /// `registry.corp.example/mirror`.
    #[schemars(length(min = 1, max = 255), regex(pattern = PREFIX))]
    pub prefix: String,

    /// The repository below the prefix. `{registry}` stands for the source's registry (the colon
    /// before a port written as `_`) and `{repository}` for its repository. The default keeps two
    /// sources from ever meeting in one repository.
    #[serde(default = "default_path")]
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r"^([a-z0-9._/-]|\{registry\}|\{repository\})+$")
    )]
    pub path: String,

    /// The tag at the destination. `{tag}` stands for the source's tag. An image that is named by
    /// digest alone is stored by digest, without a tag, unless this is a fixed name.
    #[serde(default = "default_tag")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^([A-Za-z0-9_]|\{tag\})([A-Za-z0-9_.-]|\{tag\})*$")
    )]
    pub tag: String,

    /// What becomes of a tag that is there with another digest.
    #[serde(default)]
    pub existing: ExistingPolicy,

    /// A Secret of type `kubernetes.io/dockerconfigjson` in this namespace with the credentials to
    /// push with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// A Secret in this namespace with `ca.crt` (the certificate authorities to trust for this
    /// registry) and, for client certificates, `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<SecretReference>,

    /// Allows plain HTTP and unverified TLS for this registry, and only for it.
    #[serde(default)]
    pub insecure: bool,
}

/// `HOST[:PORT][/REPOSITORY]`, where the host must be told from a repository by a dot, a port or the
/// name `localhost`.
const PREFIX: &str = concat!(
    r"^((localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?|[A-Za-z0-9-]+:[0-9]{1,5})",
    r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$"
);

/// `OS/ARCHITECTURE[/VARIANT]`; `oci::Platform` parses what passes.
pub(super) const PLATFORM: &str =
    r"^[A-Za-z0-9_.-]+(\([A-Za-z0-9_.-]+\))?/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$";

fn default_path() -> String {
    "{registry}/{repository}".to_owned()
}

fn default_tag() -> String {
    "{tag}".to_owned()
}
