//! Documents of both formats, converted.

use std::collections::BTreeMap;

use bytes::Bytes;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::oci::{Digest, Manifest, MediaType};

const TO_OCI: Conversion = Conversion {
    format: Format::Oci,
    compression: None,
    leave_out_unsupported: false,
};
const TO_DOCKER: Conversion = Conversion {
    format: Format::Docker,
    ..TO_OCI
};
const LENIENT: Conversion = Conversion {
    leave_out_unsupported: true,
    ..TO_DOCKER
};

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(content.as_bytes()), "size": content.len()})
}

fn manifest(document: &Value) -> Manifest {
    let media_type = document["mediaType"].as_str().unwrap();
    Manifest::new(
        Bytes::from(document.to_string()),
        MediaType::new(media_type),
    )
}

fn docker_image(layers: &[&str]) -> Value {
    let layers: Vec<_> = layers
        .iter()
        .map(|media_type| descriptor(media_type, media_type))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::DOCKER_MANIFEST,
        "config": descriptor(MediaType::DOCKER_CONFIG, "config"),
        "layers": layers,
    })
}

fn oci_image(layers: &[&str]) -> Value {
    let mut image = docker_image(layers);
    image["mediaType"] = json!(MediaType::OCI_MANIFEST);
    image["config"]["mediaType"] = json!(MediaType::OCI_CONFIG);
    image
}

fn document(manifest: &Manifest) -> Value {
    serde_json::from_slice(manifest.bytes()).unwrap()
}

fn media_types(manifest: &Manifest) -> Vec<String> {
    document(manifest)["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["mediaType"].as_str().unwrap().to_owned())
        .collect()
}

const DOCKER_LAYERS: [&str; 4] = [
    MediaType::DOCKER_LAYER,
    MediaType::DOCKER_LAYER_GZIP,
    MediaType::DOCKER_FOREIGN_LAYER,
    MediaType::DOCKER_FOREIGN_LAYER_GZIP,
];
const OCI_LAYERS: [&str; 4] = [
    MediaType::OCI_LAYER,
    MediaType::OCI_LAYER_GZIP,
    MediaType::OCI_NONDISTRIBUTABLE_LAYER,
    MediaType::OCI_NONDISTRIBUTABLE_LAYER_GZIP,
];

#[test]
fn a_docker_image_becomes_an_oci_image_and_the_same_docker_image_again() {
    let docker = manifest(&docker_image(&DOCKER_LAYERS));
    let oci = convert_manifest(&docker, &TO_OCI, &[]).unwrap();
    assert_eq!(oci.media_type().as_str(), MediaType::OCI_MANIFEST);
    assert_eq!(media_types(&oci), OCI_LAYERS);
    let config = &document(&oci)["config"];
    assert_eq!(
        *config,
        descriptor(MediaType::OCI_CONFIG, "config"),
        "the configuration keeps its digest"
    );
    let again = convert_manifest(&oci, &TO_DOCKER, &[]).unwrap();
    assert_eq!(document(&again), document(&docker));
    // What is in the wanted format keeps its bytes.
    assert_eq!(convert_manifest(&docker, &TO_DOCKER, &[]).unwrap(), docker);
    assert_eq!(convert_manifest(&oci, &TO_OCI, &[]).unwrap(), oci);
}

#[test]
fn members_that_are_not_concerned_keep_their_bytes() {
    let mut image = docker_image(&[MediaType::DOCKER_LAYER_GZIP]);
    image["unknown"] = json!({"z": 1, "a": [1.5, null]});
    image["layers"][0]["urls"] = json!(["https://a.test/"]);
    let mut oci = document(&convert_manifest(&manifest(&image), &TO_OCI, &[]).unwrap());
    for (pointer, value) in [
        ("/mediaType", MediaType::DOCKER_MANIFEST),
        ("/config/mediaType", MediaType::DOCKER_CONFIG),
        ("/layers/0/mediaType", MediaType::DOCKER_LAYER_GZIP),
    ] {
        *oci.pointer_mut(pointer).unwrap() = json!(value);
    }
    assert_eq!(oci, image);
}

#[rstest]
#[case::annotations("/annotations", json!({"a": "b"}))]
#[case::annotations_of_a_layer("/layers/0/annotations", json!({"a": "b"}))]
#[case::annotations_of_the_config("/config/annotations", json!({"a": "b"}))]
#[case::artifact_type("/artifactType", json!("application/x"))]
#[case::subject("/subject", descriptor(MediaType::OCI_MANIFEST, "subject"))]
#[case::unknown("/unknown", json!(1))]
fn what_docker_has_no_place_for_is_refused_or_left_out(
    #[case] pointer: &str,
    #[case] value: Value,
) {
    let plain = oci_image(&[MediaType::OCI_LAYER_GZIP]);
    let mut image = plain.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    image.pointer_mut(parent).unwrap()[name] = value;
    let image = manifest(&image);
    let error = convert_manifest(&image, &TO_DOCKER, &[]).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(
        !error.to_string().contains("unknown"),
        "names are not repeated: {error}"
    );
    let converted = convert_manifest(&image, &LENIENT, &[]).unwrap();
    let expected = convert_manifest(&manifest(&plain), &TO_DOCKER, &[]).unwrap();
    assert_eq!(converted, expected);
}

#[rstest]
#[case::zstd(&[MediaType::OCI_LAYER_ZSTD])]
#[case::nondistributable_zstd(&[MediaType::OCI_NONDISTRIBUTABLE_LAYER_ZSTD])]
#[case::encrypted(&["application/vnd.oci.image.layer.v1.tar+gzip+encrypted"])]
#[case::no_layer(&["application/vnd.in-toto+json"])]
fn case_86_layers_that_docker_does_not_know_are_refused(#[case] layers: &[&str]) {
    let image = manifest(&oci_image(layers));
    for conversion in [TO_DOCKER, LENIENT] {
        let error = convert_manifest(&image, &conversion, &[]).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
    assert_eq!(convert_manifest(&image, &TO_OCI, &[]).unwrap(), image);
}

#[test]
fn content_in_a_descriptor_is_no_loss() {
    let mut image = oci_image(&[]);
    image["config"] = descriptor(MediaType::OCI_CONFIG, "{}");
    image["config"]["data"] = json!("e30=");
    let docker = convert_manifest(&manifest(&image), &TO_DOCKER, &[]).unwrap();
    assert_eq!(
        document(&docker)["config"],
        descriptor(MediaType::DOCKER_CONFIG, "{}")
    );
}

fn zstd() -> Conversion {
    Conversion {
        compression: Some(Compression::ZSTD),
        ..TO_OCI
    }
}

fn new_layer(position: usize) -> NewLayer {
    NewLayer {
        position,
        digest: Digest::sha256(b"new"),
        size: 3,
        compression: Compression::ZSTD,
    }
}

#[test]
fn only_layers_in_another_compression_are_recompressed() {
    let mut image = oci_image(&[
        MediaType::OCI_LAYER_ZSTD,
        MediaType::OCI_LAYER_GZIP,
        MediaType::OCI_LAYER,
        MediaType::OCI_NONDISTRIBUTABLE_LAYER_GZIP,
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
    ]);
    image["layers"][3]["urls"] = json!(["https://a.test/"]);
    let positions = layers_to_recompress(&manifest(&image), &zstd()).unwrap();
    assert_eq!(positions, [1, 2]);
    let none = layers_to_recompress(&manifest(&image), &TO_OCI).unwrap();
    assert_eq!(none, [0; 0]);
    // Another artifact's layers mean something else.
    image["config"]["mediaType"] = json!("application/vnd.buildkit.cacheconfig.v0");
    assert_eq!(
        layers_to_recompress(&manifest(&image), &zstd()).unwrap(),
        [0; 0]
    );
}

#[test]
fn docker_has_no_zstd() {
    let docker = manifest(&docker_image(&[MediaType::DOCKER_LAYER_GZIP]));
    for format in [Format::Preserve, Format::Docker] {
        let conversion = Conversion { format, ..zstd() };
        let error = layers_to_recompress(&docker, &conversion).unwrap_err();
        assert!(
            error.to_string().contains("choose the OCI format"),
            "{error}"
        );
    }
    assert_eq!(layers_to_recompress(&docker, &zstd()).unwrap(), [0]);
}

#[test]
fn case_85_a_new_layer_says_what_it_was_made_from_and_nothing_false() {
    let mut image = oci_image(&[MediaType::OCI_LAYER_GZIP, MediaType::OCI_LAYER_GZIP]);
    image["layers"][1]["annotations"] = json!({
        "kept": "yes",
        "containerd.io/snapshot/stargz/toc.digest": "sha256:0",
        "io.github.containers.zstd-chunked.manifest-checksum": "sha256:0",
    });
    image["layers"][1]["urls"] = json!(["https://a.test/old"]);
    let source = Digest::sha256(MediaType::OCI_LAYER_GZIP.as_bytes());
    let converted = convert_manifest(&manifest(&image), &zstd(), &[new_layer(1)]).unwrap();
    let layers = document(&converted)["layers"].clone();
    assert_eq!(layers[0], image["layers"][0]);
    let mut expected = descriptor(MediaType::OCI_LAYER_ZSTD, "new");
    expected["annotations"] = json!({
        "kept": "yes",
        "dev.transship.source.digest": source,
        "dev.transship.encoding": "zstd:3/2",
    });
    assert_eq!(layers[1], expected);

    // The next run knows it, for exactly this compression.
    let mut memo = Memo::default();
    memo.remember(&converted);
    let made = Some((Digest::sha256(b"new"), 3));
    assert_eq!(memo.annotated(&source, Compression::ZSTD), made);
    assert_eq!(memo.annotated(&source, "zstd:19".parse().unwrap()), None);
    assert_eq!(
        memo.annotated(&Digest::sha256(b"x"), Compression::ZSTD),
        None
    );
}

#[test]
fn a_docker_image_is_remembered_by_its_configuration() {
    let image = manifest(&docker_image(&[
        MediaType::DOCKER_LAYER,
        MediaType::DOCKER_LAYER_GZIP,
    ]));
    let mut memo = Memo::default();
    memo.remember(&image);
    let config = Digest::sha256(b"config");
    let found = memo.of_docker_image(&config, 1, Compression::GZIP).unwrap();
    assert_eq!(
        found.digest,
        Digest::sha256(MediaType::DOCKER_LAYER_GZIP.as_bytes())
    );
    assert!(
        memo.of_docker_image(&config, 0, Compression::GZIP)
            .is_none()
    );
    assert!(
        memo.of_docker_image(&config, 2, Compression::GZIP)
            .is_none()
    );
    assert!(
        memo.of_docker_image(&Digest::sha256(b"x"), 1, Compression::GZIP)
            .is_none()
    );
}

/// An index of an image and the attestation that is about it.
fn index(image: &Manifest, attestation: &Manifest) -> Manifest {
    let entry = |manifest: &Manifest| {
        json!({
            "mediaType": manifest.media_type(),
            "digest": manifest.digest(),
            "size": manifest.bytes().len(),
            "platform": {"os": "linux", "architecture": "amd64"},
        })
    };
    let mut attested = entry(attestation);
    attested["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image.digest(),
    });
    manifest(&json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": [entry(image), attested],
    }))
}

#[test]
fn an_index_names_the_converted_images_and_attestations_follow_them() {
    let image = manifest(&oci_image(&[MediaType::OCI_LAYER_GZIP]));
    let attestation = manifest(&oci_image(&["application/vnd.in-toto+json"]));
    let index = index(&image, &attestation);
    let new = convert_manifest(&image, &zstd(), &[new_layer(0)]).unwrap();
    let children = BTreeMap::from([
        (image.digest().clone(), new.clone()),
        (attestation.digest().clone(), attestation.clone()),
    ]);
    let converted = document(&convert_index(&index, &zstd(), &children).unwrap());
    let entries = &converted["manifests"];
    assert_eq!(entries[0]["digest"], json!(new.digest()));
    assert_eq!(entries[0]["size"], json!(new.bytes().len()));
    assert_eq!(entries[0]["platform"]["architecture"], "amd64");
    assert_eq!(entries[1]["digest"], json!(attestation.digest()));
    assert_eq!(
        entries[1]["annotations"]["vnd.docker.reference.digest"],
        json!(new.digest())
    );

    // Nothing changed, nothing is written anew.
    let same = [image.clone(), attestation].map(|child| (child.digest().clone(), child));
    let kept = convert_index(&index, &zstd(), &BTreeMap::from(same)).unwrap();
    assert_eq!(kept, index);

    // Docker's list has no place for the attestation; it is not in the children then.
    let docker = convert_manifest(&image, &LENIENT, &[]).unwrap();
    let children = BTreeMap::from([(image.digest().clone(), docker.clone())]);
    let list = convert_index(&index, &LENIENT, &children).unwrap();
    assert_eq!(list.media_type().as_str(), MediaType::DOCKER_MANIFEST_LIST);
    let entries = document(&list)["manifests"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 1);
    assert_eq!(entries[0]["digest"], json!(docker.digest()));
    assert_eq!(entries[0]["mediaType"], MediaType::DOCKER_MANIFEST);
}

#[rstest]
#[case("none", "none")]
#[case("gzip", "gzip:6")]
#[case("gzip:9", "gzip:9")]
#[case("zstd", "zstd:3")]
#[case("zstd:19", "zstd:19")]
fn a_compression_is_read_and_shown(#[case] text: &str, #[case] shown: &str) {
    let compression: Compression = text.parse().unwrap();
    assert_eq!(compression.to_string(), shown);
    assert_eq!(shown.parse(), Ok(compression));
}

#[rstest]
fn what_is_no_compression_is_refused(
    #[values(
        "", "brotli", "none:1", "gzip:", "gzip:0", "gzip:10", "zstd:20", "zstd:-1", "zstd:3:4"
    )]
    text: &str,
) {
    assert_eq!(text.parse::<Compression>(), Err(CompressionError));
}
