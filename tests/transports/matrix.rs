//! Every shape of image to and from every transport: what comes back is what went in, skopeo and
//! crane read the same, and what a transport cannot hold is refused with a reason.

#![expect(
    clippy::indexing_slicing,
    reason = "what tests share fails like a test: by panicking"
)]

use std::path::Path;

use rstest::rstest;
use serde_json::Value;

use super::images::skopeo;
use super::layouts::{place, succeed, succeed_with, transship_with};
use super::matrix_shapes::{Seeded, seed_shape};
use super::readings::crane;
use crate::support::docker_daemon::DockerDaemon;
use crate::support::install_tls_provider;
use crate::support::registry::Registry;

const SHAPES: [&str; 14] = [
    "image",
    "index",
    "nested index",
    "artifact",
    "signed image",
    "foreign layers",
    "inline data",
    "empty layer",
    "duplicate layers",
    "sha512",
    "zstd",
    "encrypted",
    "unknown media types",
    "attestation",
];
/// The transports that hold whatever there is.
const LOSSLESS: [&str; 3] = ["oci", "oci-archive", "dir"];

fn image(registry: &Registry) -> String {
    format!("{}/app:v1", registry.host())
}

/// Whether the registry has all of the image, byte for byte.
fn assert_same(source: &Registry, there: &Registry, seeded: &Seeded, way: &str) {
    for digest in &seeded.manifests {
        let before = source.manifest("app", digest.as_str()).unwrap();
        let after = there.manifest("app", digest.as_str());
        assert_eq!(after, Some(before), "{way}: {digest}");
    }
    let root = seeded.manifests[0].as_str();
    assert_eq!(
        there.manifest("app", "v1"),
        source.manifest("app", root),
        "{way}"
    );
    there.assert_never_incomplete();
}

// The registries answer while this thread waits for a command.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_survives_every_way(
    #[values("oci", "oci-archive", "dir")] first: &str,
    #[values("oci", "oci-archive", "dir")] second: &str,
) {
    install_tls_provider();
    for shape in SHAPES {
        let (source, destination) = (Registry::start().await, Registry::start().await);
        let seeded = seed_shape(&source, shape);
        let root = seeded.manifests[0].as_str();
        let directories = [0, 1].map(|_| tempfile::tempdir().unwrap());
        let [one, two] = [(first, 0), (second, 1)]
            .map(|(transport, number)| place(transport, directories[number].path()));
        succeed(&["copy", &image(&source), &one]);
        succeed(&["copy", &one, &two]);
        succeed(&["copy", &two, &image(&destination)]);
        assert_same(
            &source,
            &destination,
            &seeded,
            &format!("{shape} by {one} and {two}"),
        );
        succeed(&["verify", &two]);

        let raw = skopeo(&["inspect", "--raw", &two]);
        let before = source.manifest("app", root).unwrap().bytes;
        assert_eq!(raw, before, "{shape} in {two}");
        for digest in &seeded.manifests {
            let read = crane(&["manifest", &format!("{}/app@{digest}", destination.host())]);
            let before = source.manifest("app", digest.as_str()).unwrap().bytes;
            assert_eq!(read, before, "{shape}");
        }
    }
}

fn archive(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    format!("docker-archive:{}:corp.example/app:v1", path.display())
}

/// The image ID and what the layers unpack to, as skopeo reads a place.
fn identity(daemon: &DockerDaemon, place: &str) -> (Value, Value) {
    let host = daemon.host();
    let read = |what: &[&str]| {
        let mut arguments = vec!["inspect", "--raw", "--tls-verify=false"];
        if place.starts_with("docker-daemon:") {
            arguments.extend(["--daemon-host", &host]);
        }
        arguments.extend(what);
        arguments.push(place);
        let document: Value = serde_json::from_slice(&skopeo(&arguments)).unwrap();
        document
    };
    let manifest = read(&[]);
    let config = read(&["--config"]);
    (
        manifest["config"]["digest"].clone(),
        config["rootfs"]["diff_ids"].clone(),
    )
}

/// One daemon for all shapes, because its start takes most of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_takes_images_and_says_why_not_the_others() {
    install_tls_provider();
    let daemon = DockerDaemon::start().await;
    let in_daemon = "docker-daemon:corp.example/app:v1";
    let mut taken = 0;
    for shape in SHAPES {
        let source = Registry::start().await;
        let seeded = seed_shape(&source, shape);
        let directory = tempfile::tempdir().unwrap();
        let in_archive = archive(directory.path(), "app.tar");
        let from = LOSSLESS.map(|transport| place(transport, directory.path()));
        for place in &from {
            succeed(&["copy", &image(&source), place]);
        }
        let sources = from.iter().cloned().chain([image(&source)]);
        for (number, from) in sources.enumerate() {
            let archive = archive(directory.path(), &format!("{number}.tar"));
            for to in [&archive, in_daemon] {
                let copied = transship_with(&daemon.host(), &["copy", &from, to]);
                let message = String::from_utf8(copied.stderr).unwrap();
                match seeded.refusal {
                    None => assert!(copied.status.success(), "{shape} to {to}: {message}"),
                    Some(reason) => {
                        assert!(message.contains(reason), "{shape} to {to}: {message}");
                        assert_eq!(copied.status.code(), Some(10), "{shape} to {to}");
                        // Only the signature is refused; the image is there, and unsigned.
                        let file = directory.path().join(format!("{number}.tar"));
                        assert_eq!(file.exists(), shape == "signed image", "{shape}");
                    }
                }
            }
        }
        if seeded.refusal.is_some() {
            let images = daemon.answer(&["images", "--quiet"]);
            assert_eq!(images.is_empty(), shape != "signed image", "{shape}");
            if !images.is_empty() {
                daemon.answer(&["image", "rm", "corp.example/app:v1"]);
            }
            continue;
        }
        taken += 1;
        let expected = identity(&daemon, &format!("docker://{}", image(&source)));
        assert_eq!(identity(&daemon, in_daemon), expected, "{shape}");

        // Out of the daemon, through an archive and back into the daemon, and to all others.
        succeed_with(&daemon.host(), &["copy", in_daemon, &in_archive]);
        daemon.answer(&["image", "rm", "corp.example/app:v1"]);
        succeed_with(&daemon.host(), &["copy", &in_archive, in_daemon]);
        let back = tempfile::tempdir().unwrap();
        for (name, from) in [("daemon", in_daemon), ("archive", &in_archive)] {
            let mut places: Vec<_> = LOSSLESS
                .map(|transport| place(transport, &back.path().join(name)))
                .to_vec();
            places.push(archive(back.path(), &format!("{name}.tar")));
            for to in &places {
                succeed_with(&daemon.host(), &["copy", "--format", "oci", from, to]);
                assert_eq!(
                    identity(&daemon, to),
                    expected,
                    "{shape} from {from} to {to}"
                );
            }
            let registry = Registry::start().await;
            succeed_with(&daemon.host(), &["copy", from, &image(&registry)]);
            registry.assert_never_incomplete();
            // Of layers that are not compressed it reads the descriptors only.
            crane(&["validate", "--fast", "--remote", &image(&registry)]);
            let to = format!("docker://{}", image(&registry));
            assert_eq!(identity(&daemon, &to), expected, "{shape} from {from}");
        }
        daemon.answer(&["image", "rm", "corp.example/app:v1"]);
    }
    assert_eq!(taken, 5);
}
