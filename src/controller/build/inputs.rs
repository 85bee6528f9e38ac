//! What an image is made from, as one hash: another build follows when it changes. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::{
    BaseImage, BaseImagePolicy, BuildSource, BuilderType, ImageBuildSpec, ImageFormat,
    LayerCompression, SourceStatus,
};
use crate::oci::Digest;

/// What makes a difference to an image. Not its tags: those are moved without a build. Not the isolation and the
/// operator's own image of a builder: an upgrade of the operator builds nothing.
#[derive(Serialize)]
struct SpecInputs<'a> {
    /// Counted up when the meaning of the fields changes.
    version: u32,
    path: Option<&'a str>,
    submodules: bool,
    dockerfile: &'a str,
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_images: Option<BaseImagePolicy>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    platforms: &'a [String],
    arguments: Vec<(&'a str, &'a str)>,
    /// Which secrets, not what is in them.
    secrets: Vec<(&'a str, &'a str, &'a str)>,
    builder: BuilderType,
    builder_image: Option<&'a str>,
    repository: &'a str,
    format: ImageFormat,
    compression: &'a LayerCompression,
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Inputs<'a> {
    spec: &'a str,
    source: &'a str,
    base_images: Vec<(&'a str, &'a str)>,
}

/// What of a spec makes a difference to its image.
pub(super) fn of_spec(spec: &ImageBuildSpec) -> Digest {
    let git = spec.source.git.as_ref();
    let mut arguments: Vec<_> = spec
        .build_args
        .iter()
        .map(|argument| (argument.name.as_str(), argument.value.as_str()))
        .collect();
    arguments.sort_unstable();
    let mut secrets: Vec<_> = spec
        .secrets
        .iter()
        .map(|secret| {
            let place = &secret.secret_ref;
            (secret.id.as_str(), place.name.as_str(), place.key.as_str())
        })
        .collect();
    secrets.sort_unstable();
    let output = &spec.output;
    digest(&SpecInputs {
        version: 1,
        path: git.and_then(|git| git.path.as_deref()),
        submodules: git.is_some_and(|git| git.submodules),
        dockerfile: &spec.dockerfile,
        target: spec.target.as_deref(),
        base_images: Some(spec.base_images).filter(|policy| *policy != BaseImagePolicy::default()),
        platforms: &spec.platforms,
        arguments,
        secrets,
        builder: spec.builder.builder_type,
        builder_image: spec.builder.image.as_deref(),
        repository: &output.repository,
        format: output.format,
        compression: &output.compression,
        annotations: &output.annotations,
    })
}

/// What an attempt is started for: one that goes on is of no use any more when it changes. Where the source is belongs
/// to it, which is no part of [`of_spec`]: the same files from another place make the same image.
pub(super) fn started_for(of_spec: &Digest, source: &BuildSource) -> Digest {
    digest(&(of_spec, source))
}

/// Everything that an image is made from, as far as it is known before it is built.
pub(super) fn of(spec: &Digest, source: &SourceStatus, base_images: &[BaseImage]) -> Digest {
    let source = identity(source);
    let mut base_images: Vec<_> = base_images
        .iter()
        .map(|image| (image.from.as_str(), image.digest.as_str()))
        .collect();
    base_images.sort_unstable();
    digest(&Inputs {
        spec: spec.as_str(),
        source,
        base_images,
    })
}

/// What a source is: a commit, or the digest of its files.
pub(super) fn identity(source: &SourceStatus) -> &str {
    let commit = source.commit.as_deref();
    commit.or(source.digest.as_deref()).unwrap_or_default()
}

fn digest(inputs: &impl Serialize) -> Digest {
    // Nothing in it is a map with keys that are no texts.
    Digest::sha256(&serde_json::to_vec(inputs).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hash(change: impl FnOnce(&mut Value)) -> Digest {
        let mut spec = json!({
            "source": {"git": {"url": "https://git.test/app.git", "ref": {"branch": "main"}}},
            "buildArgs": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "secrets": [{"id": "npmrc", "secretRef": {"name": "npm", "key": ".npmrc"}}],
            "output": {"repository": "corp.test/app", "tags": ["main"]},
        });
        change(&mut spec);
        of_spec(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn what_makes_another_image_makes_another_hash() {
        let changes: [fn(&mut Value); 8] = [
            |spec| spec["dockerfile"] = json!("other/Dockerfile"),
            |spec| spec["target"] = json!("runtime"),
            |spec| spec["buildArgs"][0]["value"] = json!("3"),
            |spec| spec["secrets"][0]["secretRef"]["key"] = json!("other"),
            |spec| spec["builder"] = json!({"type": "Buildah"}),
            |spec| spec["output"]["repository"] = json!("corp.test/other"),
            |spec| spec["output"]["format"] = json!("Docker"),
            |spec| spec["output"]["annotations"] = json!({"a": "b"}),
        ];
        let mut hashes: Vec<_> = changes.into_iter().map(hash).collect();
        hashes.push(hash(|_| {}));
        let count = hashes.len();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }

    #[test]
    fn what_makes_the_same_image_makes_the_same_hash() {
        let changes: [fn(&mut Value); 6] = [
            |spec| spec["output"]["tags"] = json!(["other"]),
            |spec| spec["attest"] = json!({"provenance": false}),
            |spec| spec["suspend"] = json!(true),
            |spec| spec["timeout"] = json!("2h"),
            |spec| spec["buildArgs"].as_array_mut().unwrap().reverse(),
            |spec| spec["builder"] = json!({"isolation": "Rootless"}),
        ];
        for change in changes {
            assert_eq!(hash(change), hash(|_| {}));
        }
    }

    #[test]
    fn another_source_outdates_an_attempt_and_makes_the_same_image() {
        let spec = |branch: &str, tags: &[&str]| -> ImageBuildSpec {
            let git = json!({"url": "https://git.test/app.git", "ref": {"branch": branch}});
            let spec = json!({
                "source": {"git": git}, "output": {"repository": "corp.test/app", "tags": tags},
            });
            serde_json::from_value(spec).unwrap()
        };
        let (main, fix) = (spec("main", &["main"]), spec("fix", &["main"]));
        let started_for = |spec: &ImageBuildSpec| super::started_for(&of_spec(spec), &spec.source);
        assert_eq!(of_spec(&main), of_spec(&fix));
        assert_ne!(started_for(&main), started_for(&fix));
        let tagged = spec("main", &["main", "v1"]);
        assert_eq!(started_for(&main), started_for(&tagged));
    }

    #[test]
    fn another_commit_or_base_is_another_input() {
        let spec = hash(|_| {});
        let source = |commit: &str| SourceStatus {
            commit: Some(commit.to_owned()),
            ..SourceStatus::default()
        };
        let base = |digest: &str| {
            [BaseImage {
                from: "alpine:3".to_owned(),
                digest: digest.to_owned(),
            }]
        };
        let first = of(&spec, &source("a"), &base("1"));
        assert_eq!(first, of(&spec, &source("a"), &base("1")));
        assert_ne!(first, of(&spec, &source("b"), &base("1")));
        assert_ne!(first, of(&spec, &source("a"), &base("2")));
    }
}
