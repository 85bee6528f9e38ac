//! The binary as people use it.

mod credentials;
mod existing;
mod guides;
mod help;
mod images;
mod interruption;
mod kubectl;
mod limits;
mod seccomp_profile;
mod strict;
mod sync;
mod terminal;

use std::process::Output;

use serde_json::json;
use transship::oci::{Digest, Manifest, MediaType};
use transship::registry::Client;

use crate::support::{push_blob, repository};

/// The command line with nothing of this machine's user.
pub(crate) fn transship(arguments: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::cargo_bin("transship").unwrap();
    command.args(arguments).env_clear();
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    transship(arguments).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(super) fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = std::process::Command::new("skopeo")
        .args(arguments)
        .output()
        .expect("the Debian package skopeo is needed for these tests");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// An index of two platforms, with a layer that both have, under the tag `1`.
pub(super) struct Published {
    pub(super) index: Manifest,
    pub(super) amd64: Manifest,
    pub(super) shared_layer: Digest,
}

pub(super) async fn publish(client: &Client, name: &str) -> Published {
    let repository = repository(name);
    let shared = push_blob(client, &repository, b"a layer of both")
        .await
        .unwrap();
    let mut images = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config = json!({
            "architecture": architecture, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [
                shared.digest, Digest::sha256(architecture.as_bytes()),
            ]},
        });
        let config = push_blob(client, &repository, config.to_string().as_bytes())
            .await
            .unwrap();
        let own = push_blob(client, &repository, architecture.as_bytes())
            .await
            .unwrap();
        let document = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
            "config": {"mediaType": MediaType::OCI_CONFIG, "digest": config.digest, "size": config.size},
            "layers": [shared, own],
        });
        let image = Manifest::new(
            document.to_string().into(),
            MediaType::new(MediaType::OCI_MANIFEST),
        );
        client
            .put_manifest(&repository, &image, None)
            .await
            .unwrap();
        images.push(image);
    }
    let entries: Vec<_> = images
        .iter()
        .zip(["amd64", "arm64"])
        .map(|(image, architecture)| {
            json!({
                "mediaType": MediaType::OCI_MANIFEST, "digest": image.digest(),
                "size": image.bytes().len(),
                "platform": {"os": "linux", "architecture": architecture},
            })
        })
        .collect();
    let index =
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries});
    let index = Manifest::new(
        index.to_string().into(),
        MediaType::new(MediaType::OCI_INDEX),
    );
    let tag = "1".parse().unwrap();
    client
        .put_manifest(&repository, &index, Some(&tag))
        .await
        .unwrap();
    Published {
        index,
        amd64: images.swap_remove(0),
        shared_layer: shared.digest,
    }
}
