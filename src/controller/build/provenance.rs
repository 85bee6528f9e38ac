//! What is said of how an image was built. Pure: objects in, a provenance out.
//!
//! Everything comes from what was written down when the build began, from its pods, or from what of the spec cannot
//! have changed since (`inputs.rs`), and nothing from the clock: a controller that does it again says the same. `docs/provenance.md` describes each field.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde::Serialize;
use serde_json::json;

use super::observation;
use super::wanted::Wanted;
use crate::api::{
    BaseImage, BaseImagePolicy, ImageBuildSpec, ImageBuildStatus, ImageFormat, LayerCompression,
    SourceStatus,
};
use crate::attestation::{Artifact, Provenance};
use crate::oci::{Digest, Reference};

/// An image that is in its registry, and what is known of it.
pub(super) struct Built<'a> {
    /// The UID of the object.
    pub(super) uid: &'a str,
    pub(super) spec: &'a ImageBuildSpec,
    pub(super) wanted: &'a Wanted,
    /// As it was while the build went on.
    pub(super) status: &'a ImageBuildStatus,
    /// One for each platform.
    pub(super) pods: &'a [&'a Pod],
    /// What the registry holds.
    pub(super) image: &'a Digest,
    pub(super) base_images: &'a [BaseImage],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalParameters<'a> {
    source: SourceParameters<'a>,
    dockerfile: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    build_args: BTreeMap<&'a str, &'a str>,
    platforms: Vec<String>,
    base_images: BaseImagePolicy,
    /// The names that the Dockerfile knows them by. Nothing else of a secret is said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<&'a str>,
    output: OutputParameters<'a>,
}

#[derive(Serialize)]
struct SourceParameters<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#ref: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    submodules: Option<bool>,
}

#[derive(Serialize)]
struct OutputParameters<'a> {
    repository: String,
    format: ImageFormat,
    compression: &'a LayerCompression,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// The provenance of an image.
pub(super) fn of(built: &Built<'_>) -> Provenance {
    let status = built.status;
    let of_build = status.build.as_ref();
    let (number, attempt) = of_build.map_or((0, 0), |build| (build.number, build.attempt));
    let source = status.source.as_ref();
    let base_images = built.base_images.iter();
    let pods = built.pods.iter();
    let created = pods.clone().filter_map(|pod| pod.creation_timestamp());
    let published = pods.filter_map(|pod| observation::published_at(pod));
    Provenance {
        repository: built.wanted.output.name(),
        image: built.image.clone(),
        external_parameters: json!(external_parameters(built)),
        internal_parameters: json!({"builder": status.builder}),
        dependencies: source
            .and_then(of_source)
            .into_iter()
            .chain(base_images.filter_map(of_base))
            .collect(),
        builder_dependencies: of_builder(built),
        invocation: format!("{}/{number}/{attempt}", built.uid),
        started: created.map(|time| time.0).min(),
        finished: published.max(),
    }
}

fn external_parameters<'a>(built: &'a Built<'a>) -> ExternalParameters<'a> {
    let spec = built.spec;
    let source = built.status.source.as_ref();
    let git = spec.source.git.as_ref();
    let arguments = spec.build_args.iter();
    let output = &spec.output;
    let platforms = built.wanted.platforms.iter();
    ExternalParameters {
        source: SourceParameters {
            address: source.and_then(|source| source.address.as_deref()),
            r#ref: source.and_then(|source| source.r#ref.as_deref()),
            path: git.and_then(|git| git.path.as_deref()),
            submodules: git.map(|git| git.submodules),
        },
        dockerfile: &spec.dockerfile,
        target: spec.target.as_deref(),
        build_args: arguments
            .map(|argument| (argument.name.as_str(), argument.value.as_str()))
            .collect(),
        platforms: platforms.map(ToString::to_string).collect(),
        base_images: spec.base_images,
        secrets: spec
            .secrets
            .iter()
            .map(|secret| secret.id.as_str())
            .collect(),
        output: OutputParameters {
            repository: built.wanted.output.name(),
            format: output.format,
            compression: &output.compression,
            annotations: &output.annotations,
        },
    }
}

fn of_source(source: &SourceStatus) -> Option<Artifact> {
    let address = source.address.as_deref();
    if let Some(commit) = &source.commit {
        return Some(Artifact::git(address, source.r#ref.as_deref(), commit));
    }
    let digest: Digest = source.digest.as_ref()?.parse().ok()?;
    let Some(address) = address else {
        return Some(Artifact::named("context", &digest));
    };
    if address.starts_with("https://") || address.starts_with("http://") {
        return Some(Artifact::file(address, &digest));
    }
    Some(Artifact::image(&address.parse().ok()?, &digest))
}

fn of_base(base: &BaseImage) -> Option<Artifact> {
    let reference = base.from.parse().ok()?;
    Some(Artifact::image(&reference, &base.digest.parse().ok()?))
}

/// The image of the builder, with the digests that nodes ran: of an index or, for each platform, of its image.
fn of_builder(built: &Built<'_>) -> Vec<Artifact> {
    let builder = built.status.builder.as_ref();
    let Some(reference) = builder.and_then(|builder| builder.image.parse::<Reference>().ok())
    else {
        return Vec::new();
    };
    let pods = built.pods.iter();
    let mut digests: BTreeSet<_> = pods
        .filter_map(|pod| observation::builder_digest(pod))
        .collect();
    if digests.is_empty() {
        digests.extend(reference.digest().cloned());
    }
    let digests = digests.iter();
    digests
        .map(|digest| Artifact::image(&reference, digest))
        .collect()
}

#[cfg(test)]
mod tests;
