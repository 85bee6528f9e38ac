//! A source with images and their signatures, a destination, and the engine between them.

use std::sync::Arc;

use serde_json::{Value, json};
use transship::copy::{
    Copied, Counters, Failure, ImageCopy, ManifestName, Options, SignatureCheck, TagPolicy, Target,
    Unobserved, copy_images,
};
use transship::oci::Digest;
use transship::transport::RegistryRepository;
use transship::verify::{COSIGN_SIGNATURE, Policy, Rules, SIGSTORE_BUNDLE, SIMPLE_SIGNING, Trust};

use super::signer::Made;
use crate::support::registry::Registry;
use crate::support::{client, install_tls_provider, plain, repository};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(super) struct Scene {
    pub(super) source: Registry,
    pub(super) destination: Registry,
}

impl Scene {
    pub(super) async fn start() -> Self {
        install_tls_provider();
        Self {
            source: Registry::start().await,
            destination: Registry::start().await,
        }
    }

    /// An image under the tag `v1` of `app`.
    pub(super) fn seed_image(&self) -> Digest {
        self.source.seed_image("app", Some("v1"), &[b"a layer"])
    }

    /// An index of one image under the tag `v1` of `app`; the index and the image.
    pub(super) fn seed_index(&self) -> (Digest, Digest) {
        let image = self.source.seed_image("app", None, &[b"a layer"]);
        let size = size(&self.source, "app", &image);
        let platform = json!({"os": "linux", "architecture": "amd64"});
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {"mediaType": MANIFEST, "digest": image, "size": size, "platform": platform},
            ],
        });
        (self.source.seed_manifest("app", Some("v1"), &index), image)
    }

    /// Keeps signatures of `image` under its tag.
    pub(super) fn sign_by_tag(&self, image: &Digest, signatures: &[Made]) {
        let layers = signatures.iter();
        let layers: Vec<_> = layers
            .map(|made| layer(&self.source, "app", made))
            .collect();
        let tag = format!("{}.sig", image.as_str().replace(':', "-"));
        let manifest = manifest(&self.source, "app", &layers);
        self.source.seed_manifest("app", Some(&tag), &manifest);
    }

    /// Keeps a signature of `image` as its referrer; the digest of the signature's layer.
    pub(super) fn sign_by_referrer(&self, image: &Digest, made: &Made) -> Digest {
        sign_by_referrer(&self.source, "app", image, made, &json!({}))
    }

    /// The same, with what cosign repeats of the statement in an annotation.
    pub(super) fn sign_by_annotated_referrer(&self, image: &Digest, made: &Made, predicate: &str) {
        let annotations = json!({"dev.sigstore.bundle.predicateType": predicate});
        sign_by_referrer(&self.source, "app", image, made, &annotations);
    }

    /// Copies `app:v1` to `m/app:v1` if `policies` allow it.
    pub(super) async fn copy(&self, policies: &[Policy], trust: &Trust) -> Result<Copied, Failure> {
        self.copy_named(ManifestName::Tag("v1".parse().unwrap()), policies, trust)
            .await
    }

    pub(super) async fn copy_named(
        &self,
        image: ManifestName,
        policies: &[Policy],
        trust: &Trust,
    ) -> Result<Copied, Failure> {
        let place = |registry: &Registry, name: &str| {
            let host = registry.host();
            Arc::new(RegistryRepository::new(
                client(host, &plain()),
                host.parse().unwrap(),
                repository(name),
            ))
        };
        let copy = ImageCopy {
            source: place(&self.source, "app"),
            image,
            targets: vec![Target {
                place: place(&self.destination, "m/app"),
                tag: Some("v1".parse().unwrap()),
                existing: TagPolicy::default(),
            }],
        };
        let options = Options {
            signatures: Some(Arc::new(SignatureCheck::new(
                Rules::new(policies, trust).unwrap(),
            ))),
            ..Options::default()
        };
        let counters = Arc::new(Counters::default());
        let mut outcomes = copy_images(&[copy], &options, counters, Arc::new(Unobserved)).await;
        outcomes.remove(0).remove(0)
    }

    /// Fails unless the destination is as empty as it was.
    pub(super) fn assert_nothing_written(&self) {
        assert_eq!(self.destination.writes(), 0);
        assert!(self.destination.manifest("m/app", "v1").is_none());
    }
}

/// Keeps a signature of `image` as its referrer, whose manifest has these annotations; the digest of the layer.
pub(crate) fn sign_by_referrer(
    registry: &Registry,
    repository: &str,
    image: &Digest,
    made: &Made,
    annotations: &Value,
) -> Digest {
    let layer = layer(registry, repository, made);
    let artifact_type = if made.bundle.is_null() {
        COSIGN_SIGNATURE
    } else {
        SIGSTORE_BUNDLE
    };
    let size = size(registry, repository, image);
    let mut manifest = manifest(registry, repository, std::slice::from_ref(&layer));
    let members = manifest.as_object_mut().unwrap();
    members.insert("artifactType".to_owned(), json!(artifact_type));
    members.insert("annotations".to_owned(), annotations.clone());
    members.insert(
        "subject".to_owned(),
        json!({"mediaType": MANIFEST, "digest": image, "size": size}),
    );
    registry.seed_manifest(repository, None, &manifest);
    let digest = layer.get("digest").and_then(Value::as_str).unwrap();
    digest.parse().unwrap()
}

fn size(registry: &Registry, repository: &str, manifest: &Digest) -> usize {
    let manifest = registry.manifest(repository, manifest.as_str()).unwrap();
    manifest.bytes.len()
}

/// What cosign pushes: a manifest with one layer for each signature.
fn manifest(registry: &Registry, repository: &str, layers: &[Value]) -> Value {
    let empty = "application/vnd.oci.empty.v1+json";
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(registry, repository, empty, b"{}"),
        "layers": layers,
    })
}

fn layer(registry: &Registry, repository: &str, made: &Made) -> Value {
    let media_type = if made.bundle.is_null() {
        SIMPLE_SIGNING
    } else {
        SIGSTORE_BUNDLE
    };
    let mut layer = descriptor(registry, repository, media_type, &made.content());
    let members = layer.as_object_mut().unwrap();
    members.insert("annotations".to_owned(), json!(made.annotations));
    layer
}

fn descriptor(registry: &Registry, repository: &str, media_type: &str, content: &[u8]) -> Value {
    let digest = registry.seed_blob(repository, content);
    json!({"mediaType": media_type, "digest": digest, "size": content.len()})
}
