//! `ImageMirror`: keeps images of some registries copied to others.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret_reference::SecretReference;
use super::source::Source;

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
pub struct ImageMirrorSpec {
    /// How often to compare source and destination, for example `30m`. Jittered, so that many
    /// mirrors do not scan at once. At least `10s`.
    #[serde(default = "one_hour")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('8760h')").message("interval must be between 10s and 8760h")
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
        validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('8760h')").message("timeout must be between 10s and 8760h")
    )]
    pub timeout: String,

    /// What happens when somebody else moves or deletes a tag at a destination that this mirror put in place.
    #[serde(default)]
    pub drift: DriftPolicy,

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
        validation = Rule::new("self.all(a, self.exists_one(b, a.prefix == b.prefix && a.path == b.path && a.tag == b.tag))").message("destinations must not repeat the same prefix, path and tag")
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
    /// Bytes of blobs that were sent to destinations.
    pub bytes: i64,
    /// Blobs that were sent to destinations.
    pub blobs_copied: i64,
    /// Blobs that a destination took from another of its own repositories.
    pub blobs_mounted: i64,
    /// Blobs that were already there.
    pub blobs_skipped: i64,
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

/// Flux's duration pattern.
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
/// `HOST[:PORT][/REPOSITORY]`, where the host must be told from a repository by a dot, a port or the
/// name `localhost`.
const PREFIX: &str = concat!(
    r"^((localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?|[A-Za-z0-9-]+:[0-9]{1,5})",
    r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$"
);

fn one_hour() -> String {
    "1h".to_owned()
}

fn default_path() -> String {
    "{registry}/{repository}".to_owned()
}

fn default_tag() -> String {
    "{tag}".to_owned()
}
