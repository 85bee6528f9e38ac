//! Where the images of a mirror come from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret_reference::SecretReference;

/// What to mirror: one image, or tags of a repository.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.image) != has(self.repository)").message("exactly one of image and repository must be set"),
    validation = Rule::new("has(self.repository) || !has(self.tags)").message("tags selects from a repository; an image names its own tag")
)]
pub struct Source {
    /// One image, for example `docker.io/library/alpine:3.22` or
    /// `ghcr.io/org/tool:v1.4.2@sha256:…`. A digest pins it; without tag and digest it is `latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub image: Option<String>,

    /// A repository, for example `docker.io/library/nginx`. Its tags are listed at every scan, and those that
    /// `tags` selects are mirrored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = REPOSITORY))]
    pub repository: Option<String>,

    /// Which tags of the repository are mirrored: those that pass every rule that is set. Without any rule all
    /// are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<TagRules>,

    /// A Secret of type `kubernetes.io/dockerconfigjson` in this namespace with the credentials to
    /// pull with. Without it the image is pulled anonymously.
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

/// Which tags of a repository are meant.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TagRules {
    /// Globs such as `1.29*`, of which one must match the whole tag. Without any, all tags match.
    // Atomic: an entry is nothing but its text.
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,

    /// Globs such as `*-perl*`, of which none may match. It wins over everything else.
    // Atomic: an entry is nothing but its text.
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,

    /// A regular expression, for example `^\d+\.\d+$`, that must match somewhere in the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub regex: Option<String>,

    /// Versions, for example `>=1.27, <2` or `~1.28 || ~1.29`. A leading `v` and missing parts of a version
    /// do not matter; a suffix such as `-alpine` does not either. Tags that are no versions do not match. A
    /// version alone means what is compatible with it: `1.27` is `>=1.27, <2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub semver: Option<String>,

    /// Whether pre-releases such as `1.30.0-rc.1` count as versions, for `semver` and for `latest` by
    /// `Semver`.
    pub prerelease: bool,

    /// Only the newest of the tags that pass the other rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<Latest>,

    /// Most tags that may be selected. More are an error, not a choice: nothing new of this repository is
    /// copied then.
    #[schemars(range(min = 1, max = 10_000))]
    pub limit: i32,
}

impl Default for TagRules {
    fn default() -> Self {
        Self {
            include: Vec::new(),
            exclude: Vec::new(),
            regex: None,
            semver: None,
            prerelease: false,
            latest: None,
            limit: 1000,
        }
    }
}

/// The newest of some tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Latest {
    /// How many, for example `5`. By `Semver` each family of tags counts for itself: `1.29` is of another one than
    /// `1.29-alpine`.
    #[schemars(range(min = 1, max = 1000))]
    pub count: i32,
    /// What makes a tag newer than another one.
    #[serde(default)]
    pub by: LatestOrder,
}

/// What makes a tag newer than another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum LatestOrder {
    /// The higher version. Tags that are no versions are left out.
    #[default]
    Semver,
    /// The later one in the order of characters, for tags that begin with a date.
    Alphabetical,
    /// The one whose image was created later, as its configuration says; of an image with several platforms the
    /// first. Images that do not say it are left out. At most 1000 tags may pass the other rules, as each image has
    /// to be read once.
    Created,
}

/// `[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]`; `oci::Reference` parses what passes.
const IMAGE: &str = concat!(
    r"^(([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?/)?",
    r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*",
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?$"
);
/// `[HOST[:PORT]/]REPOSITORY`.
const REPOSITORY: &str = concat!(
    r"^(([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?/)?",
    r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$"
);
