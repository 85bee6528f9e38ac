//! Lists that the status has no room for, in `ConfigMap`s that the mirror owns: all its images, and what it wrote.
//!
//! Whoever deletes or changes them takes memory away, not truth: the next scan asks the registries all the
//! same, and only what it cannot see is forgotten: who moved a tag, what a run had failed at, and which tags may
//! be removed.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource as _, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::job::owned_labels;
use super::ledger::Written;
use crate::api::{FIELD_MANAGER, IMAGE_REPORT_KEY, ImageMirror, ImageStatus, is_report_of};
use crate::controller::ARGOCD_IGNORE_UPDATES_ANNOTATION;
use crate::controller::request::{RequestError, request};
use crate::packed::{self, PackError};

/// Entries of one page: some 200 bytes each are left of them when they are compressed, and a `ConfigMap` takes
/// a mebibyte.
const PAGE_ENTRIES: usize = 2000;
/// Most bytes of a page when it is unpacked.
const MAX_PAGE_BYTES: u64 = 64 * 1024 * 1024;
/// Most pages of one list.
const MAX_PAGES: usize = 512;
/// Most characters of the mirror's name in that of a page.
const MAX_NAME_LENGTH: usize = 200;

/// What is kept in pages.
pub(super) trait Paged: Serialize + DeserializeOwned {
    /// What stands in the names of the objects.
    const NAME: &'static str;
    /// The key of the one entry of each object.
    const KEY: &'static str;
}

impl Paged for ImageStatus {
    const NAME: &'static str = "images";
    const KEY: &'static str = IMAGE_REPORT_KEY;
}

impl Paged for Written {
    const NAME: &'static str = "written";
    const KEY: &'static str = "written.json.zst";
}

/// Why pages could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum PagesError {
    /// The API server failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A page cannot be made.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// Access to the pages of mirrors in one namespace.
pub(super) struct Pages {
    config_maps: Api<ConfigMap>,
}

impl Pages {
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            config_maps: Api::namespaced(client.clone(), namespace),
        }
    }

    /// All entries of the pages with these names. [`None`] if a page is gone, or is not what was written.
    pub(super) async fn read_named<T: Paged>(
        &self,
        mirror: &ImageMirror,
        names: &[String],
    ) -> Result<Option<Vec<T>>, RequestError> {
        let mut entries = Vec::new();
        for name in names {
            let page = request(self.config_maps.get_opt(name)).await?;
            match page.and_then(|page| content(&page, mirror)) {
                Some(page) => entries.extend(page),
                None => return Ok(None),
            }
        }
        Ok((!entries.is_empty()).then_some(entries))
    }

    /// All entries, without knowing the names: up to the first page that is not full. [`None`] if a page is not
    /// what was written.
    pub(super) async fn read<T: Paged>(
        &self,
        mirror: &ImageMirror,
    ) -> Result<Option<Vec<T>>, RequestError> {
        let mut entries = Vec::new();
        for number in 0..MAX_PAGES {
            let Some(name) = page_name::<T>(mirror, number) else {
                break;
            };
            let Some(page) = request(self.config_maps.get_opt(&name)).await? else {
                break;
            };
            let Some(page) = content::<T>(&page, mirror) else {
                return Ok(None);
            };
            let is_last = page.len() < PAGE_ENTRIES;
            entries.extend(page);
            if is_last {
                break;
            }
        }
        Ok(Some(entries))
    }

    /// Writes all entries, and says in which objects. An object of somebody else that has the name of a page
    /// stays as it is, and so nothing is remembered.
    pub(super) async fn write<T: Paged>(
        &self,
        mirror: &ImageMirror,
        entries: &[T],
    ) -> Result<Vec<String>, PagesError> {
        let mut pages: Vec<&[T]> = entries.chunks(PAGE_ENTRIES).collect();
        // An older and longer list would seem to go on behind a full page.
        if pages.last().is_none_or(|last| last.len() == PAGE_ENTRIES) {
            pages.push(&[]);
        }
        let mut names = Vec::new();
        for (number, entries) in pages.into_iter().enumerate() {
            let Some(page) = page(mirror, number, entries)? else {
                return Ok(Vec::new());
            };
            if !self.put(mirror, &page).await? {
                tracing::warn!(
                    config_map = page.name_any(),
                    "it belongs to somebody else: not all that the controller knows of the mirror is remembered"
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

/// The entries of a page; [`None`] when it is not one that was written for this mirror.
fn content<T: Paged>(page: &ConfigMap, mirror: &ImageMirror) -> Option<Vec<T>> {
    if !is_report_of(page, mirror) {
        return None;
    }
    let packed = page.binary_data.as_ref()?.get(T::KEY)?;
    packed::unpack(&packed.0, MAX_PAGE_BYTES).ok()
}

/// The name of a page; [`None`] for a mirror that the API server has not stored.
fn page_name<T: Paged>(mirror: &ImageMirror, number: usize) -> Option<String> {
    let prefix: String = mirror.name_any().chars().take(MAX_NAME_LENGTH).collect();
    // Of two mirrors of one name, one after the other, the first one's pages may still be there.
    let suffix: String = mirror.uid()?.chars().take(8).collect();
    Some(format!("{prefix}-{}-{suffix}-{number}", T::NAME))
}

/// One page; [`None`] for a mirror that the API server has not stored.
fn page<T: Paged>(
    mirror: &ImageMirror,
    number: usize,
    entries: &[T],
) -> Result<Option<ConfigMap>, PackError> {
    let (Some(owner), Some(name)) = (
        mirror.controller_owner_ref(&()),
        page_name::<T>(mirror, number),
    ) else {
        return Ok(None);
    };
    let page = ConfigMap {
        metadata: kube::api::ObjectMeta {
            name: Some(name),
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
                T::KEY.to_owned(),
                k8s_openapi::ByteString(packed::pack(entries)?),
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
    use crate::api::{DestinationStatus, ImageState, reported_images};
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
            conversion: None,
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
        let images: Vec<_> = (0..PAGE_ENTRIES).map(image).collect();
        let page = page(&mirror(), 7, &images).unwrap().unwrap();
        assert_eq!(page.metadata.name.as_deref(), Some("m-images-0f6ba1c2-7"));
        assert_eq!(reported_images(&page).unwrap(), images);
        assert_eq!(content::<ImageStatus>(&page, &mirror()).unwrap(), images);
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
