//! When a tag at a destination moves, and when it stays: what was there before, and all or nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use transship::api::{ImageMirror, ImageState};

use crate::harness::{Cluster, Mirror, Namespace, OneLayerImage};

/// Where the images come from and go to: one repository in each registry, with a tag for each image.
struct Setting {
    cluster: Cluster,
    namespace: Namespace,
    source: String,
    destination: String,
}

impl Setting {
    /// Somebody else's image is at the destination under the tag `one`.
    async fn new(purpose: &str) -> Self {
        let cluster = Cluster::shared().await;
        let namespace = cluster.namespace(purpose);
        let setting = Self {
            source: format!("{}/source", namespace.name),
            destination: format!("{}/copy", namespace.name),
            cluster,
            namespace,
        };
        let secure = &setting.cluster.secure;
        secure.push_image(&old(), &setting.destination, "one").await;
        setting
    }

    async fn push(&self, tag: &str) {
        let plain = &self.cluster.plain;
        plain
            .push_image(&OneLayerImage::new(tag), &self.source, tag)
            .await;
    }

    /// A mirror of these tags.
    fn apply(&self, tags: &[&str], existing: &str, failure_policy: &str) -> Mirror<'_> {
        let source = format!("{}/{}", self.cluster.plain.host, self.source);
        let sources: Vec<Value> = tags
            .iter()
            .map(|tag| json!({"image": format!("{source}:{tag}"), "insecure": true}))
            .collect();
        let spec = json!({
            "failurePolicy": failure_policy,
            "sources": sources,
            "destinations": [{
                "prefix": format!("{}/{}", self.cluster.secure.host, self.namespace.name), "path": "copy",
                "existing": existing,
                "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
            }],
        });
        Mirror::apply(&self.cluster, &self.namespace, "tags", &spec)
    }

    async fn at_destination(&self) -> BTreeMap<String, String> {
        self.cluster.secure.digests(&self.destination).await
    }
}

fn old() -> OneLayerImage {
    OneLayerImage::new("of somebody else")
}

fn digests(images: &[(&str, OneLayerImage)]) -> BTreeMap<String, String> {
    let digests = images
        .iter()
        .map(|(tag, image)| ((*tag).to_owned(), image.digest().to_string()));
    digests.collect()
}

/// State and reason of each image, by its tag.
fn standing(mirror: &ImageMirror) -> BTreeMap<String, (ImageState, String)> {
    let status = mirror.status.clone().unwrap();
    let destinations = status
        .images
        .into_iter()
        .flat_map(|image| image.destinations);
    let standing = destinations.map(|destination| {
        let (_, tag) = destination.reference.rsplit_once(':').unwrap();
        let reason = destination.reason.unwrap_or_default();
        (tag.to_owned(), (destination.state, reason))
    });
    standing.collect()
}

fn expected(images: &[(&str, ImageState, &str)]) -> BTreeMap<String, (ImageState, String)> {
    let standing = images
        .iter()
        .map(|(tag, state, reason)| ((*tag).to_owned(), (*state, (*reason).to_owned())));
    standing.collect()
}

#[tokio::test]
async fn a_tag_that_is_there_stays_unless_it_may_be_overwritten() {
    let setting = Setting::new("existing").await;
    setting.push("one").await;
    setting.push("two").await;
    let tags = ["one", "two"];
    let left = digests(&[("one", old()), ("two", OneLayerImage::new("two"))]);

    let ready = setting
        .apply(&tags, "Keep", "BestEffort")
        .wait_ready()
        .await;
    assert_eq!(
        standing(&ready),
        expected(&[
            ("one", ImageState::Present, "Kept"),
            ("two", ImageState::Present, ""),
        ])
    );
    let status = ready.status.unwrap();
    assert_eq!(status.summary, "2/2");
    let kept = &status.images[0].destinations[0];
    assert_eq!(kept.digest, Some(old().digest().to_string()));
    let message = kept.message.as_deref().unwrap();
    assert!(message.contains("existing is Keep"), "{message}");
    assert_eq!(setting.at_destination().await, left);

    let failed = setting
        .apply(&tags, "Fail", "BestEffort")
        .wait_failed("TagExists", true)
        .await;
    assert_eq!(
        standing(&failed),
        expected(&[
            ("one", ImageState::Failed, "TagExists"),
            ("two", ImageState::Present, ""),
        ])
    );
    assert_eq!(setting.at_destination().await, left);

    setting
        .apply(&tags, "Overwrite", "BestEffort")
        .wait_ready()
        .await;
    assert_eq!(
        setting.at_destination().await,
        digests(&tags.map(|tag| (tag, OneLayerImage::new(tag))))
    );
}

#[tokio::test]
async fn a_strict_mirror_moves_no_tag_unless_it_can_move_all() {
    let setting = Setting::new("strict").await;
    setting.push("one").await;
    setting.push("two").await;
    let tags = ["one", "two", "three"];
    let left = digests(&[("one", old())]);
    let held_back = |reason| {
        expected(&[
            ("one", ImageState::Failed, "HeldBack"),
            ("two", ImageState::Failed, "HeldBack"),
            ("three", ImageState::Failed, reason),
        ])
    };

    // What lacks a layer is noticed by the worker, when the others are written already.
    setting.push("three").await;
    let third = OneLayerImage::new("three");
    let plain = &setting.cluster.plain;
    plain.delete_blob(&setting.source, &third.layer()).await;
    let mirror = setting.apply(&tags, "Overwrite", "Strict");
    let failed = mirror.wait_failed("SourceNotFound", true).await;
    assert_eq!(standing(&failed), held_back("SourceNotFound"));
    assert_ne!(setting.namespace.jobs(), [""; 0]);
    assert_eq!(setting.at_destination().await, left);
    let run = failed.status.unwrap().run.unwrap();
    assert_eq!((run.images_copied, run.images_failed), (0, 3));

    // What is not there is noticed before.
    plain.delete(&format!("{}:three", setting.source));
    let failed = mirror.scan().await;
    assert_eq!(standing(&failed), held_back("SourceNotFound"));
    let images = failed.status.unwrap().images;
    let message = images[0].destinations[0].message.as_deref().unwrap();
    assert!(message.contains("source:three"), "{message}");
    assert_eq!(setting.at_destination().await, left);

    setting.push("three").await;
    mirror.scan().await;
    mirror.wait_ready().await;
    assert_eq!(
        setting.at_destination().await,
        digests(&tags.map(|tag| (tag, OneLayerImage::new(tag))))
    );
}
