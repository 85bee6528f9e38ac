//! Layouts in archives that are damaged, or made to be misread: each is refused with a sentence that
//! says why, and nothing of it reaches a registry.

#![expect(
    clippy::indexing_slicing,
    reason = "what tests share fails like a test: by panicking"
)]

use std::sync::Arc;

use rstest::rstest;
use serde_json::{Value, json};
use transship::copy::ManifestName;
use transship::oci::{Digest, MediaType};
use transship::transport::LayoutSource;

use super::images::{Image, append, append_link, copy, gzip, hex, repository};
use crate::support::registry::Registry;

type Archive = tar::Builder<Vec<u8>>;

const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", hex(digest))
}

/// The parts of a layout with one image.
struct Layout {
    marker: Option<Vec<u8>>,
    index: Value,
    blobs: Vec<(String, Vec<u8>)>,
    manifest: Value,
}

impl Layout {
    fn new() -> Self {
        let image = Image::with_files(&["one", "two"]);
        let mut blobs = vec![(blob_name(&image.id()), image.config.clone())];
        let manifest = image.manifest(MediaType::OCI_LAYER_GZIP, |layer| {
            let packed = gzip(layer);
            let digest = Digest::sha256(&packed);
            let size = packed.len();
            blobs.push((blob_name(&digest), packed));
            (digest, size)
        });
        Self {
            marker: Some(MARKER.to_vec()),
            index: json!({}),
            blobs,
            manifest,
        }
    }

    /// The archive, after `change` has been at the entry of the index and at the tar file.
    fn pack(mut self, change: impl FnOnce(&mut Archive, &mut Value)) -> Vec<u8> {
        let manifest = self.manifest.to_string().into_bytes();
        let digest = Digest::sha256(&manifest);
        let mut entry = json!({
            "mediaType": MediaType::OCI_MANIFEST, "digest": digest, "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": "v1"},
        });
        self.blobs.push((blob_name(&digest), manifest));
        let mut archive = tar::Builder::new(Vec::new());
        if let Some(marker) = &self.marker {
            append(&mut archive, "oci-layout", marker);
        }
        for (name, content) in &self.blobs {
            append(&mut archive, name, content);
        }
        change(&mut archive, &mut entry);
        if self.index == json!({}) {
            self.index = json!({"schemaVersion": 2, "manifests": [entry]});
        }
        if !self.index.is_null() {
            let index = self.index.to_string();
            append(&mut archive, "index.json", index.as_bytes());
        }
        archive.into_inner().unwrap()
    }
}

fn sound() -> Vec<u8> {
    Layout::new().pack(|_, _| ())
}

fn with(change: impl FnOnce(&mut Layout)) -> Vec<u8> {
    let mut layout = Layout::new();
    change(&mut layout);
    layout.pack(|_, _| ())
}

fn marked(marker: &[u8]) -> Vec<u8> {
    with(|layout| layout.marker = Some(marker.to_vec()))
}

fn indexed(index: Value) -> Vec<u8> {
    with(|layout| layout.index = index)
}

/// The archive with the file of the last layer changed.
fn with_layer(change: impl FnOnce(&mut String, &mut Vec<u8>)) -> Vec<u8> {
    with(|layout| {
        let (name, content) = layout.blobs.last_mut().unwrap();
        change(name, content);
    })
}

fn added(name: &str) -> Vec<u8> {
    Layout::new().pack(|archive, _| append(archive, name, b"x"))
}

/// The archive with one more entry of this kind.
fn with_entry(change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    Layout::new().pack(|archive, _| {
        let mut header = tar::Header::new_gnu();
        header.set_path("extra").unwrap();
        header.set_size(0);
        change(&mut header);
        header.set_cksum();
        archive.append(&header, &[][..]).unwrap();
    })
}

/// The archive whose last layer is a link to `target`.
fn linked(target: &str) -> Vec<u8> {
    let mut layout = Layout::new();
    let (name, _) = layout.blobs.pop().unwrap();
    layout.pack(|archive, _| append_link(archive, &name, target))
}

fn literal_name(name: &[u8]) -> Vec<u8> {
    with_entry(|header| {
        let field = &mut header.as_gnu_mut().unwrap().name;
        field.fill(0);
        field
            .iter_mut()
            .zip(name)
            .for_each(|(to, from)| *to = *from);
    })
}

fn entry(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    Layout::new().pack(|_, entry| change(entry))
}

fn compressed() -> Vec<u8> {
    let mut content = gzip(&sound());
    content.resize(content.len().next_multiple_of(512), 0);
    content
}

fn flipped(position: usize) -> Vec<u8> {
    let mut content = sound();
    content[position] ^= 1;
    content
}

fn many_entries() -> Vec<u8> {
    Layout::new().pack(|archive, _| {
        for number in 0..66_000 {
            append(archive, &format!("{number}"), b"");
        }
    })
}

/// What is said of the archive, when it is opened or copied.
async fn refusal(content: &[u8]) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hostile.tar");
    std::fs::write(&path, content).unwrap();
    let source = match LayoutSource::open_archive(&path).await {
        Ok(source) => source,
        Err(error) => return Some(error.to_string()),
    };
    let image = match source.only_image() {
        Ok(digest) => ManifestName::Digest(digest.clone()),
        Err(error) => return Some(error.to_string()),
    };
    let registry = Registry::start().await;
    let copied = copy(
        Arc::new(source),
        image,
        repository(&registry, "app"),
        Some("v1"),
    )
    .await;
    assert_eq!(registry.manifest("app", "v1").is_some(), copied.is_ok());
    registry.assert_never_incomplete();
    copied.err().map(|failure| failure.message)
}

#[rstest]
#[case::empty_file(Vec::new(), "cut short")]
#[case::no_tar(vec![b'x'; 10_000], "not a tar archive")]
#[case::compressed(compressed(), "compressed as a whole")]
#[case::damaged_header(flipped(0), "not a tar archive, or damaged, at byte 0")]
#[case::damaged_checksum(flipped(150), "not a tar archive")]
#[case::many_entries(many_entries(), "more than 65536 entries")]
#[case::absolute_name(literal_name(b"/etc/passwd"), "absolute")]
#[case::name_that_leads_out(literal_name(b"../../etc/passwd"), "leads out")]
#[case::name_that_leads_out_at_the_end(literal_name(b"a/../../b"), "leads out")]
#[case::name_that_is_no_text(literal_name(b"\xff\xfe"), "a name")]
#[case::character_device(with_entry(|header| header.set_entry_type(tar::EntryType::Char)), "of a kind")]
#[case::block_device(with_entry(|header| header.set_entry_type(tar::EntryType::Block)), "of a kind")]
#[case::pipe(with_entry(|header| header.set_entry_type(tar::EntryType::Fifo)), "of a kind")]
#[case::sparse_file(with_entry(|header| header.set_entry_type(tar::EntryType::GNUSparse)), "of a kind")]
#[case::more_bytes_than_there_are(with_entry(|header| header.set_size(1 << 40)), "cut short")]
#[case::most_bytes_that_can_be_said(with_entry(|header| header.set_size(u64::MAX >> 1)), "cut short")]
#[case::link_to_the_machine(linked("/etc/passwd"), "absolute")]
#[case::link_that_leads_out(linked("../../../../etc/passwd"), "leads out")]
#[case::link_to_nothing(linked("nothing"), "has no blob")]
#[case::link_to_another_file(linked("../../oci-layout"), "has not the")]
#[case::no_marker(with(|layout| layout.marker = None), "no OCI image layout")]
#[case::other_version(marked(br#"{"imageLayoutVersion":"2.0.0"}"#), "another version")]
#[case::marker_without_version(marked(b"{}"), "cannot be read")]
#[case::marker_that_is_no_json(marked(b"1.0.0"), "cannot be read")]
#[case::large_marker(marked(&[b' '; 5000]), "more than 4096 bytes")]
#[case::no_index(indexed(Value::Null), "no index.json")]
#[case::index_that_is_none(indexed(json!([])), "index.json")]
#[case::index_with_layers(indexed(json!({"manifests": [], "layers": []})), "ambiguous")]
#[case::index_of_another_schema(indexed(json!({"schemaVersion": 1, "manifests": []})), "schemaVersion")]
#[case::index_of_nothing(indexed(json!({"schemaVersion": 2, "manifests": []})), "no image that could be meant")]
#[case::large_index(indexed(json!({"manifests": [], "x": "x".repeat(4 << 20)})), "more than")]
#[case::index_twice(added("index.json"), "two entries of it have the name")]
#[case::marker_twice(added("./oci-layout"), "two entries of it have the name")]
#[case::digest_that_is_none(entry(|entry| *entry = json!({"mediaType": MediaType::OCI_MANIFEST, "size": 1, "digest": "sha256:../../x"})), "digest")]
#[case::unknown_algorithm(entry(|entry| *entry = json!({"mediaType": MediaType::OCI_MANIFEST, "size": 1, "digest": "md5:00"})), "algorithm")]
#[case::manifest_that_is_not_there(entry(|entry| *entry = json!({"mediaType": MediaType::OCI_MANIFEST, "size": 1, "digest": Digest::sha256(b"x")})), "has no")]
#[case::manifest_that_is_a_layer(with(|layout| layout.manifest = json!("x")), "is no manifest")]
#[case::manifest_without_config(with(|layout| layout.manifest = json!({"mediaType": MediaType::OCI_MANIFEST, "layers": []})), "without `config`")]
#[case::damaged_layer(with_layer(|_, content| content.iter_mut().for_each(|byte| *byte ^= 1)), "hashes to")]
#[case::longer_layer(with_layer(|_, content| content.push(0)), "has not the")]
#[case::shorter_layer(with_layer(|_, content| { content.pop(); }), "has not the")]
#[case::empty_layer(with_layer(|_, content| content.clear()), "has not the")]
#[case::layer_under_another_name(with_layer(|name, _| name.push('0')), "has no blob")]
#[case::layer_in_another_place(with_layer(|name, _| name.insert(0, 'x')), "has no blob")]
#[tokio::test]
async fn is_refused(#[case] content: Vec<u8>, #[case] expected: &str) {
    let message = refusal(&content).await.expect("it was copied");
    assert!(message.contains(expected), "{message}");
    assert!(message.len() < 1000, "{message}");
}

#[tokio::test]
async fn an_archive_that_is_cut_at_any_block_is_refused() {
    let sound = sound();
    assert_eq!(refusal(&sound).await, None);
    // The end mark has two blocks, of which the second only fills up.
    for length in (0..sound.len() - 1024).step_by(512) {
        let message = refusal(&sound[..length]).await;
        assert!(
            message.is_some_and(|message| message.contains("cut short")),
            "{length}"
        );
    }
}
