//! Registries by their API, for tests that have too much to ask for a program per question.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use transship::oci::{Digest, MediaType};

use super::registry::Registry;

/// An image with one layer, or something that is stored like one.
pub(crate) struct OneLayerImage {
    blobs: [Vec<u8>; 2],
    manifest: String,
}

impl OneLayerImage {
    /// Each layer makes another image.
    pub(crate) fn new(layer: impl Into<Vec<u8>>) -> Self {
        Self::with_fields(layer.into(), &json!({}), &json!({}))
    }

    /// An image that says when it was created.
    pub(crate) fn created(layer: impl Into<Vec<u8>>, time: &str) -> Self {
        Self::with_fields(layer.into(), &json!({"created": time}), &json!({}))
    }

    /// What refers to an image and is of this type.
    pub(crate) fn referrer(artifact_type: &str, subject: &Self) -> Self {
        let fields = json!({"artifactType": artifact_type, "subject": subject.descriptor()});
        Self::with_fields(artifact_type.into(), &json!({}), &fields)
    }

    /// With more fields of the configuration and of the manifest.
    fn with_fields(layer: Vec<u8>, of_config: &Value, of_manifest: &Value) -> Self {
        let digest = Digest::sha256(&layer);
        let mut config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest]},
        });
        add(&mut config, of_config);
        let config = config.to_string().into_bytes();
        let mut manifest = json!({
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
        add(&mut manifest, of_manifest);
        Self {
            blobs: [layer, config],
            manifest: manifest.to_string(),
        }
    }

    /// The digest of its manifest.
    pub(crate) fn digest(&self) -> Digest {
        Digest::sha256(self.manifest.as_bytes())
    }

    /// The digest of its layer.
    pub(crate) fn layer(&self) -> Digest {
        let [layer, _] = &self.blobs;
        Digest::sha256(layer)
    }

    fn descriptor(&self) -> Value {
        json!({
            "mediaType": MediaType::OCI_MANIFEST, "digest": self.digest(), "size": self.manifest.len(),
        })
    }
}

fn add(object: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
}

impl Registry {
    /// Puts the content of an image into a repository, for [`Self::tag`]. Not while that is done for the same
    /// image: the registry does not have a blob for the moment in which it gets it once more.
    pub(crate) async fn upload(&self, image: &OneLayerImage, repository: &str) {
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
    pub(crate) async fn tag(&self, image: &OneLayerImage, repository: &str, tags: &[String]) {
        for tag in tags {
            self.put_manifest(repository, tag, MediaType::OCI_MANIFEST, &image.manifest)
                .await;
        }
    }

    /// Puts an image into a repository and points a tag at it.
    pub(crate) async fn push_image(&self, image: &OneLayerImage, repository: &str, tag: &str) {
        self.upload(image, repository).await;
        self.tag(image, repository, &[tag.to_owned()]).await;
    }

    /// Puts referrers of an image into its repository, and their list under the tag that stands for the referrers
    /// API, which this registry does not have.
    pub(crate) async fn push_referrers(
        &self,
        referrers: &[OneLayerImage],
        subject: &OneLayerImage,
        repository: &str,
    ) {
        for referrer in referrers {
            let digest = referrer.digest().to_string();
            self.push_image(referrer, repository, &digest).await;
        }
        let descriptors = referrers.iter().map(|referrer| {
            let manifest: Value = serde_json::from_str(&referrer.manifest).unwrap();
            let mut descriptor = referrer.descriptor();
            descriptor["artifactType"] = manifest["artifactType"].clone();
            descriptor
        });
        let list = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX,
            "manifests": descriptors.collect::<Vec<_>>(),
        });
        let tag = subject.digest().to_string().replace(':', "-");
        self.put_manifest(repository, &tag, MediaType::OCI_INDEX, &list.to_string())
            .await;
    }

    /// The content of a blob.
    pub(crate) async fn blob(&self, repository: &str, digest: &str) -> Vec<u8> {
        let client = self.client();
        let path = format!("{repository}/blobs/{digest}");
        let found = self.request(&client, Method::GET, &path).send().await;
        let found = found.unwrap().error_for_status().unwrap();
        found.bytes().await.unwrap().to_vec()
    }

    /// Takes a blob out of a repository; whoever has its digest finds nothing there.
    pub(crate) async fn delete_blob(&self, repository: &str, digest: &Digest) {
        let client = self.client();
        let path = format!("{repository}/blobs/{digest}");
        let deleted = self.request(&client, Method::DELETE, &path).send().await;
        deleted.unwrap().error_for_status().unwrap();
    }

    async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        manifest: &str,
    ) {
        let client = self.client();
        let path = format!("{repository}/manifests/{reference}");
        let put = self.request(&client, Method::PUT, &path);
        let put = put.header("content-type", media_type);
        let put = put.body(manifest.to_owned()).send().await.unwrap();
        put.error_for_status().unwrap();
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
            let any = format!("{}, {}", MediaType::OCI_MANIFEST, MediaType::OCI_INDEX);
            let head = head.header("accept", any);
            let head = head.send().await.unwrap();
            // Tags whose manifest was deleted stay in the list.
            if let Some(digest) = head.headers().get("docker-content-digest") {
                digests.insert(tag.to_owned(), digest.to_str().unwrap().to_owned());
            }
        }
        digests
    }
}
