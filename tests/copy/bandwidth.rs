//! A limit on the bytes of blobs that pass.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;
use transship::copy::{
    Counters, ImageCopy, ManifestName, Options, TagPolicy, Target, Unobserved, copy_images,
};
use transship::oci::{Digest, Tag};
use transship::transport::{LayoutDestination, LayoutSource};

use crate::support::registry::Registry;
use crate::transports::images::repository;

/// An image from a registry in a layout.
async fn carry(registry: &Registry, tag: &Tag, path: &Path) {
    let copy = ImageCopy {
        source: repository(registry, "app"),
        image: ManifestName::Tag(tag.clone()),
        targets: vec![target(path, tag).await],
    };
    run(copy, Options::default()).await;
}

async fn target(path: &Path, tag: &Tag) -> Target {
    Target {
        place: Arc::new(LayoutDestination::open(path).await.unwrap()),
        tag: Some(tag.clone()),
        existing: TagPolicy::default(),
    }
}

/// The digest that is in place, and the bytes that were sent for it.
async fn run(copy: ImageCopy, options: Options) -> (Digest, u64) {
    let counters = Arc::new(Counters::default());
    let mut outcomes = copy_images(&[copy], &options, counters.clone(), Arc::new(Unobserved)).await;
    let copied = outcomes.remove(0).remove(0).unwrap();
    (copied.digest, counters.now().bytes)
}

/// Files take no time on a clock that stands still: whatever passes is due to the limit.
#[tokio::test]
async fn blobs_pass_as_slowly_as_is_asked_for() {
    let registry = Registry::start().await;
    let layers = [vec![1; 700_000], vec![2; 1_300_000]];
    let digest = registry.seed_image("app", Some("v1"), &[&layers[0], &layers[1]]);
    let directory = TempDir::new().unwrap();
    let (here, there) = (
        directory.path().join("here"),
        directory.path().join("there"),
    );
    let tag: Tag = "v1".parse().unwrap();
    carry(&registry, &tag, &here).await;
    drop(registry);
    let copy = ImageCopy {
        source: Arc::new(LayoutSource::open_directory(&here).await.unwrap()),
        image: ManifestName::Tag(tag.clone()),
        targets: vec![target(&there, &tag).await],
    };
    let options = Options {
        bandwidth: Some("1M".parse().unwrap()),
        ..Options::default()
    };
    tokio::time::pause();
    let begin = Instant::now();
    let (copied, bytes) = run(copy, options).await;
    let taken = begin.elapsed();
    assert_eq!(copied, digest);
    let expected = Duration::from_micros(bytes);
    let tolerance = Duration::from_millis(100);
    assert!(
        taken.abs_diff(expected) < tolerance,
        "{taken:?} for {bytes} bytes"
    );
}
