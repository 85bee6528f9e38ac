//! All images of a mirror, where its status has no room for them: in `ConfigMap`s that the mirror owns.
//!
//! The status lists a hundred images. A mirror of more keeps the whole list in pages, which the status
//! names. Whoever deletes or changes them takes memory away, not truth: the next scan asks the registries
//! all the same, and only what it cannot see is forgotten: who moved a tag, and what a run had failed at.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::json;

use super::job::{ARGOCD_IGNORE_UPDATES_ANNOTATION, owned_labels};
use crate::api::{
    FIELD_MANAGER, IMAGE_REPORT_KEY, ImageMirror, ImageStatus, is_report_of, reported_images,
};
use crate::controller::request::{RequestError, request};
use crate::packed::{self, PackError};

/// Images of one page: some 200 bytes each are left of them when they are compressed, and a `ConfigMap` takes
/// a mebibyte.
const PAGE_IMAGES: usize = 2000;
/// Most characters of the mirror's name in that of a page.
const MAX_NAME_LENGTH: usize = 200;

/// Why pages could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum InventoryError {
    /// The API server failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A page cannot be made.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// Access to the pages of mirrors in one namespace.
pub(super) struct Inventory {
    config_maps: Api<ConfigMap>,
}

impl Inventory {
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            config_maps: Api::namespaced(client.clone(), namespace),
        }
    }

    /// All images that were written last. [`None`] if a page is gone, or is not what was written.
    pub(super) async fn read(
        &self,
        mirror: &ImageMirror,
    ) -> Result<Option<Vec<ImageStatus>>, RequestError> {
        let status = mirror.status.as_ref();
        let mut images = Vec::new();
        for name in status.into_iter().flat_map(|status| &status.image_reports) {
            let page = request(self.config_maps.get_opt(name)).await?;
            let Some(page) = page.filter(|page| is_report_of(page, mirror)) else {
                return Ok(None);
            };
            match reported_images(&page) {
                Some(page) => images.extend(page),
                None => return Ok(None),
            }
        }
        Ok((!images.is_empty()).then_some(images))
    }

    /// Writes all images, and says in which objects. An object of somebody else that has the name of a page
    /// stays as it is, and so nothing is remembered.
    pub(super) async fn write(
        &self,
        mirror: &ImageMirror,
        images: &[ImageStatus],
    ) -> Result<Vec<String>, InventoryError> {
        let mut names = Vec::new();
        for (number, images) in images.chunks(PAGE_IMAGES).enumerate() {
            let Some(page) = page(mirror, number, images)? else {
                return Ok(Vec::new());
            };
            if !self.put(mirror, &page).await? {
                tracing::warn!(
                    config_map = page.name_any(),
                    "it belongs to somebody else: not all images of the mirror are remembered"
                );
                return Ok(Vec::new());
            }
            names.push(page.name_any());
        }
        Ok(names)
    }

    async fn put(&self, mirror: &ImageMirror, page: &ConfigMap) -> Result<bool, RequestError> {
        let name = page.name_any();
        let post = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match request(self.config_maps.create(&post, page)).await {
            Err(error) if error.is_conflict() => {}
            result => return result.map(|_| true),
        }
        let existing = request(self.config_maps.get(&name)).await?;
        if !is_report_of(&existing, mirror) {
            return Ok(false);
        }
        if existing.binary_data != page.binary_data {
            let patch = json!({"binaryData": page.binary_data});
            let parameters = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            request(
                self.config_maps
                    .patch(&name, &parameters, &Patch::Merge(&patch)),
            )
            .await?;
        }
        Ok(true)
    }
}

/// One page; [`None`] for a mirror that the API server has not stored.
fn page(
    mirror: &ImageMirror,
    number: usize,
    images: &[ImageStatus],
) -> Result<Option<ConfigMap>, PackError> {
    let (Some(owner), Some(uid)) = (mirror.controller_owner_ref(&()), mirror.uid()) else {
        return Ok(None);
    };
    let prefix: String = mirror.name_any().chars().take(MAX_NAME_LENGTH).collect();
    // Of two mirrors of one name, one after the other, the first one's pages may still be there.
    let suffix: String = uid.chars().take(8).collect();
    let page = ConfigMap {
        metadata: kube::api::ObjectMeta {
            name: Some(format!("{prefix}-images-{suffix}-{number}")),
            namespace: mirror.namespace(),
            labels: Some(owned_labels(mirror)),
            annotations: Some(
                [(
                    ARGOCD_IGNORE_UPDATES_ANNOTATION.to_owned(),
                    "true".to_owned(),
                )]
                .into(),
            ),
            owner_references: Some(vec![owner]),
            ..kube::api::ObjectMeta::default()
        },
        binary_data: Some(
            [(
                IMAGE_REPORT_KEY.to_owned(),
                k8s_openapi::ByteString(packed::pack(images)?),
            )]
            .into(),
        ),
        ..ConfigMap::default()
    };
    Ok(Some(page))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DestinationStatus, ImageState};
    use crate::oci::Digest;

    fn mirror() -> ImageMirror {
        serde_json::from_value(json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {
                "name": "m", "namespace": "n", "uid": "0f6ba1c2-1111-2222-3333-444455556666",
                "labels": {"argocd.argoproj.io/instance": "app"},
            },
            "spec": {"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]},
        }))
        .unwrap()
    }

    fn image(number: usize) -> ImageStatus {
        let digest = Digest::sha256(number.to_string().as_bytes()).to_string();
        let destination = |registry: &str| DestinationStatus {
            reference: format!("{registry}.example/mirror/docker.io/library/nginx:1.{number}"),
            digest: Some(digest.clone()),
            state: ImageState::Present,
            reason: None,
            message: None,
        };
        ImageStatus {
            source: format!("docker.io/library/nginx:1.{number}"),
            source_digest: Some(digest.clone()),
            media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            destinations: ["one", "two", "three", "four"].map(destination).to_vec(),
        }
    }

    #[test]
    fn a_page_comes_back_as_it_was_and_belongs_to_its_mirror_alone() {
        let images: Vec<_> = (0..PAGE_IMAGES).map(image).collect();
        let page = page(&mirror(), 7, &images).unwrap().unwrap();
        assert_eq!(page.metadata.name.as_deref(), Some("m-images-0f6ba1c2-7"));
        assert_eq!(reported_images(&page).unwrap(), images);
        assert!(is_report_of(&page, &mirror()));
        let size = page.binary_data.as_ref().unwrap()[IMAGE_REPORT_KEY].0.len();
        assert!(size < 500_000, "{size}");
        let labels = page.metadata.labels.as_ref().unwrap();
        assert!(!labels.contains_key("argocd.argoproj.io/instance"));

        let mut other = mirror();
        other.metadata.uid = Some("another".to_owned());
        assert!(!is_report_of(&page, &other));
    }

    #[test]
    fn a_page_that_somebody_changed_is_no_page() {
        let mut page = page(&mirror(), 0, &[image(1)]).unwrap().unwrap();
        page.binary_data.as_mut().unwrap().insert(
            IMAGE_REPORT_KEY.to_owned(),
            k8s_openapi::ByteString(b"[]".to_vec()),
        );
        assert_eq!(reported_images(&page), None);
        page.binary_data = None;
        assert_eq!(reported_images(&page), None);
    }
}
