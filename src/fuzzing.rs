//! What must hold for any input whatsoever, as functions that a fuzzer calls with bytes.
//!
//! Each of them panics when it does not hold. They are compiled for tests, which run them over
//! `fuzz/corpus`, and with the feature `fuzzing`, for the fuzzer in `fuzz/main.rs`.

use bytes::Bytes;

use crate::oci::{Content, Digest, ImageConfig, Manifest, MediaType, Platform, Reference};
use crate::registry::{DockerConfig, fuzzing as registry};
use crate::transport::{Location, Name, fuzzing as transport};
use crate::verify::fuzzing as verify;

/// A function that panics when something does not hold for the input.
pub type Target = fn(&[u8]);

/// All targets with the names that the corpora have.
pub const TARGETS: [(&str, Target); 15] = [
    ("reference", reference),
    ("digest", digest),
    ("platform", platform),
    ("manifest", manifest),
    ("image-config", image_config),
    ("docker-config", docker_config),
    ("challenge", registry::challenge),
    ("location", registry::location),
    ("retry-after", registry::retry_after),
    ("link", registry::link),
    ("range", registry::range),
    ("place", place),
    ("layout-index", transport::layout_index),
    ("tar", transport::tar),
    ("signature", verify::signature),
];

/// Any text that is a reference is one in its normal form, too, and safe in a URL.
fn reference(input: &[u8]) {
    let Some(reference) = parse::<Reference>(input) else {
        return;
    };
    let text = reference.to_string();
    assert_eq!(text.parse().as_ref(), Ok(&reference));
    let path = format!("/{}", reference.repository());
    assert!(
        url::Url::parse(&format!("https://{}{path}", reference.registry()))
            .is_ok_and(|url| url.path() == path && url.username().is_empty())
    );
}

/// A digest has one text, and its parts are safe as file names.
fn digest(input: &[u8]) {
    if let Some(digest) = parse::<Digest>(input) {
        assert_eq!(digest.as_str().as_bytes(), input);
        let safe = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b':';
        assert!(input.iter().copied().all(safe));
    }
    assert!(Digest::sha256(input).matches(input));
}

/// A text that names a place names one with a path, and says of an image what can be looked for.
fn place(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match Location::parse(text) {
        Ok(Location::Layout(path, name) | Location::LayoutArchive(path, name)) => {
            assert!(!path.as_os_str().is_empty());
            let path = path.to_string_lossy();
            let rest = match name {
                Name::Only => String::new(),
                Name::Tag(tag) => format!(":{tag}"),
                Name::Digest(digest) => format!("@{digest}"),
            };
            assert!(text.ends_with(&format!("{path}{rest}")));
        }
        Ok(Location::Directory(path) | Location::DockerArchive(path, _)) => {
            assert!(!path.as_os_str().is_empty());
        }
        Ok(Location::Registry(_) | Location::DockerDaemon(_)) => {}
        Err(error) => assert!(error.to_string().len() < 1024),
    }
}

/// A platform that is parsed is in its normal form.
fn platform(input: &[u8]) {
    if let Some(platform) = parse::<Platform>(input) {
        assert_eq!(platform.normalized(), platform);
        assert_eq!(platform.to_string().parse().as_ref(), Ok(&platform));
        assert!(platform.matches(&platform));
    }
}

/// The first byte chooses the media type, the rest is the document.
fn manifest(input: &[u8]) {
    let Some((first, document)) = input.split_first() else {
        return;
    };
    let media_type = match first % 3 {
        0 => MediaType::OCI_INDEX,
        1 => MediaType::OCI_MANIFEST,
        _ => MediaType::OCI_ARTIFACT_MANIFEST,
    };
    let manifest = Manifest::new(Bytes::copy_from_slice(document), MediaType::new(media_type));
    assert_eq!(manifest.bytes(), document);
    match manifest.content() {
        Err(error) => assert!(error.to_string().len() < 1024 && !error.reason().is_empty()),
        Ok(content) => {
            // A lenient parser that takes the last of equal names sees the same descriptors.
            let lenient: serde_json::Value =
                serde_json::from_slice(document).unwrap_or(serde_json::Value::Null);
            assert_same_descriptors(&content, &lenient);
        }
    }
}

fn assert_same_descriptors(content: &Content, lenient: &serde_json::Value) {
    let (name, descriptors) = match content {
        Content::Index { manifests, .. } => ("manifests", manifests),
        Content::Image { layers, .. } => ("layers", layers),
        Content::Artifact { blobs, .. } => ("blobs", blobs),
    };
    let others = lenient.get(name).and_then(|list| list.as_array());
    assert_eq!(others.map_or(0, Vec::len), descriptors.len());
    for (descriptor, other) in descriptors.iter().zip(others.into_iter().flatten()) {
        let digest = other.get("digest").and_then(|digest| digest.as_str());
        assert_eq!(digest, Some(descriptor.digest.as_str()));
        let size = other.get("size").and_then(serde_json::Value::as_u64);
        assert_eq!(size, Some(descriptor.size));
        if let Some(data) = &descriptor.data {
            assert!(descriptor.digest.matches(data));
        }
    }
}

/// A configuration of any content is read or refused.
fn image_config(input: &[u8]) {
    match ImageConfig::parse(input) {
        Ok(config) => assert!(config.diff_ids.len() <= 10_000 && config.history.len() <= 10_000),
        Err(error) => assert!(error.to_string().len() < 1024),
    }
}

/// A Docker configuration gives credentials only to a registry that one of its keys may name.
fn docker_config(input: &[u8]) {
    let (Ok(config), Some(reference)) = (
        DockerConfig::parse(input),
        parse::<Reference>(b"registry.unlikely/app"),
    ) else {
        return;
    };
    let found = config.credentials_for(reference.registry(), reference.repository());
    // A name in the document can be written with globs and with escapes.
    let has_key = input.contains(&b'*')
        || input.contains(&b'\\')
        || input
            .to_ascii_lowercase()
            .windows(8)
            .any(|part| part == b"unlikely");
    assert!(has_key || found.is_none());
}

fn parse<T: std::str::FromStr>(input: &[u8]) -> Option<T> {
    std::str::from_utf8(input).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_target_holds_for_its_corpus() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let entries: Vec<_> = corpora.join(name).read_dir().unwrap().collect();
            assert!(
                entries.len() >= 3,
                "{name} has only {} inputs",
                entries.len()
            );
            for entry in entries {
                target(&std::fs::read(entry.unwrap().path()).unwrap());
            }
        }
        let names: BTreeSet<_> = corpora
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names, TARGETS.map(|(name, _)| name.to_owned()).into());
    }
}
