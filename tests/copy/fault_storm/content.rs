//! What the source of a schedule holds: every shape that an image can have.

use std::io::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value, json};
use transship::oci::Digest;
use transship::registry::CHUNK_BYTES;

use crate::support::registry::{Dialect, Registry};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layer that goes in chunks when uploads are saved.
static LARGE_LAYER: LazyLock<Bytes> = LazyLock::new(|| {
    let length = usize::try_from(CHUNK_BYTES).unwrap() + 1024 * 1024;
    (0..=250).cycle().take(length).collect()
});

/// An index of two platforms under `tag`, each an image of these layers and one of its own.
pub(super) fn seed_index(
    source: &Registry,
    repository: &str,
    tag: &str,
    layers: &[&[u8]],
) -> Digest {
    let entries: Vec<_> = ["amd64", "arm64"]
        .into_iter()
        .map(|architecture| {
            let own = format!("{repository}:{tag} for {architecture}");
            let mut layers = layers.to_vec();
            layers.push(own.as_bytes());
            let image = source.seed_image(repository, None, &layers);
            json!({
                "mediaType": MANIFEST,
                "digest": image,
                "size": size_of(source, repository, &image),
                "platform": {"os": "linux", "architecture": architecture},
            })
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    source.seed_manifest(repository, Some(tag), &index)
}

pub(super) fn seed_large_image(source: &Registry, repository: &str, tag: &str) {
    source.seed_image(repository, Some(tag), &[&LARGE_LAYER, b"base"]);
}

/// An image of gzip layers with a configuration that says what they unpack to.
pub(super) fn seed_compressed_image(
    source: &Registry,
    repository: &str,
    tag: &str,
    layers: &[&[u8]],
) {
    let descriptor = |media_type: &str, content: &[u8]| {
        let digest = source.seed_blob(repository, content);
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    };
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(layer)))
        .collect();
    let image = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config.to_string().as_bytes()),
        "layers": layers,
    });
    source.seed_manifest(repository, Some(tag), &image);
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A signature that refers to `subject`, in the way in which a registry of this dialect knows it.
pub(super) fn seed_signature(
    source: &Registry,
    dialect: Option<Dialect>,
    repository: &str,
    subject: &Digest,
) -> Digest {
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": source.seed_blob(repository, b"{}"),
            "size": 2,
        },
        "layers": [layer(source, repository, b"a signature")],
        "subject": {
            "mediaType": INDEX, "digest": subject, "size": size_of(source, repository, subject),
        },
    });
    let digest = source.seed_manifest(repository, None, &signature);
    if dialect.is_some_and(|dialect| !dialect.has_referrers()) {
        let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
            "mediaType": MANIFEST, "digest": digest, "size": signature.to_string().len(),
        }]});
        source.seed_manifest(repository, Some(&fallback_tag(subject)), &list);
    }
    digest
}

/// A signature of `subject` as cosign keeps it: under a tag made from the digest.
pub(super) fn seed_cosign_signature(
    source: &Registry,
    repository: &str,
    subject: &Digest,
) -> String {
    let tag = format!("{}.sig", fallback_tag(subject));
    source.seed_image(repository, Some(&tag), &[b"a signature by cosign"]);
    tag
}

/// The tag that lists what refers to `subject` where there is no referrers API.
pub(super) fn fallback_tag(subject: &Digest) -> String {
    subject.as_str().replace(':', "-")
}

fn layer(source: &Registry, repository: &str, content: &[u8]) -> Value {
    let digest = source.seed_blob(repository, content);
    json!({"mediaType": LAYER, "digest": digest, "size": content.len()})
}

fn size_of(source: &Registry, repository: &str, digest: &Digest) -> usize {
    let stored = source.manifest(repository, digest.as_str()).unwrap();
    stored.bytes.len()
}
