//! Registries by their API, for tests that have too much to ask for a program per question.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use transship::oci::{Digest, MediaType};

use super::registry::Registry;

/// An image of a few bytes.
pub(crate) struct TinyImage {
    blobs: [Vec<u8>; 2],
    manifest: String,
}

impl TinyImage {
    /// Each text makes another image.
    pub(crate) fn new(text: &str) -> Self {
        let layer = text.as_bytes().to_vec();
        let digest = Digest::sha256(&layer);
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::sha256(&config), "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digest, "size": layer.len(),
            }],
        });
        Self {
            blobs: [layer, config],
            manifest: manifest.to_string(),
        }
    }
}

impl Registry {
    /// Puts the content of an image into a repository, for [`Self::tag`]. Not while that is done for the same
    /// image: the registry does not have a blob for the moment in which it gets it once more.
    pub(crate) async fn upload(&self, image: &TinyImage, repository: &str) {
        let client = self.client();
        for blob in &image.blobs {
            let uploads = format!("{repository}/blobs/uploads/");
            let begun = self.request(&client, Method::POST, &uploads).send().await;
            let begun = begun.unwrap().error_for_status().unwrap();
            let location = begun.headers()["location"].to_str().unwrap();
            let (_, session) = location.split_once("/v2/").unwrap();
            let path = format!("{session}&digest={}", Digest::sha256(blob));
            let put = self.request(&client, Method::PUT, &path);
            let put = put.body(blob.clone()).send().await.unwrap();
            put.error_for_status().unwrap();
        }
    }

    /// Points tags at an image whose content is there.
    pub(crate) async fn tag(&self, image: &TinyImage, repository: &str, tags: &[String]) {
        let client = self.client();
        for tag in tags {
            let path = format!("{repository}/manifests/{tag}");
            let put = self.request(&client, Method::PUT, &path);
            let put = put.header("content-type", MediaType::OCI_MANIFEST);
            let put = put.body(image.manifest.clone()).send().await.unwrap();
            put.error_for_status().unwrap();
        }
    }

    /// What each tag of a repository points at. Nothing is there of a repository that is not there.
    pub(crate) async fn digests(&self, repository: &str) -> BTreeMap<String, String> {
        let client = self.client();
        let list = format!("{repository}/tags/list?n=1000");
        let list = self.request(&client, Method::GET, &list).send().await;
        let list = list.unwrap();
        if list.status() == reqwest::StatusCode::NOT_FOUND {
            return BTreeMap::new();
        }
        let list = list.error_for_status().unwrap().bytes().await.unwrap();
        let list: Value = serde_json::from_slice(&list).unwrap();
        let mut digests = BTreeMap::new();
        for tag in list["tags"].as_array().into_iter().flatten() {
            let tag = tag.as_str().unwrap();
            let head = format!("{repository}/manifests/{tag}");
            let head = self.request(&client, Method::HEAD, &head);
            let head = head.header("accept", MediaType::OCI_MANIFEST);
            let head = head.send().await.unwrap();
            // Tags whose manifest was deleted stay in the list.
            if let Some(digest) = head.headers().get("docker-content-digest") {
                digests.insert(tag.to_owned(), digest.to_str().unwrap().to_owned());
            }
        }
        digests
    }
}
