//! Documents that look strange, exist, and are read as what they are.

use rstest::rstest;
use transship::oci::{Content, Descriptor, Digest, MediaType};

use super::templates::{DIGEST, Kind, OTHER_DIGEST, descriptor_with, layer, manifest};

const EMPTY_JSON: &str = r#"{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"data":"e30=",
    "digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}"#;

fn read(media_type: &str, document: impl Into<String>) -> Content {
    manifest(media_type, document.into()).content().unwrap()
}

/// Everything below, in the order of the document; the configuration first.
fn descriptors(content: Content) -> Vec<Descriptor> {
    match content {
        Content::Index { manifests, .. } => manifests,
        Content::Image { config, layers, .. } => std::iter::once(config).chain(layers).collect(),
        Content::Artifact { blobs, .. } => blobs,
    }
}

#[rstest]
#[case(Kind::Image, 2)]
#[case(Kind::DockerImage, 2)]
#[case(Kind::Index, 1)]
fn a_document_with_every_member_is_read_in_full(#[case] kind: Kind, #[case] count: usize) {
    let content = read(kind.media_type(), kind.document());
    let subject = content.subject().unwrap().clone();
    for descriptor in descriptors(content).into_iter().chain([subject]) {
        assert_eq!(descriptor.digest.as_str(), DIGEST);
        assert_eq!(descriptor.size, 3);
        assert_eq!(descriptor.platform.unwrap().to_string(), "linux/arm64/v8");
        assert_eq!(descriptor.annotations["org.example"], "text");
        assert_eq!(
            descriptor.artifact_type.unwrap().as_str(),
            "application/vnd.example"
        );
        assert_eq!(descriptor.urls, ["https://example.test/blob"]);
        assert_eq!(descriptor.data.as_deref(), Some(b"abc".as_slice()));
    }
    assert_eq!(
        descriptors(read(kind.media_type(), kind.document())).len(),
        count
    );
}

/// Cases 51, 66 and what Go programs write.
#[rstest]
fn members_may_be_absent_or_null(
    #[values(Kind::Image, Kind::Index, Kind::DockerImage)] kind: Kind,
) {
    let optional = [
        "schemaVersion",
        "mediaType",
        "artifactType",
        "subject",
        "annotations",
    ];
    for name in optional {
        read(kind.media_type(), kind.without(name));
        read(kind.media_type(), kind.with(name, "null"));
    }
    for name in ["mediaType", "artifactType"] {
        read(kind.media_type(), kind.with(name, "\"\""));
    }
    let list = if kind == Kind::Index {
        "manifests"
    } else {
        "layers"
    };
    for nothing in ["[]", "null"] {
        let content = read(kind.media_type(), kind.with(list, nothing));
        assert_eq!(descriptors(content).len(), usize::from(kind != Kind::Index));
    }
    for (_, around) in kind.descriptors() {
        for name in ["platform", "annotations", "urls", "data", "artifactType"] {
            read(kind.media_type(), around(&descriptor_with(name, "null")));
        }
        read(
            kind.media_type(),
            around(&descriptor_with("platform", "{}")),
        );
    }
}

#[rstest]
#[case::unknown_members(
    "x",
    r#"{"y":[1,2.5,-3,1e30,true,null,{"z":"\ud83d\ude00"}],"\u00e9":""}"#
)]
#[case::names_of_other_places("size", "\"Digest\"")]
#[case::names_that_only_look_alike("layer", "0")]
#[case::name_with_dotless_i("conf\u{131}g", "0")]
#[case::name_with_full_width_letters("\u{ff4c}ayers", "0")]
#[case::empty_name("", "0")]
#[case::history_of_nothing("history", "[]")]
fn members_that_nobody_knows_are_left_alone(#[case] name: &str, #[case] text: &str) {
    for kind in Kind::ALL {
        let known = descriptors(read(kind.media_type(), kind.document()));
        let extended = descriptors(read(kind.media_type(), kind.with(name, text)));
        assert_eq!(extended, known);
        for (_, around) in kind.descriptors() {
            read(kind.media_type(), around(&descriptor_with("x", text)));
        }
    }
}

#[test]
fn case_33_the_empty_json_config_carries_its_own_content() {
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"application/vnd.example",
            "config":{EMPTY_JSON},"layers":[{EMPTY_JSON}]}}"#,
        MediaType::OCI_MANIFEST
    );
    let content = read(MediaType::OCI_MANIFEST, document);
    let all = descriptors(content);
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0].media_type.as_str(), MediaType::OCI_EMPTY);
    assert_eq!(all[0].data.as_deref(), Some(b"{}".as_slice()));
}

#[test]
fn case_34_duplicate_layers_stay_duplicate() {
    let layers = format!("[{0},{0},{0}]", layer());
    let all = descriptors(read(
        MediaType::OCI_MANIFEST,
        Kind::Image.with("layers", &layers),
    ));
    assert_eq!(all.len(), 4);
    assert_eq!(all[1], all[3]);
}

#[test]
fn case_43_and_44_an_index_may_list_anything() {
    for media_type in [
        MediaType::OCI_INDEX,
        MediaType::DOCKER_MANIFEST_LIST,
        MediaType::DOCKER_SCHEMA_1,
        MediaType::OCI_ARTIFACT_MANIFEST,
        MediaType::OCI_LAYER_ZSTD,
        MediaType::OCI_CONFIG,
        "application/vnd.buildkit.cacheconfig.v0",
        "text",
    ] {
        let entry = descriptor_with("mediaType", &format!("\"{media_type}\""));
        let document = Kind::Index.with("manifests", &format!("[{entry}]"));
        let entries = descriptors(read(MediaType::OCI_INDEX, document));
        assert_eq!(entries[0].media_type.as_str(), media_type);
    }
}

#[test]
fn case_46_an_attestation_belongs_to_a_platform() {
    let attestation = descriptor_with(
        "annotations",
        &format!(
            r#"{{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"{DIGEST}"}}"#
        ),
    )
    .replace("arm64", "unknown")
    .replace("linux", "unknown");
    let document = Kind::Index.with("manifests", &format!("[{attestation}]"));
    let entry = descriptors(read(MediaType::OCI_INDEX, document)).remove(0);
    assert_eq!(entry.attests(), Some(DIGEST.parse().unwrap()));
    assert!(entry.platform.unwrap().is_unknown());
}

#[test]
fn case_52_artifact_manifests_of_release_candidates_are_walked() {
    for media_type in [
        MediaType::OCI_ARTIFACT_MANIFEST,
        MediaType::ORAS_ARTIFACT_MANIFEST,
    ] {
        let document = format!(
            r#"{{"mediaType":"{media_type}","artifactType":"sbom/example","blobs":[{0},{0}],"subject":{0}}}"#,
            layer()
        );
        assert_eq!(descriptors(read(media_type, document)).len(), 2);
        let document = format!(r#"{{"mediaType":"{media_type}","artifactType":"a/b"}}"#);
        assert!(descriptors(read(media_type, document)).is_empty());
    }
}

#[test]
fn case_58_sha512_is_a_digest_like_any_other() {
    let digest = format!("sha512:{}", "ab".repeat(64));
    let layers = format!("[{}]", descriptor_with("digest", &format!("\"{digest}\"")));
    let all = descriptors(read(
        MediaType::OCI_MANIFEST,
        Kind::Image.with("layers", &layers),
    ));
    assert_eq!(all[1].digest, digest.parse::<Digest>().unwrap());
}

#[rstest]
#[case("1")]
#[case("2147483648")]
#[case("9007199254740992")]
#[case("9223372036854775807")]
fn a_layer_may_be_as_large_as_it_likes(#[case] size: &str) {
    let layer = descriptor_with("size", size).replace(DIGEST, OTHER_DIGEST);
    let layers = format!("[{layer}]");
    let all = descriptors(read(
        MediaType::OCI_MANIFEST,
        Kind::Image.with("layers", &layers),
    ));
    assert_eq!(all[1].size.to_string(), size);
}

#[rstest]
#[case("Application/vnd.oci.image.manifest.v1+JSON; charset=utf-8")]
#[case(" application/vnd.oci.image.manifest.v1+json ")]
fn case_65_case_and_parameters_of_a_content_type_do_not_matter(#[case] content_type: &str) {
    read(content_type, Kind::Image.document());
}

#[test]
fn the_limits_themselves_are_permitted() {
    let nested = "[".repeat(63) + &"]".repeat(63);
    read(MediaType::OCI_MANIFEST, Kind::Image.with("x", &nested));
    let small = format!(r#"{{"mediaType":"a/b","digest":"{DIGEST}","size":3}}"#);
    let children = format!("[{}]", vec![small; 10_000].join(","));
    let content = read(
        MediaType::OCI_INDEX,
        Kind::Index.with("manifests", &children),
    );
    assert_eq!(descriptors(content).len(), 10_000);
    let document = Kind::Image.document();
    let padding = " ".repeat(4 * 1024 * 1024 - document.len());
    read(MediaType::OCI_MANIFEST, document + &padding);
}
