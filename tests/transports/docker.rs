//! Archives of Docker: to them, from them, and what skopeo says of it.

use std::sync::Arc;

use axum::http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use transship::copy::{ImageCopy, ManifestName, TagPolicy, Target};
use transship::oci::{Content, Digest, MediaType, Reference};
use transship::reason::Reason;
use transship::transport::{DockerArchiveDestination, DockerArchiveSource, Source as _};

use super::images::{Image, archive, copy, copy_all, gzip, hex, repository, skopeo, tagged, tar};
use crate::support::registry::{Action, Endpoint, Registry, Rule};

pub(super) fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

async fn destination(path: &std::path::Path, repository: &str) -> Arc<DockerArchiveDestination> {
    let name = name(repository);
    let repository = (name.registry().clone(), name.repository().clone());
    Arc::new(
        DockerArchiveDestination::create(path, Some(repository))
            .await
            .unwrap(),
    )
}

pub(super) fn digests(manifest: &Value) -> Vec<&str> {
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| layer["digest"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_written_is_what_skopeo_reads() {
    let registry = Registry::start().await;
    let image = Image::with_files(&["one", "two", "one"]);
    let digest = image.seed(&registry, "team/app", "v1");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.tar");
    let place = destination(&path, "corp.example/app").await;
    let copied = copy(
        repository(&registry, "team/app"),
        tagged("v1"),
        place,
        Some("v2"),
    )
    .await
    .unwrap();
    assert_eq!(copied.digest, digest);

    for reference in ["", ":corp.example/app:v2"] {
        let place = archive(&path, reference);
        let manifest: Value =
            serde_json::from_slice(&skopeo(&["inspect", "--raw", &place])).unwrap();
        assert_eq!(manifest["config"]["digest"], image.id().as_str());
        assert_eq!(digests(&manifest), image.diff_ids());
        assert_eq!(
            skopeo(&["inspect", "--raw", "--config", &place]),
            image.config
        );
    }
    // skopeo unpacks and hashes every layer on the way.
    let dir = format!("dir:{}", directory.path().join("dir").display());
    skopeo(&["copy", &archive(&path, ""), &dir]);
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

// The registry answers while this thread waits for skopeo.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_skopeo_writes_is_read() {
    let registry = Registry::start().await;
    let image = Image::with_files(&["one", "two"]);
    image.seed(&registry, "team/app", "v1");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.tar");
    let from = format!("docker://{}/team/app:v1", registry.host());
    let to = archive(&path, ":corp.example/app:v2");
    skopeo(&["copy", "--src-tls-verify=false", &from, &to]);

    let source = DockerArchiveSource::open(&path, Some(&name("corp.example/app:v2")))
        .await
        .unwrap();
    let tags = source.tags(10).await.unwrap().unwrap();
    assert_eq!(
        tags.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["v2"]
    );
    let digest = source.image().clone();
    let copied = copy(
        Arc::new(source),
        tagged("v2"),
        repository(&registry, "copy"),
        Some("v3"),
    )
    .await;
    assert_eq!(copied.unwrap().digest, digest);
    let stored = registry.manifest("copy", "v3").unwrap();
    let manifest: Value = serde_json::from_slice(&stored.bytes).unwrap();
    assert_eq!(stored.media_type, MediaType::DOCKER_MANIFEST);
    assert_eq!(manifest["config"]["digest"], image.id().as_str());
    assert_eq!(digests(&manifest), image.diff_ids());
    registry.assert_never_incomplete();
}

#[tokio::test]
async fn a_layer_that_is_a_link_to_another_is_read() {
    let registry = Registry::start().await;
    let image = Image::with_files(&["one", "two"]);
    let twice = Image {
        layers: vec![image.layers[0].clone(), image.layers[0].clone()],
        config: json!({"rootfs": {"diff_ids": [image.diff_ids()[0], image.diff_ids()[0]]}})
            .to_string()
            .into_bytes(),
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.tar");
    std::fs::write(&path, twice.saved("app:1")).unwrap();
    let source = DockerArchiveSource::open(&path, None).await.unwrap();
    let digest = source.image().clone();
    copy(
        Arc::new(source),
        ManifestName::Digest(digest.clone()),
        repository(&registry, "copy"),
        None,
    )
    .await
    .unwrap();
    let stored = registry.manifest("copy", digest.as_str()).unwrap();
    let manifest: Value = serde_json::from_slice(&stored.bytes).unwrap();
    assert_eq!(digests(&manifest), twice.diff_ids());
}

/// An archive as Docker 25 writes it; `complete` says whether it has all images of the index.
fn saved_with_layout(image: &Image, complete: bool) -> (Vec<u8>, Digest, Digest) {
    let mut files = Vec::new();
    let mut put = |content: &[u8]| {
        let digest = Digest::sha256(content);
        files.push((format!("blobs/sha256/{}", hex(&digest)), content.to_vec()));
        digest
    };
    put(&image.config);
    let manifest = image
        .manifest(MediaType::OCI_LAYER_GZIP, |layer| {
            let packed = gzip(layer);
            (put(&packed), packed.len())
        })
        .to_string();
    let own = put(manifest.as_bytes());
    let mut entries = vec![json!({
        "mediaType": MediaType::OCI_MANIFEST, "digest": own, "size": manifest.len(),
        "platform": {"os": "linux", "architecture": "amd64"},
    })];
    if !complete {
        entries.push(json!({
            "mediaType": MediaType::OCI_MANIFEST, "digest": Digest::sha256(b"not pulled"), "size": 10,
            "platform": {"os": "linux", "architecture": "arm64"},
        }));
    }
    let index =
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries});
    let index = index.to_string();
    let root = put(index.as_bytes());
    let layout = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": MediaType::OCI_INDEX, "digest": root, "size": index.len(),
        "annotations": {"io.containerd.image.name": "docker.io/library/app:1"},
    }]});
    let blob = |digest: &Digest| format!("blobs/sha256/{}", hex(digest));
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|layer| blob(&Digest::sha256(&gzip(layer))))
        .collect();
    let table = json!([{"Config": blob(&image.id()), "RepoTags": ["app:1"], "Layers": layers}]);
    files.push(("index.json".to_owned(), layout.to_string().into_bytes()));
    files.push(("manifest.json".to_owned(), table.to_string().into_bytes()));
    let files: Vec<_> = files
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_slice()))
        .collect();
    (tar(&files), root, own)
}

#[rstest]
#[case::whole_index(true)]
#[case::one_of_several_platforms(false)]
#[tokio::test]
async fn an_image_that_was_saved_with_its_manifest_keeps_its_digest(#[case] complete: bool) {
    let registry = Registry::start().await;
    let image = Image::with_files(&["one", "two"]);
    let (content, root, own) = saved_with_layout(&image, complete);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.tar");
    std::fs::write(&path, content).unwrap();
    let source = DockerArchiveSource::open(&path, Some(&name("app:1")))
        .await
        .unwrap();
    let expected = if complete { root } else { own };
    assert_eq!(*source.image(), expected);
    let copied = copy(
        Arc::new(source),
        tagged("1"),
        repository(&registry, "copy"),
        Some("1"),
    )
    .await;
    assert_eq!(copied.unwrap().digest, expected);
    registry.assert_never_incomplete();
}

#[tokio::test]
async fn several_images_are_in_one_archive() {
    let registry = Registry::start().await;
    let images = [
        Image::with_files(&["base", "one"]),
        Image::with_files(&["base", "two"]),
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.tar");
    let place = destination(&path, "app").await;
    let mut tasks = Vec::new();
    for (image, tag) in images.iter().zip(["v1", "v2"]) {
        image.seed(&registry, "team/app", tag);
        tasks.push(ImageCopy {
            source: repository(&registry, "team/app"),
            image: tagged(tag),
            targets: vec![Target {
                place: place.clone(),
                tag: Some(tag.parse().unwrap()),
                existing: TagPolicy::default(),
            }],
        });
    }
    for outcome in copy_all(&tasks).await {
        outcome.unwrap();
    }
    let error = DockerArchiveSource::open(&path, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("name one of them: docker.io/library/app:v1, docker.io/library/app:v2"),
        "{error}"
    );
    for (image, tag) in images.iter().zip(["v1", "v2"]) {
        let place = archive(&path, &format!(":docker.io/library/app:{tag}"));
        assert_eq!(
            skopeo(&["inspect", "--raw", "--config", &place]),
            image.config
        );
        let source = DockerArchiveSource::open(&path, Some(&name(&format!("app:{tag}"))))
            .await
            .unwrap();
        assert_eq!(source.tags(10).await.unwrap().unwrap().len(), 2);
        let manifest = source.manifest(tagged(tag).as_reference()).await.unwrap();
        assert_eq!(manifest.digest(), source.image());
        let Content::Image { config, layers, .. } = manifest.content().unwrap() else {
            panic!("no image")
        };
        assert_eq!(config.digest, image.id());
        assert_eq!(layers.len(), 2);
    }
    // The layer that both have is there once.
    let mut content = tar::Archive::new(std::fs::File::open(&path).unwrap());
    assert_eq!(content.entries().unwrap().count(), 2 + 3 + 1);
    let missing = DockerArchiveSource::open(&path, Some(&name("app:v3")))
        .await
        .unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("has no image docker.io/library/app:v3, but"),
        "{missing}"
    );
}

#[rstest]
#[case::zstd(
    MediaType::OCI_CONFIG,
    MediaType::OCI_LAYER_ZSTD,
    "convert the layers to gzip"
)]
#[case::artifact(
    "application/vnd.example.config",
    "application/vnd.example",
    "oci-archive:"
)]
#[tokio::test]
async fn what_an_archive_cannot_hold_is_refused(
    #[case] config: &str,
    #[case] layer: &str,
    #[case] remedy: &str,
) {
    let registry = Registry::start().await;
    let image = Image::with_files(&["one"]);
    registry.seed_blob("app", &image.config);
    let mut manifest = image.manifest(layer, |layer| {
        (registry.seed_blob("app", layer), layer.len())
    });
    manifest["config"]["mediaType"] = config.into();
    registry.seed_manifest("app", Some("v1"), &manifest);
    refused(&registry, remedy).await;
}

#[tokio::test]
async fn an_index_of_several_platforms_is_refused() {
    let registry = Registry::start().await;
    let entries: Vec<_> = ["amd64", "arm64"]
        .iter()
        .map(|architecture| {
            let digest = Image::with_files(&[architecture]).seed(&registry, "app", architecture);
            let size = registry
                .manifest("app", digest.as_str())
                .unwrap()
                .bytes
                .len();
            json!({
                "mediaType": MediaType::OCI_MANIFEST, "digest": digest, "size": size,
                "platform": {"os": "linux", "architecture": architecture},
            })
        })
        .collect();
    let index =
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries});
    registry.seed_manifest("app", Some("v1"), &index);
    refused(&registry, "--platform").await;
}

/// Copies `app:v1` into an archive, which must fail and leave nothing behind.
async fn refused(registry: &Registry, remedy: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.tar");
    let place = destination(&path, "app").await;
    let failure = copy(
        repository(registry, "app"),
        tagged("v1"),
        place.clone(),
        Some("v1"),
    )
    .await
    .unwrap_err();
    assert_eq!(failure.reason, Reason::DestinationUnsupported, "{failure}");
    assert!(failure.message.contains(remedy), "{failure}");
    drop(place);
    // It is known by the manifest, before any content is read.
    assert_eq!(registry.count(&Method::GET, Endpoint::Blob), 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_image_without_a_name_is_written_and_read() {
    let registry = Registry::start().await;
    let image = Image::with_files(&["one"]);
    let digest = image.seed(&registry, "app", "v1");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.tar");
    let create = || DockerArchiveDestination::create(&path, None);
    let tagging = copy(
        repository(&registry, "app"),
        tagged("v1"),
        Arc::new(create().await.unwrap()),
        Some("v1"),
    );
    let failure = tagging.await.unwrap_err();
    assert!(failure.message.contains("name the repository"), "{failure}");
    let place = Arc::new(create().await.unwrap());
    copy(
        repository(&registry, "app"),
        ManifestName::Digest(digest),
        place,
        None,
    )
    .await
    .unwrap();
    assert_eq!(
        skopeo(&["inspect", "--raw", "--config", &archive(&path, "")]),
        image.config
    );
    let source = DockerArchiveSource::open(&path, None).await.unwrap();
    assert!(source.tags(10).await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_is_there_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.tar");
    std::fs::write(&path, "mine").unwrap();
    let error = DockerArchiveDestination::create(&path, None)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("there is something already"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[tokio::test]
async fn a_layer_that_arrived_damaged_leaves_no_trace() {
    let registry = Registry::start().await;
    let image = Image::with_files(&[&"x".repeat(100_000)]);
    image.seed(&registry, "app", "v1");
    let directory = tempfile::tempdir().unwrap();
    let paths = ["damaged.tar", "whole.tar"].map(|name| directory.path().join(name));
    for (path, faults) in paths.iter().zip([2, 0]) {
        registry.add(Rule::on(Endpoint::Blob, Action::FlipBit(100)).times(faults));
        let place = destination(path, "app").await;
        copy(
            repository(&registry, "app"),
            tagged("v1"),
            place,
            Some("v1"),
        )
        .await
        .unwrap();
        registry.clear_rules();
    }
    let [damaged, whole] = paths.map(|path| std::fs::read(path).unwrap());
    // The order of the entries is that of the arrival.
    assert_eq!(damaged.len(), whole.len());
}
