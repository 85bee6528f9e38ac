//! What builders leave, made by hand.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use transship::oci::{Digest, MediaType};

/// A layer, as a tar file with one file.
pub(super) fn layer(content: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, "file", content.as_bytes())
        .unwrap();
    archive.into_inner().unwrap()
}

/// An image layout in a directory.
pub(super) struct Layout {
    path: PathBuf,
}

impl Layout {
    /// One without an image.
    pub(super) fn create(path: PathBuf) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::create_dir(path.join("ingest")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { path }
    }

    /// One with an image as a builder leaves it; gives the image's digest.
    pub(super) fn with_image(path: PathBuf) -> (Self, Digest) {
        let layout = Self::create(path);
        let entry = layout.add_image(&layer("content"));
        layout.list(&[&entry]);
        (layout, entry["digest"].as_str().unwrap().parse().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path
            .join("blobs")
            .join(digest.as_str().replace(':', "/"))
    }

    pub(super) fn add(&self, content: &[u8]) -> Digest {
        let digest = Digest::sha256(content);
        fs::write(self.blob_path(&digest), content).unwrap();
        digest
    }

    /// Adds an image with one layer, which is not compressed; gives the entry for an index.
    pub(super) fn add_image(&self, layer: &[u8]) -> Value {
        let diff_id = self.add(layer);
        self.add_image_of(
            &json!([{
                "mediaType": MediaType::OCI_LAYER, "digest": diff_id, "size": layer.len(),
            }]),
            &json!([diff_id]),
        )
    }

    /// Adds an image with these layers.
    pub(super) fn add_image_of(&self, layers: &Value, diff_ids: &Value) -> Value {
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
            "config": {
                "mediaType": MediaType::OCI_CONFIG,
                "digest": self.add(config.as_bytes()), "size": config.len(),
            },
            "layers": layers,
            "annotations": {"builder": "1"},
        });
        self.add_document(&manifest, MediaType::OCI_MANIFEST)
    }

    /// Adds a manifest or index; gives the entry for an index.
    pub(super) fn add_document(&self, document: &Value, media_type: &str) -> Value {
        let bytes = document.to_string();
        let digest = self.add(bytes.as_bytes());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Writes the table of contents.
    pub(super) fn list(&self, entries: &[&Value]) {
        let index = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries,
        });
        fs::write(self.path.join("index.json"), index.to_string()).unwrap();
    }
}
