//! Images whose layers are real tar files, in a registry and in archives; and copies of them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use transship::copy::{
    Copied, Counters, Failure, ImageCopy, ManifestName, Options, TagPolicy, Target, Unobserved,
    copy_images,
};
use transship::oci::{Digest, MediaType};
use transship::transport::{Destination, RegistryRepository, Source};

use crate::support::registry::Registry;
use crate::support::{client, plain};

/// An image as its parts.
pub(crate) struct Image {
    pub(super) config: Vec<u8>,
    /// Uncompressed.
    pub(super) layers: Vec<Vec<u8>>,
}

impl Image {
    /// An image with one layer for each text, which is the content of a file in it.
    pub(crate) fn with_files(texts: &[&str]) -> Self {
        let layers: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| tar(&[(&format!("file-{index}"), text.as_bytes())]))
            .collect();
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/file-0"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Self {
            config: config.to_string().into_bytes(),
            layers,
        }
    }

    pub(super) fn id(&self) -> Digest {
        Digest::sha256(&self.config)
    }

    pub(super) fn diff_ids(&self) -> Vec<String> {
        let digest = |layer: &Vec<u8>| Digest::sha256(layer).to_string();
        self.layers.iter().map(digest).collect()
    }

    /// The manifest of the image with its layers as `layer` stores them under a media type.
    pub(super) fn manifest(
        &self,
        layer_type: &str,
        mut layer: impl FnMut(&[u8]) -> (Digest, usize),
    ) -> Value {
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|content| {
                let (digest, size) = layer(content);
                json!({"mediaType": layer_type, "digest": digest, "size": size})
            })
            .collect();
        json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "config": {
                "mediaType": MediaType::OCI_CONFIG,
                "digest": self.id(),
                "size": self.config.len(),
            },
            "layers": layers,
        })
    }

    /// Puts the image with gzip layers into a registry.
    pub(crate) fn seed(&self, registry: &Registry, repository: &str, tag: &str) -> Digest {
        registry.seed_blob(repository, &self.config);
        let manifest = self.manifest(MediaType::OCI_LAYER_GZIP, |layer| {
            let packed = gzip(layer);
            (registry.seed_blob(repository, &packed), packed.len())
        });
        registry.seed_manifest(repository, Some(tag), &manifest)
    }

    /// What `docker save` of the versions before 25 writes: a layer that was there before is a link.
    pub(super) fn saved(&self, name: &str) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut names = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let name = format!("{index:064}/layer.tar");
            let first = self.layers.iter().position(|other| other == layer).unwrap();
            if first == index {
                append(&mut archive, &name, layer);
            } else {
                append_link(&mut archive, &name, &format!("../{first:064}/layer.tar"));
            }
            names.push(name);
        }
        let config = format!("{}.json", hex(&self.id()));
        append(&mut archive, &config, &self.config);
        let table = json!([{"Config": config, "RepoTags": [name], "Layers": names}]);
        append(&mut archive, "manifest.json", table.to_string().as_bytes());
        archive.into_inner().unwrap()
    }
}

/// A tar file with these files.
pub(super) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        append(&mut archive, name, content);
    }
    archive.into_inner().unwrap()
}

pub(super) fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content).unwrap();
}

/// A symbolic link, with whatever name and target.
pub(super) fn append_link(archive: &mut tar::Builder<Vec<u8>>, name: &str, target: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_path(name).unwrap();
    header.set_link_name_literal(target).unwrap();
    header.set_cksum();
    archive.append(&header, &[][..]).unwrap();
}

pub(super) fn hex(digest: &Digest) -> &str {
    digest.as_str().split_once(':').unwrap().1
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .args(["--no-name", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let content = content.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&content).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

/// A repository of a registry of the tests as a place.
pub(crate) fn repository(registry: &Registry, name: &str) -> Arc<RegistryRepository> {
    Arc::new(RegistryRepository::new(
        client(registry.host(), &plain()),
        registry.host().parse().unwrap(),
        name.parse().unwrap(),
    ))
}

/// Copies one image with the engine.
pub(super) async fn copy(
    source: Arc<dyn Source>,
    image: ManifestName,
    place: Arc<dyn Destination>,
    tag: Option<&str>,
) -> Result<Copied, Failure> {
    let task = ImageCopy {
        source,
        image,
        targets: vec![Target {
            place,
            tag: tag.map(|tag| tag.parse().unwrap()),
            existing: TagPolicy::default(),
        }],
    };
    copy_all(&[task]).await.remove(0)
}

/// Copies each image to its one target.
pub(super) async fn copy_all(tasks: &[ImageCopy]) -> Vec<Result<Copied, Failure>> {
    let options = Options {
        first_wait: Duration::from_millis(1),
        ..Options::default()
    };
    let counters = Arc::new(Counters::default());
    copy_images(tasks, &options, counters, Arc::new(Unobserved))
        .await
        .into_iter()
        .map(|mut outcome| outcome.remove(0))
        .collect()
}

pub(super) fn tagged(tag: &str) -> ManifestName {
    ManifestName::Tag(tag.parse().unwrap())
}

/// What skopeo prints, which must succeed.
pub(super) fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo")
        .args([
            "--insecure-policy",
            "--override-os=linux",
            "--override-arch=amd64",
        ])
        .args(arguments)
        .output()
        .expect("the Debian package skopeo is needed for these tests");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {arguments:?}: {error}");
    output.stdout
}

/// `TRANSPORT:PATH[:NAME]` for skopeo.
pub(super) fn archive(path: &Path, name: &str) -> String {
    format!("docker-archive:{}{name}", path.display())
}
