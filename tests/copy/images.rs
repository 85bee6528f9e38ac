//! What a run leaves at the destination, and what it costs.

use bytes::Bytes;
use rstest::rstest;
use transship::copy::{
    AccessCatalog, AccessReference, Clients, Plan, PlannedDestination, PlannedImage,
    PlannedOptions, Report, TagPolicy, execute,
};
use transship::oci::{Descriptor, Digest, Manifest, MediaType, Repository, Tag};
use transship::reason::Reason;
use transship::registry::{Client, ManifestReference};

use crate::support::docker_registry::{DockerRegistry, Settings};
use crate::support::{
    blob, client, image, install_tls_provider, plain, pull_blob, push_blob, repository,
};

/// A source and a destination registry.
struct Registries {
    source: DockerRegistry,
    destination: DockerRegistry,
}

impl Registries {
    fn start() -> Self {
        Self {
            source: DockerRegistry::plain(),
            destination: DockerRegistry::plain(),
        }
    }

    fn source(&self) -> Client {
        client(self.source.host(), &plain())
    }

    fn destination(&self) -> Client {
        client(self.destination.host(), &plain())
    }

    /// Copies `digest` of `from` in the source to `to` in the destination.
    fn planned(&self, from: &str, digest: &Digest, to: &[&str]) -> PlannedImage {
        let access = AccessReference {
            insecure: true,
            ..AccessReference::default()
        };
        PlannedImage {
            source: format!("{}/{from}", self.source.host()).parse().unwrap(),
            access: access.clone(),
            digest: digest.clone(),
            destinations: to
                .iter()
                .map(|to| PlannedDestination {
                    reference: format!("{}/{to}", self.destination.host()).parse().unwrap(),
                    access: access.clone(),
                    existing: TagPolicy::default(),
                })
                .collect(),
        }
    }
}

async fn run(images: Vec<PlannedImage>) -> Report {
    install_tls_provider();
    let plan = Plan {
        version: Plan::VERSION,
        options: PlannedOptions::default(),
        shards: 1,
        images,
    };
    execute(&plan, &Clients::new(AccessCatalog::default()), None).await
}

/// An image with its own config and the given layers.
async fn push_image(
    client: &Client,
    repository: &Repository,
    name: &str,
    layers: &[&str],
) -> Manifest {
    let config = push_blob(
        client,
        repository,
        format!("{{\"name\":\"{name}\"}}").as_bytes(),
    )
    .await
    .unwrap();
    let mut descriptors = Vec::new();
    for layer in layers {
        descriptors.push(
            push_blob(client, repository, layer.as_bytes())
                .await
                .unwrap(),
        );
    }
    let manifest = image_of(&config, &descriptors);
    client
        .put_manifest(repository, &manifest, None)
        .await
        .unwrap();
    manifest
}

fn image_of(config: &Descriptor, layers: &[Descriptor]) -> Manifest {
    let document = serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers});
    Manifest::new(
        Bytes::from(document.to_string()),
        MediaType::new(MediaType::OCI_MANIFEST),
    )
}

/// An index of the given images under `tag`.
async fn push_index(
    client: &Client,
    repository: &Repository,
    tag: &str,
    images: &[&Manifest],
) -> Manifest {
    let manifests: Vec<_> = images.iter().map(|image| entry(image)).collect();
    push_entries(client, repository, tag, &manifests).await
}

fn entry(image: &Manifest) -> Descriptor {
    Descriptor::new(
        image.media_type().clone(),
        image.digest().clone(),
        image.bytes().len() as u64,
    )
}

async fn push_entries(
    client: &Client,
    repository: &Repository,
    tag: &str,
    manifests: &[Descriptor],
) -> Manifest {
    // Spaces, so that writing the document anew would change its digest.
    let document = format!(
        "{{ \"schemaVersion\": 2,  \"manifests\": {} }}",
        serde_json::to_string(manifests).unwrap()
    );
    let index = Manifest::new(Bytes::from(document), MediaType::new(MediaType::OCI_INDEX));
    client
        .put_manifest(repository, &index, Some(&tag.parse().unwrap()))
        .await
        .unwrap();
    index
}

async fn read(client: &Client, name: &str, tag: &str) -> Option<Manifest> {
    let (repository, tag): (Repository, Tag) = (repository(name), tag.parse().unwrap());
    let reference = ManifestReference::Tag(&tag);
    client
        .head_manifest(&repository, reference)
        .await
        .unwrap()?;
    Some(client.get_manifest(&repository, reference).await.unwrap())
}

#[tokio::test]
async fn case_67_an_index_arrives_byte_for_byte_with_all_platforms_and_shared_layers_move_once() {
    let registries = Registries::start();
    let (source, app) = (registries.source(), repository("team/app"));
    let one = push_image(&source, &app, "one", &["shared layer", "layer of one"]).await;
    let two = push_image(
        &source,
        &app,
        "two",
        &["shared layer", "layer of two", "layer of two"],
    )
    .await;
    let index = push_index(&source, &app, "v1", &[&one, &two]).await;

    let report = run(vec![registries.planned(
        "team/app:v1",
        index.digest(),
        &["m/app:v1"],
    )])
    .await;

    assert_eq!(report.failures, []);
    assert_eq!((report.images_copied, report.blobs_copied), (1, 5));
    let destination = registries.destination();
    let arrived = read(&destination, "m/app", "v1").await.unwrap();
    assert_eq!(arrived, index);
    for image in [&one, &two] {
        let reference = ManifestReference::Digest(image.digest());
        let arrived = destination
            .get_manifest(&repository("m/app"), reference)
            .await
            .unwrap();
        assert_eq!(arrived.bytes(), image.bytes());
    }
    for layer in ["shared layer", "layer of one", "layer of two"] {
        let content = pull_blob(&destination, &repository("m/app"), &blob(layer.as_bytes()))
            .await
            .unwrap();
        assert_eq!(content, layer.as_bytes());
    }

    let again = run(vec![registries.planned(
        "team/app:v1",
        index.digest(),
        &["m/app:v1"],
    )])
    .await;
    assert_eq!(
        (again.images_copied, again.blobs_copied, again.bytes),
        (1, 0, 0)
    );
}

#[tokio::test]
async fn what_one_repository_of_the_destination_holds_is_mounted_into_the_next() {
    let registries = Registries::start();
    let (source, app) = (registries.source(), repository("team/app"));
    let image = push_image(&source, &app, "one", &["layer"]).await;

    let destinations = ["a/app:v1", "b/app:v1", "c/app:v1"];
    let report = run(vec![registries.planned(
        "team/app:v1",
        image.digest(),
        &destinations,
    )])
    .await;

    assert_eq!(report.failures, []);
    assert_eq!(
        (
            report.images_copied,
            report.blobs_copied,
            report.blobs_mounted
        ),
        (3, 2, 4)
    );
    for name in ["a/app", "b/app", "c/app"] {
        assert_eq!(
            read(&registries.destination(), name, "v1").await.unwrap(),
            image
        );
    }
}

#[tokio::test]
async fn case_49_a_plan_is_carried_out_by_digest_whatever_the_tag_says_now() {
    let registries = Registries::start();
    let (source, app) = (registries.source(), repository("team/app"));
    let planned = push_image(&source, &app, "planned", &["layer"]).await;
    let moved = push_image(&source, &app, "moved", &["layer"]).await;
    source
        .put_manifest(&app, &moved, Some(&"v1".parse().unwrap()))
        .await
        .unwrap();

    run(vec![registries.planned(
        "team/app:v1",
        planned.digest(),
        &["m/app:v1"],
    )])
    .await;

    assert_eq!(
        read(&registries.destination(), "m/app", "v1")
            .await
            .unwrap(),
        planned
    );
}

#[tokio::test]
async fn an_image_without_a_tag_is_stored_by_digest() {
    let registries = Registries::start();
    let (source, app) = (registries.source(), repository("team/app"));
    let image = push_image(&source, &app, "one", &["layer"]).await;
    let by_digest = |name: &str| format!("{name}@{}", image.digest());

    let to = by_digest("m/app");
    let report = run(vec![registries.planned(
        &by_digest("team/app"),
        image.digest(),
        &[&to],
    )])
    .await;

    assert_eq!(report.failures, []);
    let reference = ManifestReference::Digest(image.digest());
    let arrived = registries
        .destination()
        .get_manifest(&repository("m/app"), reference)
        .await
        .unwrap();
    assert_eq!(arrived, image);
}

#[tokio::test]
async fn content_that_is_not_what_its_digest_says_never_gets_a_tag_and_does_not_stop_the_rest() {
    let registries = Registries::start();
    let (source, app) = (registries.source(), repository("team/app"));
    let bad = push_image(&source, &app, "bad", &["good layer", "layer that rots"]).await;
    let good = push_image(&source, &app, "good", &["good layer"]).await;
    registries
        .source
        .corrupt(&Digest::sha256(b"layer that rots"));

    let report = run(vec![
        registries.planned("team/app:bad", bad.digest(), &["m/bad:v1"]),
        registries.planned("team/app:good", good.digest(), &["m/good:v1"]),
    ])
    .await;

    assert_eq!(report.images_copied, 1);
    let [failure] = &report.failures[..] else {
        panic!("one failure: {report:?}")
    };
    assert_eq!(failure.reason, Reason::RegistryError);
    assert!(failure.message.contains("hashes to"), "{}", failure.message);
    assert_eq!(read(&registries.destination(), "m/bad", "v1").await, None);
    assert_eq!(
        read(&registries.destination(), "m/good", "v1")
            .await
            .unwrap(),
        good
    );
}

#[tokio::test]
async fn a_blob_that_the_source_has_lost_fails_only_its_image() {
    let registries = Registries::start();
    let (source, app) = (registries.source(), repository("team/app"));
    let image = push_image(&source, &app, "one", &["layer that is lost"]).await;
    registries
        .source
        .lose(&Digest::sha256(b"layer that is lost"));

    let report = run(vec![registries.planned(
        "team/app:v1",
        image.digest(),
        &["m/app:v1"],
    )])
    .await;

    assert_eq!(report.failures[0].reason, Reason::SourceNotFound);
    assert_eq!(read(&registries.destination(), "m/app", "v1").await, None);
}

#[tokio::test]
async fn a_destination_that_takes_no_pushes_is_named_as_such() {
    let registries = Registries {
        source: DockerRegistry::plain(),
        destination: DockerRegistry::start(&Settings {
            read_only: true,
            ..Settings::default()
        }),
    };
    let (source, app) = (registries.source(), repository("team/app"));
    let image = push_image(&source, &app, "one", &["layer"]).await;

    let report = run(vec![registries.planned(
        "team/app:v1",
        image.digest(),
        &["m/app:v1"],
    )])
    .await;

    assert_eq!(report.failures[0].reason, Reason::PushDenied);
    assert!(
        report.failures[0].message.contains("takes no pushes"),
        "{}",
        report.failures[0].message
    );
}

#[tokio::test]
async fn a_document_that_is_no_image_is_refused_with_the_source_as_the_cause() {
    let registries = Registries::start();
    let (source, app) = (registries.source(), repository("team/app"));
    let config = push_blob(&source, &app, b"{}").await.unwrap();
    let layer = push_blob(&source, &app, b"layer").await.unwrap();
    let valid = image(&config, &layer);
    source.put_manifest(&app, &valid, None).await.unwrap();
    registries
        .source
        .overwrite(valid.digest(), b"not a manifest at all");

    let report = run(vec![registries.planned(
        "team/app:v1",
        valid.digest(),
        &["m/app:v1"],
    )])
    .await;

    assert!(
        matches!(
            report.failures[0].reason,
            Reason::RegistryError | Reason::RegistryUnreachable
        ),
        "{report:?}"
    );
    assert_eq!(read(&registries.destination(), "m/app", "v1").await, None);
}

#[rstest]
#[case::size(|entry: &mut Descriptor| entry.size += 1)]
#[case::media_type(|entry: &mut Descriptor| entry.media_type = MediaType::new(MediaType::DOCKER_MANIFEST))]
#[tokio::test]
async fn an_index_that_says_something_else_of_a_manifest_than_it_is_is_refused(
    #[case] falsify: fn(&mut Descriptor),
) {
    let registries = Registries::start();
    let (source, app) = (registries.source(), repository("team/app"));
    let image = push_image(&source, &app, "one", &["layer"]).await;
    let mut falsified = entry(&image);
    falsify(&mut falsified);
    let index = push_entries(&source, &app, "v1", &[falsified]).await;

    let report = run(vec![registries.planned(
        "team/app:v1",
        index.digest(),
        &["m/app:v1"],
    )])
    .await;

    assert_eq!(report.failures[0].reason, Reason::SourceInvalid);
    assert_eq!(read(&registries.destination(), "m/app", "v1").await, None);
}
