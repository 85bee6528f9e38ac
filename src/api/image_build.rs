//! `ImageBuild`: builds an image in a rootless pod and pushes it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::build_source::BuildSource;
use super::build_triggers::BuildTriggers;
use super::copy_options::{ImageFormat, LayerCompression};
use super::duration::{BOUNDED_DURATION, DURATION, one_hour};
use super::image_build_status::ImageBuildStatus;
use super::image_mirror::PLATFORM;
use super::secret_reference::{SecretKeyReference, SecretReference};
use super::worker_pod::WorkerPod;

/// What to build, with what, and where the image goes.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "transship.dev",
    version = "v1alpha1",
    kind = "ImageBuild",
    namespaced,
    status = "ImageBuildStatus",
    derive = "PartialEq",
    shortname = "ibld",
    category = "transship",
    doc = "ImageBuild builds an image in a rootless pod, without a Docker daemon, and pushes it.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Build", type_ = "integer", json_path = ".status.build.number"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.image.digest"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Builder",
        type_ = "string",
        json_path = ".status.builder.type",
        priority = 1
    ),
    printcolumn(
        name = "Commit",
        type_ = "string",
        json_path = ".status.source.commit",
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
    validation = Rule::new("!has(self.triggers.git) || has(self.source.git)").message("triggers.git needs source.git"),
    validation = Rule::new("self.builder.type != 'Kaniko' || !has(self.secrets) || size(self.secrets) == 0").message("builder Kaniko has no build secrets; use BuildKit or Buildah"),
    validation = Rule::new("self.builder.type != 'Img' || !has(self.secrets) || size(self.secrets) == 0").message("builder Img has no build secrets; use BuildKit or Buildah"),
    validation = Rule::new("self.baseImages != 'Mirrored' || self.builder.type in ['BuildKit', 'Buildah']").message("baseImages Mirrored needs builder BuildKit or Buildah"),
    validation = Rule::new("!has(self.cache) || self.builder.type != 'Buildah'").message("builder Buildah makes no use of a cache; use BuildKit or Kaniko"),
    validation = Rule::new("self.output.format != 'Docker' || self.output.compression.algorithm != 'Zstd'").message("format Docker has no place for layers that are compressed with Zstd")
)]
pub struct ImageBuildSpec {
    /// While true no build is started; the last status stays. A build that goes on is finished.
    #[serde(default)]
    pub suspend: bool,

    /// How long one build may take before its pod is stopped, for example `30m`. At least `10s`.
    #[serde(default = "one_hour")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(
        validation = Rule::new(BOUNDED_DURATION).message("timeout must be between 10s and 8760h")
    )]
    pub timeout: String,

    /// Where the files come from.
    pub source: BuildSource,

    /// The Dockerfile, for example `deploy/Dockerfile`; below the directory of the source.
    #[serde(default = "dockerfile")]
    #[schemars(length(min = 1, max = 255), regex(pattern = RELATIVE_PATH))]
    pub dockerfile: String,

    /// The stage of the Dockerfile that becomes the image, for example `runtime`; the last one without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    )]
    pub target: Option<String>,

    /// What the image runs on, for example `linux/amd64` and `linux/arm64`; what the operator runs on without it.
    /// Each platform has a pod of its own, on a node of that kind where there is one; on others `RUN` instructions
    /// need an emulator. Several make an index, which gets the tags.
    // Atomic: an entry is nothing but its text, and the index has them in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 3, max = 128), regex(pattern = PLATFORM))
    )]
    pub platforms: Vec<String>,

    /// Values of `ARG` instructions. Everybody who can read the image can read them: secrets belong to `secrets`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub build_args: Vec<BuildArgument>,

    /// Secrets that `RUN --mount=type=secret` reads. They are in no layer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub secrets: Vec<BuildSecret>,

    /// Where base images come from.
    #[serde(default)]
    pub base_images: BaseImagePolicy,

    /// A Secret of type `kubernetes.io/dockerconfigjson` in this namespace with the credentials to pull base images
    /// with. What the Dockerfile runs may read them: they must not be those of `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret_ref: Option<SecretReference>,

    /// A Secret in this namespace with `ca.crt`: the certificate authorities to trust for the registries of base
    /// images, in addition to those that everybody trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_cert_secret_ref: Option<SecretReference>,

    /// What builds.
    #[serde(default)]
    pub builder: Builder,

    /// Where steps are kept between builds; nowhere without it. Not with Buildah.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<BuildCache>,

    /// Where the image goes.
    pub output: BuildOutput,

    /// What is attached to the image.
    #[serde(default)]
    pub attest: Attestations,

    /// What starts another build, besides a change of this object.
    #[serde(default)]
    pub triggers: BuildTriggers,

    /// What follows a failure of the cluster.
    #[serde(default)]
    pub retry: BuildRetry,

    /// How many builds the status remembers.
    #[serde(default)]
    pub history: BuildHistory,

    /// Where and as whom the pod of a build runs, and what the builder may use.
    #[serde(default)]
    pub pod: WorkerPod,
}

/// The value of one `ARG` instruction.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct BuildArgument {
    /// The name of the argument, for example `VERSION`.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$")
    )]
    pub name: String,
    /// Its value, for example `1.2`.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// A secret that a build may read.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildSecret {
    /// The name that the Dockerfile knows it by, for example `npmrc`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    )]
    pub id: String,
    /// Where its content is.
    pub secret_ref: SecretKeyReference,
}

/// What builds.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Builder {
    /// The program.
    #[serde(rename = "type")]
    pub builder_type: BuilderType,
    /// How the program is kept apart from its node.
    pub isolation: Isolation,
    /// The image of the builder, for example `registry.corp.example/buildkit@sha256:…`; the one that the operator is
    /// configured with without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
}

/// A program that builds images.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    JsonSchema,
    Serialize,
    Deserialize,
)]
pub enum BuilderType {
    /// BuildKit, without a daemon that outlives the build.
    #[default]
    BuildKit,
    /// Buildah.
    Buildah,
    /// Kaniko. It has no build secrets.
    Kaniko,
    /// img. Deprecated: nobody maintains it. It has no build secrets.
    Img,
}

/// How a builder is kept apart from its node.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    JsonSchema,
    Serialize,
    Deserialize,
)]
pub enum Isolation {
    /// `UserNamespace` where nodes have it, else `Rootless`.
    #[default]
    Auto,
    /// A user namespace of the pod (`hostUsers: false`): no process is root on the node. Fits into Pod Security
    /// baseline. Needs Kubernetes 1.33, containerd 2.0 and Linux 6.3.
    UserNamespace,
    /// A user without rights, and a user namespace that the builder makes itself. Kaniko, which makes none, is
    /// root without most rights.
    Rootless,
}

/// Where base images come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum BaseImagePolicy {
    /// From where the Dockerfile says.
    #[default]
    AsWritten,
    /// From where an `ImageMirror` of this namespace has them in place, and from nowhere else: a build waits for one
    /// that is not mirrored yet. Not with Kaniko and img.
    Mirrored,
}

/// Where steps are kept between builds.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct BuildCache {
    /// The repository, for example `registry.corp.example/cache/app`. The builder reads and writes it with
    /// `pullSecretRef`, which what the Dockerfile runs may read as well: whoever may change the Dockerfile may put
    /// steps into this cache. Builds that do not trust each other must not share one, nor should the repository be
    /// the one of `output`.
    #[schemars(length(min = 1, max = 255), regex(pattern = OUTPUT_REPOSITORY))]
    pub repository: String,
}

/// Where the image goes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildOutput {
    /// The repository, for example `registry.corp.example/team-a/app`.
    #[schemars(length(min = 1, max = 255), regex(pattern = OUTPUT_REPOSITORY))]
    pub repository: String,

    /// The tags, for example `main` or `{git.shortSha}`. `{git.sha}` and `{git.shortSha}` stand for the commit,
    /// `{git.branch}` and `{git.tag}` for where it was found (`/` written as `-`), `{build.number}` for the number of
    /// the build. Without any the image is found by its digest.
    // Atomic: an entry is nothing but its text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128), regex(pattern = TAG_TEMPLATE)))]
    pub tags: Vec<String>,

    /// A Secret of type `kubernetes.io/dockerconfigjson` in this namespace with the credentials to push with. What
    /// the Dockerfile runs never gets to see them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// A Secret in this namespace with `ca.crt` (the certificate authorities to trust for this
    /// registry) and, for client certificates, `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<SecretReference>,

    /// Allows plain HTTP and unverified TLS for this registry, and only for it.
    #[serde(default)]
    pub insecure: bool,

    /// The format of the image.
    #[serde(default)]
    pub format: ImageFormat,

    /// How its layers are compressed.
    #[serde(default)]
    pub compression: LayerCompression,

    /// Annotations of the image's manifest, for example `{"org.opencontainers.image.vendor": "Team A"}`.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// What is attached to the image.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.provenance || !has(self.keySecretRef)").message("keySecretRef signs the provenance: provenance must be true")
)]
pub struct Attestations {
    /// Whether a SLSA provenance is attached: what the image was built from, by what and when. The build has not
    /// succeeded before it is.
    #[serde(default = "provenance")]
    pub provenance: bool,

    /// Whether a bill of materials is attached (SPDX): a scanner finds out which packages are in the image, before it is
    /// pushed. Needs a scanner in the operator's configuration.
    #[serde(default)]
    pub sbom: bool,

    /// Where the private key is that signs the provenance: PEM, PKCS#8, ECDSA on P-256, not encrypted. Without one it is not
    /// signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretKeyReference>,
}

impl Default for Attestations {
    fn default() -> Self {
        Self {
            provenance: provenance(),
            sbom: false,
            key_secret_ref: None,
        }
    }
}

/// What follows a failure of the cluster: a node that is gone, a pod that was evicted, a registry that does not
/// answer. What a Dockerfile does wrong is not tried again.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildRetry {
    /// How often a build is tried again.
    #[schemars(range(min = 0, max = 10))]
    pub limit: i32,
}

impl Default for BuildRetry {
    fn default() -> Self {
        Self { limit: 2 }
    }
}

/// How many builds the status remembers.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildHistory {
    /// Builds that succeeded.
    #[schemars(range(min = 0, max = 10))]
    pub successful: i32,
    /// Builds that failed.
    #[schemars(range(min = 0, max = 10))]
    pub failed: i32,
}

impl Default for BuildHistory {
    fn default() -> Self {
        Self {
            successful: 3,
            failed: 3,
        }
    }
}

/// A path below a directory. What leads out of it is refused by `build::ContextPath`.
pub(super) const RELATIVE_PATH: &str = r"^[^/\s][^\s]*$";
/// `HOST[:PORT]/REPOSITORY`.
const OUTPUT_REPOSITORY: &str = concat!(
    r"^((localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?|[A-Za-z0-9-]+:[0-9]{1,5})",
    r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$"
);
/// A tag with placeholders.
const TAG_TEMPLATE: &str = r"^([A-Za-z0-9_.-]|\{git\.sha\}|\{git\.shortSha\}|\{git\.branch\}|\{git\.tag\}|\{build\.number\})+$";

fn dockerfile() -> String {
    "Dockerfile".to_owned()
}

const fn provenance() -> bool {
    true
}

fn annotations(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 1024},
    })
}
