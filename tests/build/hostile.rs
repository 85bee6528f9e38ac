//! Outputs that code of users has been at: each is refused in time with a sentence, nothing of it reaches a
//! registry, and nothing else of the container does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rstest::rstest;
use serde_json::json;
use transship::oci::{Digest, MediaType};

use super::output::{Layout, layer};
use super::{PASSWORD, Pod, plan_to_publish};
use crate::support::registry::Registry;

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(
        std::process::Command::new("mkfifo")
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
}

fn replace_by_link(path: &Path, target: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        let _ = fs::remove_file(path);
    }
    symlink(target, path).unwrap();
}

/// A file of the container with something secret, and a layout that was complete before.
type Tamper = fn(&Layout, &Path);

#[rstest]
#[case::table_is_a_link(|layout: &Layout, secret: &Path| replace_by_link(&layout.path().join("index.json"), secret))]
#[case::marker_is_a_link(|layout: &Layout, secret: &Path| replace_by_link(&layout.path().join("oci-layout"), secret))]
#[case::table_is_a_pipe(|layout: &Layout, _: &Path| fifo(&layout.path().join("index.json")))]
#[case::marker_is_a_pipe(|layout: &Layout, _: &Path| fifo(&layout.path().join("oci-layout")))]
#[case::table_is_a_directory(|layout: &Layout, _: &Path| {
    fs::remove_file(layout.path().join("index.json")).unwrap();
    fs::create_dir(layout.path().join("index.json")).unwrap();
})]
#[case::table_is_huge(|layout: &Layout, _: &Path| {
    let table = fs::File::options().write(true).open(layout.path().join("index.json")).unwrap();
    table.set_len(1 << 40).unwrap();
})]
#[case::table_has_two_images(|layout: &Layout, _: &Path| {
    let (one, two) = (layout.add_image(&layer("one")), layout.add_image(&layer("two")));
    layout.list(&[&one, &two]);
})]
#[case::table_has_none(|layout: &Layout, _: &Path| layout.list(&[]))]
#[case::table_leads_in_a_circle(|layout: &Layout, _: &Path| {
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": []});
    let entry = layout.add_document(&index, MediaType::OCI_INDEX);
    layout.list(&[&entry]);
})]
#[case::blobs_are_elsewhere(|layout: &Layout, _: &Path| {
    let elsewhere = layout.path().with_file_name("elsewhere");
    fs::rename(layout.path().join("blobs"), &elsewhere).unwrap();
    symlink(&elsewhere, layout.path().join("blobs")).unwrap();
})]
#[case::layout_is_elsewhere(|layout: &Layout, _: &Path| {
    let elsewhere = layout.path().with_file_name("elsewhere");
    fs::rename(layout.path(), &elsewhere).unwrap();
    symlink(&elsewhere, layout.path()).unwrap();
})]
#[case::layout_is_a_file(|layout: &Layout, _: &Path| {
    fs::remove_dir_all(layout.path()).unwrap();
    fs::write(layout.path(), "layout").unwrap();
})]
#[case::nothing_there(|layout: &Layout, _: &Path| fs::remove_dir_all(layout.path()).unwrap())]
#[case::layer_is_a_link(|layout: &Layout, secret: &Path| {
    let blob = layout.blob_path(&Digest::sha256(&layer("content")));
    replace_by_link(&blob, secret);
})]
#[case::layer_is_a_link_to_a_layer(|layout: &Layout, _: &Path| {
    let blob = layout.blob_path(&Digest::sha256(&layer("content")));
    let elsewhere = layout.path().with_file_name("elsewhere");
    fs::rename(&blob, &elsewhere).unwrap();
    symlink(&elsewhere, &blob).unwrap();
})]
#[case::layer_is_a_pipe(|layout: &Layout, _: &Path| fifo(&layout.blob_path(&Digest::sha256(&layer("content")))))]
#[case::layer_has_another_content(|layout: &Layout, _: &Path| {
    let blob = layout.blob_path(&Digest::sha256(&layer("content")));
    fs::write(blob, layer("CONTENT")).unwrap();
})]
#[case::layer_is_cut(|layout: &Layout, _: &Path| {
    let blob = layout.blob_path(&Digest::sha256(&layer("content")));
    fs::File::options().write(true).open(blob).unwrap().set_len(100).unwrap();
})]
#[case::layer_is_missing(|layout: &Layout, _: &Path| {
    fs::remove_file(layout.blob_path(&Digest::sha256(&layer("content")))).unwrap();
})]
#[case::layer_is_the_secret(|layout: &Layout, secret: &Path| {
    // The digest of what the link leads to: nothing but the link is wrong.
    let content = fs::read(secret).unwrap();
    let digest = Digest::sha256(&content);
    symlink(secret, layout.blob_path(&digest)).unwrap();
    let layers = json!([{"mediaType": MediaType::OCI_LAYER, "digest": digest, "size": content.len()}]);
    let image = layout.add_image_of(&layers, &json!([digest]));
    layout.list(&[&image]);
})]
#[tokio::test(flavor = "multi_thread")]
async fn a_layout_that_was_tampered_with_is_refused(#[case] tamper: Tamper) {
    let registry = Registry::start().await;
    let pod = Pod::new(&plan_to_publish(registry.host(), &json!({})));
    pod.mount("credentials", "other", &[("secret", PASSWORD)]);
    let (layout, _) = Layout::with_image(pod.path("out/layout"));
    tamper(&layout, &pod.path("credentials/other/secret"));

    let failed = pod.publish().await.failed();
    assert!(
        failed["reason"] == "OutputInvalid" && failed["message"].is_string(),
        "{failed}"
    );
    for tag in ["main", "v1"] {
        assert_eq!(registry.manifest("team/app", tag), None);
    }
    assert_eq!(
        registry.blob("team/app", &Digest::sha256(PASSWORD.as_bytes())),
        None
    );
}

#[rstest]
#[case::link(|archive: &Path, secret: &Path| symlink(secret, archive).unwrap())]
#[case::pipe(|archive: &Path, _: &Path| fifo(archive))]
#[case::directory(|archive: &Path, _: &Path| fs::create_dir(archive).unwrap())]
#[case::no_archive(|archive: &Path, _: &Path| fs::write(archive, "x".repeat(2000)).unwrap())]
#[case::nothing_there(|_: &Path, _: &Path| {})]
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_none_is_refused(#[case] make: fn(&Path, &Path)) {
    let registry = Registry::start().await;
    let pod = Pod::new(&plan_to_publish(
        registry.host(),
        &json!({"image": "archive"}),
    ));
    pod.mount("credentials", "other", &[("secret", PASSWORD)]);
    make(
        &pod.path("out/image.tar"),
        &pod.path("credentials/other/secret"),
    );
    let failed = pod.publish().await.failed();
    assert_eq!(failed["reason"], "OutputInvalid", "{failed}");
    assert_eq!(registry.manifest("team/app", "main"), None);
}
