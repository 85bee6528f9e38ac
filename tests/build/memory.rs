//! What publishing takes of the memory of a node does not depend on the image.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use serde_json::{Value, json};
use transship::oci::{Digest, MediaType};

use super::output::Layout;
use super::{Pod, plan_to_publish};
use crate::support::docker_registry::DockerRegistry;

const LAYERS: u64 = 4;
const SMALL_LAYER_BYTES: u64 = 16 * 1024 * 1024;
const LARGE_LAYER_BYTES: u64 = 96 * 1024 * 1024;
/// What two runs may differ by: a fraction of what the images differ by.
const TOLERANCE_BYTES: u64 = 8 * 1024 * 1024;

/// Adds a layer that is mostly a hole; gives its descriptor.
fn add_layer(layout: &Layout, number: u64, bytes: u64) -> Value {
    let new = layout.path().join("new");
    let file = File::create(&new).unwrap();
    file.write_at(&number.to_le_bytes(), 0).unwrap();
    file.set_len(bytes).unwrap();
    let mut hasher = Digest::sha256_hasher();
    hasher.update(&number.to_le_bytes());
    let zeros = vec![0; 1024 * 1024];
    let mut left = usize::try_from(bytes).unwrap() - 8;
    while left > 0 {
        let length = left.min(zeros.len());
        hasher.update(&zeros[..length]);
        left -= length;
    }
    let digest = hasher.finish();
    std::fs::rename(new, layout.blob_path(&digest)).unwrap();
    json!({"mediaType": MediaType::OCI_LAYER, "digest": digest, "size": bytes})
}

/// The most memory that a publication of an image with layers of this size had.
async fn peak_resident_bytes(layer_bytes: u64) -> u64 {
    let registry = DockerRegistry::plain();
    let pod = Pod::new(&plan_to_publish(registry.host(), &json!({})));
    let layout = Layout::create(pod.path("out/layout"));
    let layers: Vec<_> = (0..LAYERS)
        .map(|number| add_layer(&layout, number, layer_bytes))
        .collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer["digest"]).collect();
    let image = layout.add_image_of(&json!(layers), &json!(diff_ids));
    layout.list(&[&image]);
    let ended = pod.publish().await;
    let peak = ended
        .log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|line| line["peak_resident_bytes"].as_u64());
    assert!(ended.succeeded()["bytes"].as_u64().unwrap() > LAYERS * layer_bytes);
    peak.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_image_takes_no_more_memory_than_a_small_one() {
    let small = peak_resident_bytes(SMALL_LAYER_BYTES).await;
    let large = peak_resident_bytes(LARGE_LAYER_BYTES).await;
    assert!(large <= small + TOLERANCE_BYTES, "{small} {large}");
}
