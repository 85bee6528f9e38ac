//! What an image in an archive is: the manifest that its files make up, and what an archive holds.

use serde::Serialize;

use super::super::Error;
use crate::oci::{Content, Descriptor, LayerCompression, Manifest, ManifestError, MediaType};

/// Bytes at the start of a file that tell how it is compressed.
pub(super) const MAGIC_BYTES: u64 = 6;

/// What a layer's first bytes say of it; [`None`] for compressions that no registry knows.
pub(super) fn compression(start: &[u8]) -> Option<LayerCompression> {
    match start {
        [0x1f, 0x8b, ..] => Some(LayerCompression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(LayerCompression::Zstd),
        // xz and bzip2.
        [0xfd, b'7', b'z', b'X', b'Z', 0] | [b'B', b'Z', b'h', ..] => None,
        _ => Some(LayerCompression::None),
    }
}

/// In the order in which Docker writes the members.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    schema_version: u8,
    media_type: &'static str,
    config: Part<'a>,
    layers: Vec<Part<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    media_type: &'a str,
    size: u64,
    digest: &'a str,
}

impl<'a> From<&'a Descriptor> for Part<'a> {
    fn from(descriptor: &'a Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type.as_str(),
            size: descriptor.size,
            digest: descriptor.digest.as_str(),
        }
    }
}

/// The Docker manifest of an image that was saved without one. The same files always make the same
/// bytes.
pub(super) fn synthesise(
    config: &Descriptor,
    layers: &[Descriptor],
) -> Result<Manifest, serde_json::Error> {
    let document = Document {
        schema_version: 2,
        media_type: MediaType::DOCKER_MANIFEST,
        config: config.into(),
        layers: layers.iter().map(Part::from).collect(),
    };
    Ok(Manifest::new(
        serde_json::to_vec(&document)?.into(),
        MediaType::new(MediaType::DOCKER_MANIFEST),
    ))
}

/// What an archive cannot hold, and what to do instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsuitable {
    pub(super) what: &'static str,
    pub(super) remedy: &'static str,
}

impl Unsuitable {
    /// The failure of the archive that messages call `place`.
    pub(super) fn at(self, place: &str) -> Error {
        Error::Unsupported {
            place: place.to_owned(),
            what: self.what.to_owned(),
            remedy: self.remedy,
        }
    }
}

const INDEX: Unsuitable = Unsuitable {
    what: "an index of several images",
    remedy: "choose one of them with --platform, or write to oci: or oci-archive:",
};
const ARTIFACT: Unsuitable = Unsuitable {
    what: "an artifact that is no image, as signatures and attestations are",
    remedy: "write to oci: or oci-archive:, or leave referrers out",
};
const ZSTD: Unsuitable = Unsuitable {
    what: "layers compressed with zstd",
    remedy: "convert the layers to gzip first, or write to oci: or oci-archive:",
};
const ENCRYPTED: Unsuitable = Unsuitable {
    what: "encrypted layers",
    remedy: "decrypt the image first, or write to oci: or oci-archive:",
};
const ELSEWHERE: Unsuitable = Unsuitable {
    what: "layers that are to be fetched from elsewhere",
    remedy: "write to oci: or oci-archive:",
};

/// Whether an archive can hold a blob of this type.
pub(super) fn check_blob(media_type: &MediaType) -> Result<(), Unsuitable> {
    match media_type.layer_compression() {
        Some(LayerCompression::Zstd) => Err(ZSTD),
        Some(_) if media_type.is_nondistributable_layer() => Err(ELSEWHERE),
        Some(LayerCompression::None | LayerCompression::Gzip) => Ok(()),
        None if media_type.is_image_config() => Ok(()),
        None if media_type.is_encrypted_layer() => Err(ENCRYPTED),
        None => Err(ARTIFACT),
    }
}

/// Why a manifest is not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is none.
    Manifest(ManifestError),
    /// The archive has no place for it.
    Unsuitable(Unsuitable),
}

impl Refused {
    /// The failure of the archive that messages call `place`.
    pub(super) fn at(self, place: &str) -> Error {
        match self {
            Self::Unsuitable(problem) => problem.at(place),
            Self::Manifest(error) => Error::Malformed {
                place: place.to_owned(),
                problem: error.to_string(),
            },
        }
    }
}

/// The configuration and the layers of an image that an archive can hold.
pub(super) fn parts(manifest: &Manifest) -> Result<(Descriptor, Vec<Descriptor>), Refused> {
    match manifest.content().map_err(Refused::Manifest)? {
        Content::Index { .. } => Err(Refused::Unsuitable(INDEX)),
        Content::Artifact { .. } => Err(Refused::Unsuitable(ARTIFACT)),
        Content::Image {
            config,
            layers,
            subject,
            ..
        } => {
            if !config.media_type.is_image_config() || subject.is_some() {
                return Err(Refused::Unsuitable(ARTIFACT));
            }
            for layer in &layers {
                check_blob(&layer.media_type).map_err(Refused::Unsuitable)?;
            }
            Ok((config, layers))
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::oci::Digest;

    fn descriptor(media_type: &str, content: &[u8]) -> Descriptor {
        Descriptor::new(
            MediaType::new(media_type),
            Digest::sha256(content),
            content.len() as u64,
        )
    }

    #[rstest]
    #[case::gzip(&[0x1f, 0x8b, 8, 0, 0, 0], Some(LayerCompression::Gzip))]
    #[case::zstd(&[0x28, 0xb5, 0x2f, 0xfd, 4, 0], Some(LayerCompression::Zstd))]
    #[case::xz(&[0xfd, b'7', b'z', b'X', b'Z', 0], None)]
    #[case::bzip2(b"BZh91A", None)]
    #[case::tar(b"etc/pa", Some(LayerCompression::None))]
    #[case::empty(b"", Some(LayerCompression::None))]
    fn compression_is_told_by_the_first_bytes(
        #[case] start: &[u8],
        #[case] expected: Option<LayerCompression>,
    ) {
        assert_eq!(compression(start), expected);
    }

    #[test]
    fn a_synthesised_manifest_is_that_of_docker() {
        let config = descriptor(MediaType::DOCKER_CONFIG, b"{}");
        let layer = descriptor(MediaType::DOCKER_LAYER, b"a layer");
        let manifest = synthesise(&config, &[layer.clone(), layer.clone()]).unwrap();
        let text = std::str::from_utf8(manifest.bytes()).unwrap();
        assert!(text.starts_with(concat!(
            r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","#,
            r#""config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"layers":[{"#
        )), "{text}");
        let (found, layers) = parts(&manifest).unwrap();
        assert_eq!((found, layers), (config, vec![layer.clone(), layer]));
    }

    fn image(config: &str, layer: &str) -> serde_json::Value {
        json!({
            "schemaVersion": 2,
            "config": descriptor(config, b"{}"),
            "layers": [descriptor(layer, b"a layer")],
        })
    }

    #[rstest]
    #[case::docker(MediaType::DOCKER_CONFIG, MediaType::DOCKER_LAYER_GZIP, None)]
    #[case::oci(MediaType::OCI_CONFIG, MediaType::OCI_LAYER, None)]
    #[case::zstd(MediaType::OCI_CONFIG, MediaType::OCI_LAYER_ZSTD, Some(ZSTD))]
    #[case::encrypted(
        MediaType::OCI_CONFIG,
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        Some(ENCRYPTED)
    )]
    #[case::foreign(
        MediaType::DOCKER_CONFIG,
        MediaType::DOCKER_FOREIGN_LAYER_GZIP,
        Some(ELSEWHERE)
    )]
    #[case::signature(
        MediaType::OCI_CONFIG,
        "application/vnd.dev.cosign.simplesigning.v1+json",
        Some(ARTIFACT)
    )]
    #[case::artifact(MediaType::OCI_EMPTY, MediaType::OCI_LAYER, Some(ARTIFACT))]
    fn what_an_archive_cannot_hold_is_refused(
        #[case] config: &str,
        #[case] layer: &str,
        #[case] expected: Option<Unsuitable>,
    ) {
        let bytes = Bytes::from(image(config, layer).to_string());
        let manifest = Manifest::new(bytes, MediaType::new(MediaType::OCI_MANIFEST));
        match (parts(&manifest), expected) {
            (Ok(_), None) => {}
            (Err(Refused::Unsuitable(found)), Some(expected)) => assert_eq!(found, expected),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn an_index_and_a_referrer_are_refused() {
        let index = Manifest::new(
            Bytes::from_static(br#"{"manifests":[]}"#),
            MediaType::new(MediaType::OCI_INDEX),
        );
        assert!(matches!(parts(&index), Err(Refused::Unsuitable(INDEX))));
        let mut referrer = image(MediaType::OCI_CONFIG, MediaType::OCI_LAYER);
        referrer["subject"] = json!(descriptor(MediaType::OCI_MANIFEST, b"{}"));
        let referrer = Manifest::new(
            Bytes::from(referrer.to_string()),
            MediaType::new(MediaType::OCI_MANIFEST),
        );
        assert!(matches!(
            parts(&referrer),
            Err(Refused::Unsuitable(ARTIFACT))
        ));
    }
}
