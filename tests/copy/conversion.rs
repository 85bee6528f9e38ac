//! Images that change their form on the way.

use std::io::{Read as _, Write as _};

use axum::http::Method;
use rstest::rstest;
use serde_json::{Value, json};
use transship::convert::{Compression, Conversion, Format};
use transship::copy::{Effect, Options, TagPolicy};
use transship::oci::Digest;
use transship::reason::Reason;

use super::scene::{Scene, Wish, wish};
use crate::support::registry::{Action, Endpoint, Registry, Rule};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

fn to(format: Format, compression: Option<Compression>) -> Options {
    Options {
        conversion: Conversion {
            format,
            compression,
            leave_out_unsupported: false,
        },
        ..Options::default()
    }
}

fn to_oci_zstd() -> Options {
    to(Format::Oci, Some(Compression::ZSTD))
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn unpack(layer: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    if layer.starts_with(&[0x1f, 0x8b]) {
        let mut decoder = flate2::read::GzDecoder::new(layer);
        decoder.read_to_end(&mut content).unwrap();
    } else {
        content = zstd::stream::decode_all(layer).unwrap();
    }
    content
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(content), "size": content.len()})
}

/// An image whose layers unpack to `contents`; its configuration says that they unpack to `diffs`.
fn seed(
    registry: &Registry,
    tag: Option<&str>,
    media_types: [&str; 3],
    contents: &[&[u8]],
    diffs: &[&[u8]],
) -> Digest {
    let compress = |content: &&[u8]| {
        if media_types[2] == OCI_ZSTD {
            zstd::stream::encode_all(*content, 7).unwrap()
        } else {
            gzip(content)
        }
    };
    let layers: Vec<_> = contents.iter().map(compress).collect();
    let diff_ids: Vec<_> = diffs
        .iter()
        .map(|content| Digest::sha256(content))
        .collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Healthcheck": {"Test": ["NONE"]}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    registry.seed_blob("app", &config);
    for layer in &layers {
        registry.seed_blob("app", layer);
    }
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor(media_types[2], layer))
        .collect();
    let image = json!({
        "schemaVersion": 2,
        "mediaType": media_types[0],
        "config": descriptor(media_types[1], &config),
        "layers": layers,
    });
    registry.seed_manifest("app", tag, &image)
}

const DOCKER: [&str; 3] = [DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER];
const OCI: [&str; 3] = [OCI_MANIFEST, OCI_CONFIG, OCI_ZSTD];

fn document(registry: &Registry, repository: &str, reference: &str) -> Value {
    let stored = registry.manifest(repository, reference).unwrap();
    serde_json::from_slice(&stored.bytes).unwrap()
}

/// What the layers of a stored image unpack to.
fn contents(registry: &Registry, repository: &str, image: &Value) -> Vec<Vec<u8>> {
    image["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| {
            let digest = layer["digest"].as_str().unwrap().parse().unwrap();
            unpack(&registry.blob(repository, &digest).unwrap())
        })
        .collect()
}

fn app() -> [Wish; 1] {
    [wish("app", "m/app", "v1")]
}

#[tokio::test]
async fn cases_83_and_84_a_docker_image_becomes_an_oci_image_with_zstd_once() {
    let scene = Scene::start().await;
    let large = vec![7; 3_000_000];
    let layers: [&[u8]; 2] = [b"the base", &large];
    let source = seed(&scene.source, Some("v1"), DOCKER, &layers, &layers);
    let (outcomes, counts) = scene.copy_with(&app(), to_oci_zstd()).await;

    let done = outcomes[0][0].as_ref().unwrap();
    assert_eq!(done.source, source);
    assert_eq!(counts.recompressed_bytes, 8 + 3_000_000);
    assert_eq!(counts.sent, 3);
    let stored = scene.destination.manifest("m/app", "v1").unwrap();
    assert_eq!(done.digest, Digest::sha256(&stored.bytes));
    assert_eq!(stored.media_type, OCI_MANIFEST);
    let image = document(&scene.destination, "m/app", "v1");
    let original = document(&scene.source, "app", "v1");
    assert_eq!(image["config"]["mediaType"], OCI_CONFIG);
    assert_eq!(image["config"]["digest"], original["config"]["digest"]);
    assert_eq!(image["layers"][1]["mediaType"], OCI_ZSTD);
    assert_eq!(contents(&scene.destination, "m/app", &image), layers);
    scene.destination.assert_never_incomplete();

    // The destination remembers: no layer is read again, none compressed.
    let reads = scene.source.count(&Method::GET, Endpoint::Blob);
    let (outcomes, counts) = scene.copy_with(&app(), to_oci_zstd()).await;
    assert_eq!(outcomes[0][0].as_ref().unwrap().effect, Effect::Unchanged);
    assert_eq!((counts.recompressed_bytes, counts.sent), (0, 0));
    let config_only = scene.source.count(&Method::GET, Endpoint::Blob) - reads;
    assert_eq!(config_only, 1);
}

/// What would be made of an image is not known before it is made. A tag that stays anyway is not worth it.
#[rstest]
#[case::keep(TagPolicy::Keep, None)]
#[case::fail(TagPolicy::Fail, Some(Reason::TagExists))]
#[tokio::test]
async fn nothing_is_compressed_for_a_tag_that_may_not_be_moved(
    #[case] existing: TagPolicy,
    #[case] expected: Option<Reason>,
) {
    let mut scene = Scene::start().await;
    let layers: [&[u8]; 1] = [b"the base"];
    seed(&scene.source, Some("v1"), DOCKER, &layers, &layers);
    let there = scene
        .destination
        .seed_image("m/app", Some("v1"), &[b"there"]);
    scene.existing = existing;
    let (outcomes, counts) = scene.copy_with(&app(), to_oci_zstd()).await;
    match &outcomes[0][0] {
        Ok(copied) => {
            assert_eq!((&copied.digest, copied.effect), (&there, Effect::Kept));
            assert_eq!(expected, None);
        }
        Err(failure) => assert_eq!(Some(failure.reason), expected, "{failure}"),
    }
    assert_eq!((counts.recompressed_bytes, counts.sent), (0, 0));
    assert_eq!(scene.destination.writes(), 0);
}

#[rstest]
#[case::keep(TagPolicy::Keep)]
#[case::fail(TagPolicy::Fail)]
#[tokio::test]
async fn a_tag_that_was_made_of_the_image_is_in_place_though_it_may_not_be_moved(
    #[case] existing: TagPolicy,
) {
    let mut scene = Scene::start().await;
    scene.existing = existing;
    let layers: [&[u8]; 1] = [b"the base"];
    seed(&scene.source, Some("v1"), DOCKER, &layers, &layers);
    let (first, _) = scene.copy_with(&app(), to_oci_zstd()).await;
    let (second, counts) = scene.copy_with(&app(), to_oci_zstd()).await;
    let (first, second) = (
        first[0][0].as_ref().unwrap(),
        second[0][0].as_ref().unwrap(),
    );
    assert_eq!(
        (first.effect, second.effect),
        (Effect::Written, Effect::Unchanged)
    );
    assert_eq!(first.digest, second.digest);
    assert_eq!(counts.recompressed_bytes, 0);
}

#[tokio::test]
async fn another_level_is_another_image() {
    let scene = Scene::start().await;
    let layers: [&[u8]; 1] = [b"the base"];
    seed(&scene.source, Some("v1"), DOCKER, &layers, &layers);
    let first = scene.copy_with(&app(), to_oci_zstd()).await;
    let harder = to(Format::Oci, Some("zstd:19".parse().unwrap()));
    let (outcomes, counts) = scene.copy_with(&app(), harder).await;
    let done = outcomes[0][0].as_ref().unwrap();
    assert_eq!(done.effect, Effect::Written);
    assert_ne!(done.digest, first.0[0][0].as_ref().unwrap().digest);
    assert_eq!(counts.recompressed_bytes, 8);
}

#[tokio::test]
async fn a_layer_of_several_images_is_compressed_once_and_the_same_everywhere() {
    let scene = Scene::start().await;
    let base = vec![1; 100_000];
    let base: &[u8] = &base;
    for (tag, own) in [("v1", &b"one"[..]), ("v2", b"two"), ("v3", b"three")] {
        seed(&scene.source, Some(tag), DOCKER, &[base, own], &[base, own]);
    }
    let wishes = ["v1", "v2", "v3"].map(|tag| wish("app", "m/app", tag));
    let (outcomes, counts) = scene.copy_with(&wishes, to_oci_zstd()).await;
    assert!(
        outcomes.iter().all(|image| image[0].is_ok()),
        "{outcomes:?}"
    );
    assert_eq!(counts.recompressed_bytes, 100_000 + 3 + 3 + 5);
    assert_eq!(scene.destination.duplicate_uploads(), []);

    // Another destination gets the same digests.
    let elsewhere = ["v1", "v2", "v3"].map(|tag| wish("app", "other/app", tag));
    let (again, _) = scene.copy_with(&elsewhere, to_oci_zstd()).await;
    for (first, second) in outcomes.iter().zip(&again) {
        assert_eq!(
            first[0].as_ref().unwrap().digest,
            second[0].as_ref().unwrap().digest
        );
    }
}

#[tokio::test]
async fn an_image_becomes_a_docker_image_again_and_is_remembered_there_too() {
    let scene = Scene::start().await;
    let layers: [&[u8]; 2] = [b"the base", b"the rest"];
    seed(&scene.source, Some("v1"), OCI, &layers, &layers);
    let plain = to(Format::Docker, None);
    let (outcomes, _) = scene.copy_with(&app(), plain).await;
    let failure = outcomes[0][0].as_ref().unwrap_err();
    assert_eq!(failure.reason, Reason::ConversionUnsupported, "{failure}");
    assert!(failure.message.contains("gzip"), "{failure}");
    assert!(scene.destination.manifest("m/app", "v1").is_none());

    let options = to(Format::Docker, Some(Compression::GZIP));
    let (outcomes, counts) = scene.copy_with(&app(), options.clone()).await;
    assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
    assert_eq!(counts.recompressed_bytes, 16);
    let image = document(&scene.destination, "m/app", "v1");
    assert_eq!(image["mediaType"], DOCKER_MANIFEST);
    assert_eq!(image["layers"][0]["mediaType"], DOCKER_LAYER);
    assert_eq!(contents(&scene.destination, "m/app", &image), layers);
    let (outcomes, counts) = scene.copy_with(&app(), options).await;
    assert_eq!(outcomes[0][0].as_ref().unwrap().effect, Effect::Unchanged);
    assert_eq!((counts.recompressed_bytes, counts.sent), (0, 0));
}

#[tokio::test]
async fn an_index_is_converted_with_all_its_images() {
    let scene = Scene::start().await;
    let entries: Vec<_> = [("amd64", &b"one"[..]), ("arm64", b"two")]
        .into_iter()
        .map(|(architecture, layer)| {
            let digest = seed(&scene.source, None, DOCKER, &[layer], &[layer]);
            let stored = scene.source.manifest("app", digest.as_str()).unwrap();
            json!({
                "mediaType": DOCKER_MANIFEST, "digest": digest, "size": stored.bytes.len(),
                "platform": {"os": "linux", "architecture": architecture},
            })
        })
        .collect();
    let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries});
    scene.source.seed_manifest("app", Some("v1"), &list);
    let (outcomes, counts) = scene.copy_with(&app(), to_oci_zstd()).await;
    assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
    assert_eq!(counts.recompressed_bytes, 6);
    let index = document(&scene.destination, "m/app", "v1");
    assert_eq!(index["mediaType"], OCI_INDEX);
    for (entry, (architecture, layer)) in index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .zip([("amd64", b"one"), ("arm64", b"two")])
    {
        assert_eq!(entry["platform"]["architecture"], architecture);
        let digest = entry["digest"].as_str().unwrap();
        let image = document(&scene.destination, "m/app", digest);
        assert_eq!(contents(&scene.destination, "m/app", &image), [layer]);
    }
    let (outcomes, counts) = scene.copy_with(&app(), to_oci_zstd()).await;
    assert_eq!(outcomes[0][0].as_ref().unwrap().effect, Effect::Unchanged);
    assert_eq!(counts.recompressed_bytes, 0);
}

#[rstest]
#[case::another_content(&["one"], &["two"], "unpacks to")]
#[case::another_number(&["one"], &["one", "two"], "configuration names 2")]
#[tokio::test]
async fn an_image_that_contradicts_itself_is_refused(
    #[case] layers: &[&'static str],
    #[case] diffs: &[&'static str],
    #[case] expected: &str,
) {
    let scene = Scene::start().await;
    let bytes =
        |texts: &[&'static str]| texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>();
    seed(
        &scene.source,
        Some("v1"),
        DOCKER,
        &bytes(layers),
        &bytes(diffs),
    );
    let (outcomes, _) = scene.copy_with(&app(), to_oci_zstd()).await;
    let failure = outcomes[0][0].as_ref().unwrap_err();
    assert_eq!(failure.reason, Reason::SourceInvalid);
    assert!(failure.message.contains(expected), "{failure}");
    assert!(scene.destination.manifest("m/app", "v1").is_none());
}

#[tokio::test]
async fn a_source_that_is_cut_in_a_layer_is_read_to_its_end() {
    let scene = Scene::start().await;
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(2_000_000)
    .collect();
    let layers: [&[u8]; 1] = [&noise];
    seed(&scene.source, Some("v1"), DOCKER, &layers, &layers);
    let cut = Rule::on(Endpoint::Blob, Action::CutResponse(700_000));
    scene.source.add(cut.method(Method::GET).times(2));
    let (outcomes, _) = scene.copy_with(&app(), to_oci_zstd()).await;
    assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
    let image = document(&scene.destination, "m/app", "v1");
    assert_eq!(contents(&scene.destination, "m/app", &image), layers);
}

#[tokio::test]
async fn a_destination_that_lost_a_converted_layer_gets_it_again() {
    let scene = Scene::start().await;
    let layers: [&[u8]; 1] = [b"the base"];
    seed(&scene.source, Some("v1"), DOCKER, &layers, &layers);
    let (outcomes, _) = scene.copy_with(&app(), to_oci_zstd()).await;
    let digest = outcomes[0][0].as_ref().unwrap().digest.clone();
    let image = document(&scene.destination, "m/app", "v1");
    let layer = image["layers"][0]["digest"].as_str().unwrap();
    scene
        .destination
        .lose_blob("m/app", &layer.parse().unwrap());
    // The old image goes to another tag: what is remembered is gone.
    let v2 = [Wish {
        from: ("app", "v1".to_owned()),
        to: ("m/app", "v2".to_owned()),
    }];
    let (outcomes, counts) = scene.copy_with(&v2, to_oci_zstd()).await;
    assert_eq!(outcomes[0][0].as_ref().unwrap().digest, digest);
    assert_eq!(counts.recompressed_bytes, 8);
    assert_eq!(contents(&scene.destination, "m/app", &image), layers);
}

#[tokio::test]
async fn what_signs_the_original_does_not_come_with_what_was_made_of_it() {
    let scene = Scene::start().await;
    let layers: [&[u8]; 1] = [b"the base"];
    let source = seed(&scene.source, Some("v1"), DOCKER, &layers, &layers);
    let size = scene
        .source
        .manifest("app", source.as_str())
        .unwrap()
        .bytes
        .len();
    scene.source.seed_blob("app", b"{}");
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [],
        "subject": {"mediaType": DOCKER_MANIFEST, "digest": source, "size": size},
    });
    let signature = scene.source.seed_manifest("app", None, &signature);
    let (outcomes, _) = scene.copy_with(&app(), to_oci_zstd()).await;
    assert!(outcomes[0][0].is_ok(), "{outcomes:?}");
    let there = scene.destination.manifest("m/app", signature.as_str());
    assert!(there.is_none());
    // An image that keeps its form keeps its signature.
    let same = [wish("app", "same/app", "v1")];
    let (outcomes, _) = scene.copy_with(&same, to(Format::Docker, None)).await;
    assert_eq!(outcomes[0][0].as_ref().unwrap().digest, source);
    let there = scene.destination.manifest("same/app", signature.as_str());
    assert!(there.is_some());
}
