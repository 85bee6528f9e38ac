//! The index of the images of several platforms (image-spec, image-index.md), or Docker's manifest list of them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::oci::{Descriptor, Manifest, MediaType, Platform};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'a MediaType,
    manifests: Vec<Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, String>>,
}

/// An index of these images, in this order. The same images give the same bytes. It is Docker's when the images are,
/// which has no place for `annotations`.
pub fn index(
    images: &[(&Platform, Manifest)],
    annotations: &BTreeMap<String, String>,
) -> Result<Manifest, serde_json::Error> {
    let is_docker = images
        .iter()
        .any(|(_, manifest)| manifest.media_type().is_docker());
    let media_type = if is_docker {
        MediaType::DOCKER_MANIFEST_LIST
    } else {
        MediaType::OCI_INDEX
    };
    let media_type = MediaType::from(media_type.to_owned());
    let entries = images.iter().map(|(platform, manifest)| Descriptor {
        platform: Some((*platform).clone()),
        ..Descriptor::new(
            manifest.media_type().clone(),
            manifest.digest().clone(),
            manifest.bytes().len() as u64,
        )
    });
    let bytes = serde_json::to_vec(&Index {
        schema_version: 2,
        media_type: &media_type,
        manifests: entries.collect(),
        annotations: Some(annotations).filter(|annotations| !is_docker && !annotations.is_empty()),
    })?;
    Ok(Manifest::new(bytes.into(), media_type))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::oci::Content;

    const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm/v7"];

    fn index_of(media_type: &str) -> Manifest {
        let platforms = PLATFORMS.map(|platform| platform.parse::<Platform>().unwrap());
        let images = platforms.each_ref().map(|platform| {
            let bytes =
                json!({"schemaVersion": 2, "mediaType": media_type, "of": platform.to_string()});
            let manifest = Manifest::new(
                bytes.to_string().into(),
                MediaType::from(media_type.to_owned()),
            );
            (platform, manifest)
        });
        let annotations = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        index(&images, &annotations).unwrap()
    }

    #[test]
    fn an_index_names_the_image_of_each_platform() {
        let index = index_of(MediaType::OCI_MANIFEST);
        let Content::Index { manifests, .. } = index.content().unwrap() else {
            panic!("not an index");
        };
        let platforms: Vec<_> = manifests
            .iter()
            .map(|entry| entry.platform.as_ref().unwrap().to_string())
            .collect();
        assert_eq!(platforms, PLATFORMS);
        assert!(manifests.iter().all(|entry| entry.size > 0));
        let document: Value = serde_json::from_slice(index.bytes()).unwrap();
        assert_eq!(document["annotations"], json!({"team": "a"}));
        assert_eq!(index_of(MediaType::OCI_MANIFEST), index);
    }

    #[test]
    fn images_of_docker_get_a_manifest_list() {
        let index = index_of(MediaType::DOCKER_MANIFEST);
        let document: Value = serde_json::from_slice(index.bytes()).unwrap();
        assert_eq!(document["mediaType"], MediaType::DOCKER_MANIFEST_LIST);
        assert_eq!(document.get("annotations"), None);
    }
}
