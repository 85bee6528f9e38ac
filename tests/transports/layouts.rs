//! Layouts, their archives and skopeo's directories: to them, from them, and what skopeo says of it.

use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;
use serde_json::{Value, json};
use transship::oci::{Digest, MediaType};

use super::images::{Image, gzip, skopeo};
use crate::support::install_tls_provider;
use crate::support::registry::Registry;

const PLACES: [&str; 3] = ["oci", "oci-archive", "dir"];

pub(super) fn transship(arguments: &[&str]) -> Output {
    transship_with("", arguments)
}

/// The command where the Docker daemon listens at `daemon`.
pub(super) fn transship_with(daemon: &str, arguments: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin("transship"))
        .args(arguments)
        .env_clear()
        .env("DOCKER_HOST", daemon)
        .output()
        .unwrap()
}

pub(super) fn succeed(arguments: &[&str]) -> String {
    succeed_with("", arguments)
}

pub(super) fn succeed_with(daemon: &str, arguments: &[&str]) -> String {
    let output = transship_with(daemon, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// `TRANSPORT:PATH`, with a name where the transport has names.
pub(super) fn place(transport: &str, directory: &Path) -> String {
    let path = directory.join(transport);
    let name = if transport == "dir" { "" } else { ":v1" };
    format!("{transport}:{}{name}", path.display())
}

fn entry(registry: &Registry, digest: &Digest) -> Value {
    let stored = registry.manifest("app", digest.as_str()).unwrap();
    json!({"mediaType": stored.media_type, "digest": digest, "size": stored.bytes.len()})
}

fn seed_platform(registry: &Registry, architecture: &str) -> Value {
    let mut image = Image::with_files(&["the base", architecture]);
    let config = String::from_utf8(image.config).unwrap();
    image.config = config.replace("amd64", architecture).into_bytes();
    registry.seed_blob("app", &image.config);
    let manifest = image.manifest(MediaType::OCI_LAYER_GZIP, |layer| {
        let packed = gzip(layer);
        (registry.seed_blob("app", &packed), packed.len())
    });
    let digest = registry.seed_manifest("app", None, &manifest);
    let size = registry
        .manifest("app", digest.as_str())
        .unwrap()
        .bytes
        .len();
    json!({
        "mediaType": MediaType::OCI_MANIFEST, "digest": digest, "size": size,
        "platform": {"os": "linux", "architecture": architecture},
    })
}

fn seed_index(registry: &Registry, tag: Option<&str>, entries: &[Value]) -> Digest {
    let index = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries,
    });
    registry.seed_manifest("app", tag, &index)
}

/// Puts `app:v1` of some shape into the registry and gives the digests of all of its manifests.
pub(super) fn seed(registry: &Registry, shape: &str) -> Vec<Digest> {
    match shape {
        "image" => vec![Image::with_files(&["one", "two"]).seed(registry, "app", "v1")],
        "index" => {
            let entries = ["amd64", "arm64"].map(|name| seed_platform(registry, name));
            digests(seed_index(registry, Some("v1"), &entries), &entries)
        }
        "nested index" => {
            let entries = ["amd64", "arm64"].map(|name| seed_platform(registry, name));
            let inner = seed_index(registry, None, &entries);
            let inner = [entry(registry, &inner)];
            let mut all = digests(seed_index(registry, Some("v1"), &inner), &inner);
            all.extend(entries.iter().map(digest_of));
            all
        }
        "artifact" => {
            registry.seed_blob("app", b"{}");
            registry.seed_blob("app", b"content");
            let artifact = json!({
                "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
                "artifactType": "application/vnd.example",
                "config": {"mediaType": MediaType::OCI_EMPTY, "digest": Digest::sha256(b"{}"), "size": 2},
                "layers": [{
                    "mediaType": "text/plain", "digest": Digest::sha256(b"content"), "size": 7,
                }],
            });
            vec![registry.seed_manifest("app", Some("v1"), &artifact)]
        }
        "signed image" => {
            let image = Image::with_files(&["one"]).seed(registry, "app", "v1");
            registry.seed_blob("app", b"{}");
            let signature = json!({
                "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
                "artifactType": "application/vnd.example.signature",
                "config": {"mediaType": MediaType::OCI_EMPTY, "digest": Digest::sha256(b"{}"), "size": 2},
                "layers": [],
                "subject": entry(registry, &image),
            });
            vec![image, registry.seed_manifest("app", None, &signature)]
        }
        _ => unreachable!("{shape}"),
    }
}

fn digest_of(entry: &Value) -> Digest {
    entry["digest"].as_str().unwrap().parse().unwrap()
}

fn digests(root: Digest, entries: &[Value]) -> Vec<Digest> {
    std::iter::once(root)
        .chain(entries.iter().map(digest_of))
        .collect()
}

// The registry answers while this thread waits for a command.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_comes_back_as_it_was(
    #[values("image", "index", "nested index", "artifact", "signed image")] shape: &str,
    #[values("oci", "oci-archive", "dir")] transport: &str,
) {
    install_tls_provider();
    let (source, destination) = (Registry::start().await, Registry::start().await);
    let manifests = seed(&source, shape);
    let directory = tempfile::tempdir().unwrap();
    let place = place(transport, directory.path());
    let from = format!("{}/app:v1", source.host());
    let to = format!("{}/app:v1", destination.host());

    succeed(&["copy", &from, &place]);
    assert_eq!(succeed(&["digest", &place]).trim(), manifests[0].as_str());
    succeed(&["verify", &place]);
    succeed(&["copy", &place, &to]);
    for digest in &manifests {
        let before = source.manifest("app", digest.as_str()).unwrap();
        let after = destination.manifest("app", digest.as_str());
        let after = after.unwrap_or_else(|| panic!("{digest} is missing"));
        assert_eq!(after.bytes, before.bytes);
        assert_eq!(after.media_type, before.media_type);
    }
    let tagged = destination.manifest("app", "v1").unwrap();
    assert_eq!(Digest::sha256(&tagged.bytes), manifests[0]);
    destination.assert_never_incomplete();

    // skopeo reads the same bytes.
    let raw = skopeo(&["inspect", "--raw", &place]);
    assert_eq!(Digest::sha256(&raw), manifests[0]);
    if shape == "image" || shape == "index" {
        let copy = format!("dir:{}", directory.path().join("copy").display());
        skopeo(&["copy", "--all", &place, &copy]);
        assert_eq!(succeed(&["digest", &copy]).trim(), manifests[0].as_str());
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_skopeo_writes_is_read(#[values("image", "index")] shape: &str) {
    install_tls_provider();
    let (source, destination) = (Registry::start().await, Registry::start().await);
    let manifests = seed(&source, shape);
    let directory = tempfile::tempdir().unwrap();
    let from = format!("docker://{}/app:v1", source.host());
    for transport in PLACES {
        let place = place(transport, directory.path());
        skopeo(&[
            "copy",
            "--all",
            "--preserve-digests",
            "--src-tls-verify=false",
            &from,
            &place,
        ]);
        let to = format!("{}/{transport}:v1", destination.host());
        succeed(&["copy", &place, &to]);
        for digest in &manifests {
            let there = destination.manifest(transport, digest.as_str());
            let before = source.manifest("app", digest.as_str()).unwrap();
            assert_eq!(there.unwrap().bytes, before.bytes, "{transport}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layout_takes_more_images_and_sends_nothing_twice() {
    install_tls_provider();
    let source = Registry::start().await;
    Image::with_files(&["the base", "one"]).seed(&source, "app", "v1");
    Image::with_files(&["the base", "two"]).seed(&source, "app", "v2");
    let directory = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}", directory.path().join("layout").display());
    let repository = format!("{}/app", source.host());
    for (tag, sent) in [("v1", 3), ("v2", 2), ("v2", 0)] {
        let to = format!("{layout}:{tag}");
        let output = succeed(&["copy", "--json", &format!("{repository}:{tag}"), &to]);
        let totals: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
        assert_eq!(totals["totals"]["blobsSent"], sent, "{tag}");
    }
    assert_eq!(succeed(&["list-tags", &layout]), "v1\nv2\n");
    let output = transship(&["digest", &layout]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("name one of them: v1, v2"), "{error}");

    // All of them at once, and back.
    let archive = format!("oci-archive:{}", directory.path().join("all.tar").display());
    succeed(&["copy", "--all-tags", &layout, &archive]);
    let destination = Registry::start().await;
    let to = format!("{}/app", destination.host());
    succeed(&["copy", "--all-tags", &archive, &to]);
    for tag in ["v1", "v2"] {
        let before = source.manifest("app", tag).unwrap();
        assert_eq!(
            destination.manifest("app", tag).unwrap().bytes,
            before.bytes
        );
    }
    // The same images make the same archive.
    let again = format!(
        "oci-archive:{}",
        directory.path().join("again.tar").display()
    );
    succeed(&["copy", &format!("{layout}:v1"), &again]);
    let refused = transship(&["copy", &format!("{layout}:v1"), &again]);
    assert_eq!(
        refused.status.code(),
        Some(1),
        "an archive cannot be added to"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found_and_nothing_of_it_goes_on() {
    install_tls_provider();
    let source = Registry::start().await;
    let digest = Image::with_files(&["one"]).seed(&source, "app", "v1");
    let manifest: Value =
        serde_json::from_slice(&source.manifest("app", "v1").unwrap().bytes).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let place = place("oci", directory.path());
    succeed(&["copy", &format!("{}/app:v1", source.host()), &place]);
    let blobs = directory.path().join("oci/blobs/sha256");
    let file = blobs.join(layer.trim_start_matches("sha256:"));
    let sound = std::fs::read(&file).unwrap();

    let mut damaged = sound.clone();
    damaged[20] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    let output = transship(&["verify", &place]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains(layer));
    let destination = Registry::start().await;
    let to = format!("{}/app:v1", destination.host());
    assert_eq!(transship(&["copy", &place, &to]).status.code(), Some(10));
    assert!(destination.manifest("app", digest.as_str()).is_none());

    // A link could lead to any file of this machine.
    std::fs::remove_file(&file).unwrap();
    let elsewhere = directory.path().join("elsewhere");
    std::fs::write(&elsewhere, sound).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    assert_eq!(transship(&["copy", &place, &to]).status.code(), Some(10));
    assert!(destination.manifest("app", digest.as_str()).is_none());
}

#[test]
fn what_is_no_place_for_images_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("letter.txt"), "dear").unwrap();
    for transport in ["oci", "dir"] {
        let place = format!("{transport}:{}", directory.path().display());
        for arguments in [
            &["digest", &place][..],
            &["copy", "localhost:1/app:v1", &place],
        ] {
            let output = transship(arguments);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        }
    }
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
}
