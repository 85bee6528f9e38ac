//! Images of every shape that people have, and what an archive of Docker makes of each.

#![expect(
    clippy::indexing_slicing,
    reason = "what tests share fails like a test: by panicking"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use transship::oci::{Digest, MediaType};

use super::images::{Image, gzip};
use super::layouts::seed;
use crate::support::registry::Registry;

const ENCRYPTED: &str = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// An image of some shape in a registry.
pub(super) struct Seeded {
    /// All manifests, the image itself first.
    pub(super) manifests: Vec<Digest>,
    /// What an archive of Docker, or a daemon, says to it; [`None`] if it takes it.
    pub(super) refusal: Option<&'static str>,
}

/// Puts `app:v1` of the shape into the registry.
pub(super) fn seed_shape(registry: &Registry, shape: &str) -> Seeded {
    let refusal = match shape {
        "image" | "inline data" | "empty layer" | "duplicate layers" | "sha512" => None,
        "index" | "nested index" | "attestation" => Some("--platform"),
        "zstd" => Some("convert the layers to gzip"),
        "encrypted" => Some("decrypt the image"),
        "foreign layers" => Some("fetched from elsewhere"),
        _ => Some("an artifact that is no image"),
    };
    let manifests = match shape {
        "foreign layers" => vec![image(registry, |manifest| {
            let mut layer = descriptor(MediaType::OCI_NONDISTRIBUTABLE_LAYER_GZIP, b"elsewhere");
            layer["urls"] = json!(["https://foreign.example/layer"]);
            layers(manifest).push(layer);
        })],
        "inline data" => vec![inline(registry)],
        "empty layer" => vec![of_layers(registry, &["one", ""])],
        "duplicate layers" => vec![of_layers(registry, &["one", "two", "one"])],
        "sha512" => vec![image(registry, |manifest| {
            let layer = gzip(&one().layers[0]);
            let digest = sha512(&layer);
            registry.seed_blob_as("app", &digest, &layer);
            layers(manifest)[0]["digest"] = json!(digest);
        })],
        "zstd" => vec![image(registry, |manifest| {
            let layer = zstd::stream::encode_all(&one().layers[0][..], 3).unwrap();
            registry.seed_blob("app", &layer);
            layers(manifest)[0] = descriptor(MediaType::OCI_LAYER_ZSTD, &layer);
        })],
        "encrypted" => vec![image(registry, |manifest| {
            registry.seed_blob("app", b"ciphertext");
            let mut layer = descriptor(ENCRYPTED, b"ciphertext");
            layer["annotations"] = json!({"org.opencontainers.image.enc.keys.jwe": "e30="});
            layers(manifest)[0] = layer;
        })],
        "unknown media types" => vec![image(registry, |manifest| {
            registry.seed_blob("app", b"a config");
            registry.seed_blob("app", b"");
            manifest["config"] = descriptor("application/vnd.example.config+toml", b"a config");
            layers(manifest)[0] = descriptor("application/vnd.example.nothing", b"");
            manifest["x-example"] = json!({"kept": [1, 2, 3]});
        })],
        "attestation" => attestation(registry),
        shape => seed(registry, shape),
    };
    Seeded { manifests, refusal }
}

fn one() -> Image {
    Image::with_files(&["one"])
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(content), "size": content.len()})
}

fn sha512(content: &[u8]) -> Digest {
    let any: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    let mut hasher = any.hasher();
    hasher.update(content);
    hasher.finish()
}

fn layers(manifest: &mut Value) -> &mut Vec<Value> {
    manifest["layers"].as_array_mut().unwrap()
}

/// An image of one layer, after `change` has been at its manifest.
fn image(registry: &Registry, change: impl FnOnce(&mut Value)) -> Digest {
    let image = one();
    registry.seed_blob("app", &image.config);
    let mut manifest = image.manifest(MediaType::OCI_LAYER_GZIP, |layer| {
        let packed = gzip(layer);
        (registry.seed_blob("app", &packed), packed.len())
    });
    change(&mut manifest);
    registry.seed_manifest("app", Some("v1"), &manifest)
}

/// An image whose configuration stands in its manifest as well.
fn inline(registry: &Registry) -> Digest {
    image(registry, |manifest| {
        manifest["config"]["data"] = json!(STANDARD.encode(one().config));
    })
}

/// An image of layers that are not compressed; that of an empty text has no bytes at all.
fn of_layers(registry: &Registry, texts: &[&str]) -> Digest {
    let mut image = Image::with_files(texts);
    for (layer, text) in image.layers.iter_mut().zip(texts) {
        *layer = match *text {
            "" => Vec::new(),
            text => super::images::tar(&[("file", text.as_bytes())]),
        };
    }
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["rootfs"]["diff_ids"] = json!(image.diff_ids());
    image.config = config.to_string().into_bytes();
    registry.seed_blob("app", &image.config);
    let manifest = image.manifest(MediaType::OCI_LAYER, |layer| {
        (registry.seed_blob("app", layer), layer.len())
    });
    registry.seed_manifest("app", Some("v1"), &manifest)
}

/// An index as BuildKit writes it: an image, and beside it what is attested of it.
fn attestation(registry: &Registry) -> Vec<Digest> {
    let subject = one().seed(registry, "app", "image");
    registry.seed_blob("app", b"{\"rootfs\":{}}");
    registry.seed_blob("app", b"{}");
    let mut statement = descriptor(IN_TOTO, b"{}");
    statement["annotations"] =
        json!({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"});
    let about = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor(MediaType::OCI_CONFIG, b"{\"rootfs\":{}}"),
        "layers": [statement],
    });
    let about = registry.seed_manifest("app", None, &about);
    let entry = |digest: &Digest, architecture: &str, os: &str| {
        let stored = registry.manifest("app", digest.as_str()).unwrap();
        json!({
            "mediaType": MediaType::OCI_MANIFEST, "digest": digest, "size": stored.bytes.len(),
            "platform": {"os": os, "architecture": architecture},
        })
    };
    let mut attested = entry(&about, "unknown", "unknown");
    attested["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": subject,
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX,
        "manifests": [entry(&subject, "amd64", "linux"), attested],
    });
    vec![
        registry.seed_manifest("app", Some("v1"), &index),
        subject,
        about,
    ]
}
