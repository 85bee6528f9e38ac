//! What crane and skopeo read where this project has written, compared with what was there before.

use std::process::Command;

use rstest::rstest;
use serde_json::Value;
use transship::oci::Digest;

use super::images::{Image, archive, skopeo};
use super::layouts::{place, seed, succeed};
use crate::support::install_tls_provider;
use crate::support::registry::Registry;
use crate::support::tools::tool;

/// What crane prints, which must succeed.
pub(super) fn crane(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(tool("crane"))
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "crane {arguments:?}: {error}");
    output.stdout
}

fn crane_digest(image: &str) -> String {
    let digest = crane(&["digest", image]);
    String::from_utf8(digest).unwrap().trim().to_owned()
}

/// The raw manifest of `docker://IMAGE` to skopeo.
fn raw(image: &str) -> Vec<u8> {
    let image = format!("docker://{image}");
    skopeo(&["inspect", "--raw", "--tls-verify=false", &image])
}

fn config(image: &str) -> Vec<u8> {
    let image = format!("docker://{image}");
    skopeo(&["inspect", "--raw", "--config", "--tls-verify=false", &image])
}

// The registries answer while this thread waits for a command.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_is_the_same_to_crane_and_skopeo(
    #[values("image", "index", "nested index", "artifact", "signed image")] shape: &str,
) {
    install_tls_provider();
    let (source, destination) = (Registry::start().await, Registry::start().await);
    let manifests = seed(&source, shape);
    let to = format!("{}/app", destination.host());
    succeed(&[
        "copy",
        &format!("{}/app:v1", source.host()),
        &format!("{to}:v1"),
    ]);
    assert_eq!(
        crane_digest(&format!("{to}:v1")),
        manifests.first().unwrap().as_str()
    );
    for digest in &manifests {
        let image = format!("{to}@{digest}");
        let before = source.manifest("app", digest.as_str()).unwrap().bytes;
        assert_eq!(crane(&["manifest", &image]), before);
        assert_eq!(raw(&image), before);
    }
    // It unpacks and hashes every layer; of artifacts and nested indexes it knows nothing.
    if shape != "artifact" && shape != "nested index" {
        crane(&["validate", "--remote", &format!("{to}:v1")]);
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crane_pushes_what_a_layout_holds(#[values("image", "index")] shape: &str) {
    install_tls_provider();
    let registry = Registry::start().await;
    let manifests = seed(&registry, shape);
    let directory = tempfile::tempdir().unwrap();
    succeed(&[
        "copy",
        &format!("{}/app:v1", registry.host()),
        &place("oci", directory.path()),
    ]);
    let layout = directory.path().join("oci");
    let to = format!("{}/pushed:v1", registry.host());
    let mut arguments = vec!["push", layout.to_str().unwrap(), &to];
    arguments.extend((shape == "index").then_some("--index"));
    crane(&arguments);
    let pushed = registry.manifest("pushed", "v1").unwrap().bytes;
    let wanted = manifests.first().unwrap();
    if shape == "image" {
        assert_eq!(Digest::sha256(&pushed), *wanted);
    } else {
        // To crane, the index of the layout itself is what is pushed.
        let layout: Value = serde_json::from_slice(&pushed).unwrap();
        let entry = layout.pointer("/manifests/0/digest").unwrap();
        assert_eq!(entry, wanted.as_str());
    }
    for digest in manifests {
        let before = registry.manifest("app", digest.as_str()).unwrap();
        let after = registry.manifest("pushed", digest.as_str()).unwrap();
        assert_eq!(after.bytes, before.bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crane_validates_an_archive() {
    install_tls_provider();
    let registry = Registry::start().await;
    let image = Image::with_files(&["one", "two"]);
    image.seed(&registry, "app", "v1");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.tar");
    let from = format!("{}/app:v1", registry.host());
    succeed(&["copy", &from, &archive(&path, ":corp.example/app:v1")]);
    crane(&["validate", "--tarball", path.to_str().unwrap()]);
    let to = format!("{}/pushed:v1", registry.host());
    crane(&["push", path.to_str().unwrap(), &to]);
    let pushed: Value =
        serde_json::from_slice(&registry.manifest("pushed", "v1").unwrap().bytes).unwrap();
    let id = pushed.get("config").unwrap().get("digest").unwrap();
    assert_eq!(id, image.id().as_str());
}

/// All ways to convert an image and an index of gzip layers.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_converted_is_whole_to_crane_and_skopeo(
    #[values("image", "index")] shape: &str,
    #[values(
        ("oci", "zstd"), ("oci", "gzip:9"), ("oci", "none"), ("docker", "gzip:1"), ("docker", "none")
    )]
    conversion: (&str, &str),
) {
    install_tls_provider();
    let (source, destination) = (Registry::start().await, Registry::start().await);
    seed(&source, shape);
    let from = format!("{}/app:v1", source.host());
    let to = format!("{}/app:v1", destination.host());
    let (format, compression) = conversion;
    let convert = ["copy", "--format", format, "--compression", compression];
    succeed(&[&convert[..], &[&from, &to]].concat());

    // It unpacks every layer, but knows gzip only.
    let thorough = compression.starts_with("gzip");
    let validate = ["validate", "--remote", &to, "--fast"];
    crane(&validate[..if thorough { 3 } else { 4 }]);
    assert_eq!(config(&to), config(&from));
    // skopeo unpacks every layer of what it compresses anew.
    let directory = tempfile::tempdir().unwrap();
    let copy = format!("oci:{}:v1", directory.path().display());
    let image = format!("docker://{to}");
    skopeo(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        "--dest-compress",
        "--dest-compress-format=gzip",
        &image,
        &copy,
    ]);
    succeed(&["verify", &copy]);
    let document: Value = serde_json::from_slice(&raw(&to)).unwrap();
    let media_type = document.get("mediaType").unwrap().as_str().unwrap();
    assert_eq!(media_type.contains("docker"), format == "docker");
}
