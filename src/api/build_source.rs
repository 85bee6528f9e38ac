//! Where the files of a build come from.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::image_build::RELATIVE_PATH;
use super::secret_reference::{NAME, SecretReference};

/// Where the files of a build come from: exactly one of these.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.git), has(self.inline), has(self.configMapRef), has(self.image), has(self.http)].filter(set, set).size() == 1").message("exactly one of git, inline, configMapRef, image and http must be set")
)]
pub struct BuildSource {
    /// A Git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// Files that stand here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<InlineSource>,
    /// A `ConfigMap` in this namespace; each key is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapReference>,
    /// The files in an image or OCI artifact: its layers, one over the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSource>,
    /// A tar file, which may be compressed with gzip or zstd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSource>,
}

/// A commit of a Git repository.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitSource {
    /// The address of the repository: `https://git.example/team/app.git` or `ssh://git@git.example/team/app.git`.
    #[schemars(
        length(min = 1, max = 2048),
        regex(pattern = r"^(https?|ssh)://[^\s]+$")
    )]
    pub url: String,
    /// What of it is built.
    pub r#ref: GitReference,
    /// The directory of the repository that is built, for example `services/app`; all of it without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = RELATIVE_PATH))]
    pub path: Option<String>,
    /// Whether submodules are fetched, with the same credentials where they are of the same server.
    #[serde(default)]
    pub submodules: bool,
    /// A Secret in this namespace: `username` and `password`, or `bearerToken`, or `identity` and `known_hosts`; and
    /// `ca.crt`, where the server's certificate needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// Allows plain HTTP.
    #[serde(default)]
    pub insecure: bool,
}

/// What of a Git repository is built: exactly one of these.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.branch), has(self.tag), has(self.commit)].filter(set, set).size() == 1").message("exactly one of branch, tag and commit must be set")
)]
pub struct GitReference {
    /// The head of a branch, for example `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r"^[^\s~^:?*\[\\-][^\s~^:?*\[\\]*$")
    )]
    pub branch: Option<String>,
    /// A tag, for example `v1.4.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r"^[^\s~^:?*\[\\-][^\s~^:?*\[\\]*$")
    )]
    pub tag: Option<String>,
    /// A commit, for example `9fceb02d0ae598e95dc970b74767f19372d61af8`: all of its digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 40, max = 64),
        regex(pattern = r"^([0-9a-f]{40}|[0-9a-f]{64})$")
    )]
    pub commit: Option<String>,
}

/// Files that stand in the object.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct InlineSource {
    /// The content of the Dockerfile, for example `FROM alpine:3.22`.
    #[schemars(length(min = 1, max = 65536))]
    pub dockerfile: String,
    /// Other files, by their names, for example `{"app.conf": "debug = false"}`. A name has no directory in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "files")]
    pub files: BTreeMap<String, String>,
}

/// A `ConfigMap` in the namespace of the object that names it.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct ConfigMapReference {
    /// The name of the `ConfigMap`, for example `app-context`.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME))]
    pub name: String,
}

/// An image or OCI artifact with the files in its layers.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSource {
    /// The image, for example `registry.corp.example/team-a/context:main`. A digest pins it.
    #[schemars(length(min = 1, max = 512))]
    pub reference: String,
    /// A Secret of type `kubernetes.io/dockerconfigjson` in this namespace with the credentials to pull it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// A Secret in this namespace with `ca.crt` and, for client certificates, `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<SecretReference>,
    /// Allows plain HTTP and unverified TLS for this registry, and only for it.
    #[serde(default)]
    pub insecure: bool,
}

/// A tar file on a web server.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpSource {
    /// The address of the file: `https://files.example/context.tar.gz`.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://[^\s]+$"))]
    pub url: String,
    /// The digest of the file as it is served, for example `sha256:…`.
    #[schemars(
        length(min = 71, max = 135),
        regex(pattern = r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")
    )]
    pub checksum: String,
    /// Allows plain HTTP. The checksum holds in any case.
    #[serde(default)]
    pub insecure: bool,
}

/// Names and contents of files.
fn files(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 65536},
    })
}
