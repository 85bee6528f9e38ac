//! Documents that are an index to some and an image to others, or of no media type.

use transship::oci::MediaType;

use super::super::templates::{Kind, descriptor_with, entry, layer};
use super::{Case, Corpus};

/// CVE-2021-41190: one document that is an index to some and an image to others.
pub(super) fn two_kinds_at_once(corpus: &mut Corpus) {
    let values = ["null", "[]", "{}", "\"\"", "0", "false"];
    for (kind, names) in [
        (
            Kind::Index,
            ["config", "layers", "blobs", "fsLayers"].as_slice(),
        ),
        (Kind::Image, ["manifests", "blobs", "fsLayers"].as_slice()),
        (
            Kind::DockerImage,
            ["manifests", "blobs", "fsLayers"].as_slice(),
        ),
    ] {
        for name in names {
            for value in values {
                // What has the wrong type as well is refused for that, before its meaning counts.
                let reason = match (*name, value) {
                    ("fsLayers", _) | (_, "null") => "Ambiguous",
                    ("config", _) => "Value",
                    (_, "[]") => "Ambiguous",
                    _ => "Value",
                };
                corpus.add(
                    kind,
                    &format!("{name} {value}"),
                    kind.with(name, value),
                    reason,
                );
            }
        }
    }
    corpus.add(
        Kind::Index,
        "a full image",
        Kind::Index.with("layers", &format!("[{}]", layer())),
        "Ambiguous",
    );
    for kind in [Kind::Image, Kind::DockerImage] {
        let document = kind.with("manifests", &format!("[{}]", entry()));
        corpus.add(kind, "a full index", document, "Ambiguous");
    }
    for kind in Kind::ALL {
        for version in ["0", "1", "3"] {
            let document = kind.with("schemaVersion", version);
            corpus.add(kind, &format!("schema {version}"), document, "Ambiguous");
        }
    }
}

pub(super) fn media_types(corpus: &mut Corpus) {
    let known = [
        MediaType::OCI_INDEX,
        MediaType::OCI_MANIFEST,
        MediaType::DOCKER_MANIFEST_LIST,
        MediaType::DOCKER_MANIFEST,
        MediaType::DOCKER_SCHEMA_1_SIGNED,
        MediaType::OCI_ARTIFACT_MANIFEST,
        "application/json",
    ];
    for kind in Kind::ALL {
        for inside in known
            .into_iter()
            .filter(|inside| *inside != kind.media_type())
        {
            let document = kind.with("mediaType", &format!("\"{inside}\""));
            corpus.add(
                kind,
                &format!("says {inside}"),
                document,
                "MediaTypeMismatch",
            );
        }
        // The document of a kind served as another: nothing in it says what it is.
        let untyped = kind.without("mediaType");
        let (other, reason) = match kind {
            Kind::Index => (MediaType::OCI_MANIFEST, "Ambiguous"),
            Kind::Image | Kind::DockerImage => (MediaType::DOCKER_MANIFEST_LIST, "Ambiguous"),
        };
        for (outside, reason) in [
            (other, reason),
            (MediaType::DOCKER_SCHEMA_1, "Schema1"),
            (MediaType::DOCKER_SCHEMA_1_SIGNED, "Schema1"),
            (MediaType::ORAS_ARTIFACT_MANIFEST, "Ambiguous"),
            ("application/json", "Unsupported"),
            ("text/html", "Unsupported"),
            ("", "Unsupported"),
        ] {
            corpus.0.push(Case {
                name: format!("{kind:?}: served as {outside}"),
                media_type: outside,
                document: untyped.clone().into(),
                reason,
            });
        }
        let texts = [
            "\"\"",
            "null",
            "0",
            "[]",
            "\"a/\\nb\"",
            "\"\u{212a}/b\"",
            // Known types to one who ignores case and parameters, unknown to others.
            "\"application/vnd.oci.image.INDEX.v1+json\"",
            "\"application/vnd.oci.image.manifest.v1+json; charset=utf-8\"",
            "\" application/vnd.docker.distribution.manifest.v2+json\"",
            "\"application/vnd.oci.image.layer.v1.tar+GZIP\"",
        ];
        for text in texts {
            for (place, around) in kind.descriptors() {
                let document = around(&descriptor_with("mediaType", text));
                corpus.add(kind, &format!("{place} of type {text}"), document, "Value");
            }
        }
        let long = format!("\"{}\"", "a".repeat(256));
        corpus.add(kind, "long type", kind.with("mediaType", &long), "Value");
    }
}
