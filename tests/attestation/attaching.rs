//! An attestation is listed beside its image, in any registry, and once however often it is attached.

use std::collections::BTreeMap;

use axum::http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use transship::attestation::{AttachError, Attestation, IN_TOTO, INVOCATION, SigningKey, attach};
use transship::oci::{Content, Descriptor, Digest, Manifest, MediaType};
use transship::registry::{Client, ErrorKind, ManifestReference};
use transship::verify::SIGSTORE_BUNDLE;

use super::{key, statement};
use crate::support::any_registry::{AnyRegistry, Kind};
use crate::support::registry::{Action, Dialect, Endpoint, Registry, Rule};
use crate::support::{client, image, plain, push_blob, repository};

const BUILD: &str = "5d3f/42/1";

/// An image in a registry.
struct Scene {
    client: Client,
    image: Manifest,
}

impl Scene {
    async fn start(host: &str) -> Self {
        let client = client(host, &plain());
        let app = repository("app");
        let config = push_blob(&client, &app, b"{\"os\": \"linux\"}")
            .await
            .unwrap();
        let layer = push_blob(&client, &app, b"a layer").await.unwrap();
        let image = image(&config, &layer);
        client.put_manifest(&app, &image, None).await.unwrap();
        Self { client, image }
    }

    /// What a controller does that knows nothing of another that did it before.
    async fn attach(&self, key: Option<&SigningKey>) -> Result<Digest, AttachError> {
        self.attach_as(BUILD, key).await
    }

    async fn attach_as(
        &self,
        build: &str,
        key: Option<&SigningKey>,
    ) -> Result<Digest, AttachError> {
        let digest = self.image.digest();
        let statement = statement(digest, build);
        attach(&self.client, &repository("app"), digest, &statement, key).await
    }

    /// The digests and types of what refers to the image.
    async fn referrers(&self) -> Vec<(Digest, String)> {
        let app = repository("app");
        let referrers = self.client.referrers(&app, self.image.digest(), None);
        let referrers = referrers.await.unwrap().into_iter();
        referrers
            .map(|referrer| {
                let kind = referrer.artifact_type.unwrap();
                (referrer.digest, kind.as_str().to_owned())
            })
            .collect()
    }

    /// The subject of an attestation, and its only layer.
    async fn read(&self, attestation: &Digest) -> (Digest, Vec<u8>) {
        let app = repository("app");
        let reference = ManifestReference::Digest(attestation);
        let manifest = self.client.get_manifest(&app, reference).await.unwrap();
        let Content::Image {
            layers, subject, ..
        } = manifest.content().unwrap()
        else {
            panic!("not an image manifest");
        };
        let content = self
            .client
            .get_blob_bytes(&app, layers.first().unwrap(), 1 << 20)
            .await;
        (subject.unwrap().digest, content.unwrap().to_vec())
    }
}

#[rstest]
#[case::unsigned(None, IN_TOTO)]
#[case::signed(Some(key().0), SIGSTORE_BUNDLE)]
#[tokio::test]
async fn it_is_listed_beside_its_image(
    #[values(Kind::Fake, Kind::DockerRegistry, Kind::Distribution, Kind::Ocimem)] kind: Kind,
    #[case] key: Option<SigningKey>,
    #[case] expected: &str,
) {
    let registry = AnyRegistry::start(kind).await;
    let scene = Scene::start(registry.host()).await;
    let attached = scene.attach(key.as_ref()).await.unwrap();
    let again = scene.attach(key.as_ref()).await.unwrap();
    assert_eq!(again, attached);
    assert_eq!(
        scene.referrers().await,
        [(attached.clone(), expected.to_owned())]
    );
    let (subject, content) = scene.read(&attached).await;
    assert_eq!(subject, *scene.image.digest());
    if key.is_none() {
        let statement = statement(scene.image.digest(), BUILD);
        assert_eq!(content, statement.document().as_ref());
    }
}

#[tokio::test]
async fn each_big_registry_takes_it() {
    for dialect in Dialect::ALL {
        let registry = Registry::builder().dialect(dialect).start().await;
        registry.create_repository("app");
        let scene = Scene::start(registry.host()).await;
        let (key, _) = key();
        let attached = scene.attach(Some(&key)).await.unwrap();
        assert_eq!(
            scene.attach(Some(&key)).await.unwrap(),
            attached,
            "{dialect:?}"
        );
        assert_eq!(scene.referrers().await.len(), 1, "{dialect:?}");
        registry.assert_never_incomplete();
    }
}

#[tokio::test]
async fn each_build_of_the_same_image_has_its_own() {
    let registry = Registry::start().await;
    let scene = Scene::start(registry.host()).await;
    let (key, _) = key();
    let first = scene.attach_as("5d3f/1/1", Some(&key)).await.unwrap();
    let second = scene.attach_as("5d3f/2/1", Some(&key)).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(scene.referrers().await.len(), 2);
}

#[tokio::test]
async fn what_another_key_signed_does_not_count() {
    let registry = Registry::start().await;
    let scene = Scene::start(registry.host()).await;
    let (ours, theirs) = (key().0, key().0);
    let forged = scene.attach(Some(&theirs)).await.unwrap();
    let attached = scene.attach(Some(&ours)).await.unwrap();
    assert_ne!(attached, forged);
    assert_eq!(scene.attach(Some(&ours)).await.unwrap(), attached);
}

/// What anybody leaves who may push: it says that it is ours, and is not.
#[tokio::test]
async fn what_only_says_that_it_is_ours_does_not_count() {
    let registry = Registry::start().await;
    let scene = Scene::start(registry.host()).await;
    let digest = scene.image.digest();
    let manifest = scene.image.bytes().len();
    let (key, _) = key();
    let other = statement(&Digest::sha256(b"another image"), BUILD);
    let subject = Descriptor::new(
        MediaType::new(MediaType::OCI_MANIFEST),
        digest.clone(),
        manifest as u64,
    );
    let of_another_image = Attestation::new(&other, &subject, Some(&key)).unwrap();
    for content in [
        of_another_image.content().to_vec(),
        b"{}".to_vec(),
        b"\xff".to_vec(),
        vec![b' '; 4 << 20],
    ] {
        let empty = registry.seed_blob("app", b"{}");
        let layer = registry.seed_blob("app", &content);
        let document = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "artifactType": SIGSTORE_BUNDLE,
            "config": {"mediaType": MediaType::OCI_EMPTY, "digest": empty, "size": 2},
            "layers": [{"mediaType": SIGSTORE_BUNDLE, "digest": layer, "size": content.len()}],
            "subject": {"mediaType": MediaType::OCI_MANIFEST, "digest": digest, "size": manifest},
            "annotations": BTreeMap::from([(INVOCATION, BUILD)]),
        });
        registry.seed_manifest("app", None, &document);
    }
    let attached = scene.attach(Some(&key)).await.unwrap();
    let (_, content) = scene.read(&attached).await;
    let bundle: Value = serde_json::from_slice(&content).unwrap();
    assert_eq!(bundle["mediaType"], SIGSTORE_BUNDLE);
    assert_eq!(scene.referrers().await.len(), 5);
}

#[tokio::test]
async fn a_registry_that_does_not_take_it_is_the_failure() {
    let registry = Registry::start().await;
    let scene = Scene::start(registry.host()).await;
    registry.add(Rule::on(Endpoint::Manifest, Action::status(403)).method(Method::PUT));
    let error = scene.attach(None).await.unwrap_err();
    let AttachError::Registry(error) = error else {
        panic!("{error}");
    };
    assert_eq!(error.kind(), ErrorKind::Denied);
    registry.clear_rules();
    scene.attach(None).await.unwrap();
    assert_eq!(scene.referrers().await.len(), 1);
}

/// The answer to the last request is lost, and the controller begins again.
#[tokio::test]
async fn a_lost_answer_leaves_one() {
    let registry = Registry::start().await;
    let scene = Scene::start(registry.host()).await;
    let (key, _) = key();
    registry.add(Rule::on(Endpoint::Manifest, Action::status(503)).method(Method::HEAD));
    let error = scene.attach(Some(&key)).await.unwrap_err();
    assert!(matches!(error, AttachError::Registry(_)), "{error}");
    registry.clear_rules();
    scene.attach(Some(&key)).await.unwrap();
    assert_eq!(scene.referrers().await.len(), 1);
}

#[tokio::test]
async fn a_registry_that_loses_it_is_noticed() {
    let registry = Registry::start().await;
    let scene = Scene::start(registry.host()).await;
    registry.add(Rule::on(Endpoint::Manifest, Action::status(404)).method(Method::HEAD));
    let error = scene.attach(None).await.unwrap_err();
    assert!(matches!(error, AttachError::NotKept(_)), "{error}");
}
