//! An image large enough to be caught half-way.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde_json::json;
use tokio::sync::OnceCell;
use transship::oci::{Digest, MediaType};

use super::registry::Registry;

/// Its name in the plain registry.
pub(crate) const BIG_IMAGE: &str = "e2e/big:1";
/// The size of its only layer: 1 GiB.
pub(crate) const BIG_LAYER_BYTES: u64 = 1 << 30;

static PUSHED: OnceCell<()> = OnceCell::const_new();

/// Makes the image and pushes it to the plain registry, once for all tests.
pub(crate) async fn push_big_image(registry: &Registry) {
    let push = async {
        if registry.manifest(BIG_IMAGE).is_none() {
            let layout = tempfile::tempdir().unwrap();
            write_layout(layout.path());
            registry.push(layout.path(), BIG_IMAGE);
        }
    };
    PUSHED.get_or_init(|| push).await;
}

fn write_layout(layout: &Path) {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let write = |content: &[u8]| {
        let digest = Digest::sha256(content);
        std::fs::write(
            blobs.join(digest.as_str().trim_start_matches("sha256:")),
            content,
        )
        .unwrap();
        json!({"digest": digest, "size": content.len()})
    };
    let layer = write_layer(&blobs);
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    });
    let mut config = write(config.to_string().as_bytes());
    config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": config,
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": BIG_LAYER_BYTES,
        }],
    });
    let mut descriptor = write(manifest.to_string().as_bytes());
    descriptor["mediaType"] = json!(MediaType::OCI_MANIFEST);
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
    let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    std::fs::write(
        layout.join("oci-layout"),
        json!({"imageLayoutVersion": "1.0.0"}).to_string(),
    )
    .unwrap();
}

/// Writes the layer: numbers, so that no two blocks of it are the same.
fn write_layer(blobs: &Path) -> Digest {
    let path = blobs.join("layer");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    let mut hasher = Digest::sha256(b"").hasher();
    let mut block = Vec::with_capacity(1 << 20);
    for number in 0..BIG_LAYER_BYTES / 8 {
        block.extend_from_slice(&number.to_le_bytes());
        if block.len() == 1 << 20 {
            hasher.update(&block);
            file.write_all(&block).unwrap();
            block.clear();
        }
    }
    file.flush().unwrap();
    let digest = hasher.finish();
    std::fs::rename(
        path,
        blobs.join(digest.as_str().trim_start_matches("sha256:")),
    )
    .unwrap();
    digest
}
