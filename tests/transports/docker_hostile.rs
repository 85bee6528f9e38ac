//! Archives that are damaged, or made to be misread: each is refused with a sentence that says why.

#![expect(
    clippy::indexing_slicing,
    reason = "what tests share fails like a test: by panicking"
)]

use std::sync::Arc;

use rstest::rstest;
use serde_json::{Value, json};
use transship::copy::ManifestName;
use transship::oci::{Digest, MediaType};
use transship::transport::DockerArchiveSource;

use super::images::{Image, append, append_link, copy, gzip, hex, repository};
use crate::support::registry::Registry;

type Archive = tar::Builder<Vec<u8>>;

fn image() -> Image {
    Image::with_files(&["one", "two"])
}

/// An archive with a configuration, layers and whatever `change` makes of the table and adds.
fn archive(change: impl FnOnce(&mut Archive, &mut Value)) -> Vec<u8> {
    let image = image();
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "config.json", &image.config);
    append(&mut archive, "0/layer.tar", &image.layers[0]);
    append(&mut archive, "1/layer.tar", &image.layers[1]);
    let mut table = json!([{
        "Config": "config.json", "RepoTags": ["app:1"], "Layers": ["0/layer.tar", "1/layer.tar"],
    }]);
    change(&mut archive, &mut table);
    if !table.is_null() {
        append(&mut archive, "manifest.json", table.to_string().as_bytes());
    }
    archive.into_inner().unwrap()
}

/// An archive whose table has `value` in the place of `member`.
fn with(member: &str, value: Value) -> Vec<u8> {
    archive(|_, table| table[0][member] = value)
}

/// An archive in which the first layer is a chain of `links` that ends at `target`.
fn linked(links: usize, target: &str) -> Vec<u8> {
    archive(|archive, table| {
        for link in 1..links {
            append_link(archive, &format!("l{link}"), &format!("l{}", link + 1));
        }
        append_link(archive, &format!("l{links}"), target);
        table[0]["Layers"][0] = "l1".into();
    })
}

/// An archive with one more entry, whose header is as `change` leaves it.
fn with_entry(change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    archive(|archive, _| {
        let mut header = tar::Header::new_gnu();
        header.set_path("extra").unwrap();
        header.set_size(0);
        change(&mut header);
        header.set_cksum();
        archive.append(&header, &[][..]).unwrap();
    })
}

fn literal_name(name: &[u8]) -> Vec<u8> {
    with_entry(|header| header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name))
}

/// An archive with a layout whose index is `index`, and these blobs.
fn with_layout(index: &Value, blobs: &[(&Digest, &[u8])]) -> Vec<u8> {
    archive(|archive, _| {
        append(archive, "index.json", index.to_string().as_bytes());
        for (digest, content) in blobs {
            append(archive, &format!("blobs/sha256/{}", hex(digest)), content);
        }
    })
}

fn damaged_blob() -> Vec<u8> {
    let digest = Digest::sha256(b"{}");
    let entry = json!({"mediaType": MediaType::OCI_MANIFEST, "digest": digest, "size": 2});
    with_layout(
        &json!({"schemaVersion": 2, "manifests": [entry]}),
        &[(&digest, b"[]")],
    )
}

fn without_end() -> Vec<u8> {
    let mut content = archive(|_, _| ());
    content.truncate(content.len() - 1024);
    content
}

fn compressed() -> Vec<u8> {
    let mut content = gzip(&archive(|_, _| ()));
    // At least one block, as any real one has.
    content.resize(content.len().next_multiple_of(512), 0);
    content
}

fn flipped(position: usize) -> Vec<u8> {
    let mut content = archive(|_, _| ());
    content[position] ^= 1;
    content
}

#[rstest]
#[case::empty_file(Vec::new(), "cut short")]
#[case::no_tar(vec![b'x'; 10_000], "not a tar archive")]
#[case::compressed(compressed(), "compressed as a whole")]
#[case::no_end_mark(without_end(), "cut short")]
#[case::damaged_header(flipped(0), "not a tar archive, or damaged, at byte 0")]
#[case::no_table(archive(|_, table| *table = Value::Null), "it has no manifest.json")]
#[case::empty_table(archive(|_, table| *table = json!([])), "it holds no image")]
#[case::table_twice(archive(|archive, _| append(archive, "manifest.json", b"[]")), "two entries of it have the name")]
#[case::table_is_no_list(archive(|_, table| *table = json!({})), "the document itself")]
#[case::many_rows(archive(|_, table| *table = json!(vec![json!({"Config": "c"}); 100_000])), "more than 10000 members")]
#[case::large_table(archive(|_, table| *table = json!("x".repeat(5_000_000))), "has more than 4194304 bytes")]
#[case::no_config(with("Config", Value::Null), "`[0].Config`")]
#[case::config_is_missing(with("Config", json!("other.json")), "it has no file \"other.json\"")]
#[case::config_leads_out(with("Config", json!("../../etc/passwd")), "it has no file \"../../etc/passwd\"")]
#[case::config_is_no_json(with("Config", json!("0/layer.tar")), "malformed image configuration")]
#[case::config_of_another_digest(archive(|archive, table| {
    let name = format!("{}.json", "0".repeat(64));
    append(archive, &name, b"{}");
    table[0]["Config"] = name.into();
}), "hashes to")]
#[case::layer_is_missing(with("Layers", json!(["0/layer.tar", "2/layer.tar"])), "it has no file \"2/layer.tar\"")]
#[case::layer_is_absolute(with("Layers", json!(["0/layer.tar", "/etc/passwd"])), "it has no file \"/etc/passwd\"")]
#[case::fewer_layers(with("Layers", json!(["0/layer.tar"])), "has 1 layers, but its configuration names 2")]
#[case::more_layers(with("Layers", json!(vec!["0/layer.tar"; 3])), "has 3 layers")]
#[case::no_layers(with("Layers", Value::Null), "has 0 layers")]
#[case::name(with("RepoTags", json!(["../x:1"])), "`[0].RepoTags` has a name")]
#[case::zstd_layer(archive(|archive, table| {
    append(archive, "z.tar", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]);
    table[0]["Layers"][0] = "z.tar".into();
}), "something else than gzip")]
#[case::link_leads_out(linked(1, "../layer.tar"), "leads out of it")]
#[case::link_is_absolute(linked(1, "/etc/passwd"), "leads out of it")]
#[case::link_leads_nowhere(linked(1, "nowhere"), "it has no file \"l1\"")]
#[case::link_to_itself(linked(1, "l1"), "lead nowhere")]
#[case::loop_of_links(linked(3, "l1"), "lead nowhere")]
#[case::many_links(linked(20, "0/layer.tar"), "lead nowhere")]
#[case::name_leads_out(literal_name(b"a/../../b"), "leads out of it")]
#[case::name_is_absolute(literal_name(b"/etc/cron.d/x"), "leads out of it")]
#[case::name_is_no_text(literal_name(b"\xff\xfe"), "leads out of it")]
#[case::device(with_entry(|header| header.set_entry_type(tar::EntryType::Char)), "of a kind")]
#[case::sparse(with_entry(|header| header.set_entry_type(tar::EntryType::GNUSparse)), "of a kind")]
#[case::size_beyond_the_end(with_entry(|header| header.set_size(1 << 40)), "cut short")]
#[case::size_overflows(with_entry(|header| header.set_size(u64::MAX)), "cut short")]
#[case::large_extended_header(with_entry(|header| {
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(1 << 40);
}), "cut short")]
#[case::layout_is_no_json(with_layout(&json!("x"), &[]), "malformed manifest")]
#[case::layout_has_both(with_layout(&json!({"manifests": [], "layers": []}), &[]), "is ambiguous")]
#[case::layout_with_a_damaged_blob(damaged_blob(), "hashes to")]
#[tokio::test]
async fn archives_that_cannot_be_read_are_refused(
    #[case] content: Vec<u8>,
    #[case] expected: &str,
) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.tar");
    std::fs::write(&path, content).unwrap();
    let error = DockerArchiveSource::open(&path, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(expected), "{error}");
    assert!(error.len() < 1000 && !error.contains('\n'), "{error}");
}

/// Where the archive ends does not matter: nothing is taken for an image that is not all there.
#[tokio::test]
async fn an_archive_that_ends_anywhere_is_refused() {
    let whole = archive(|_, _| ());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.tar");
    for length in (0..whole.len() - 1023).step_by(512) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = DockerArchiveSource::open(&path, None)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("cut short"), "{length}: {error}");
    }
    std::fs::write(&path, whole).unwrap();
    assert!(DockerArchiveSource::open(&path, None).await.is_ok());
}

/// Layers are not hashed when the archive is opened; a false one is found when it is read, and no
/// image appears.
#[tokio::test]
async fn a_layer_that_is_not_what_the_configuration_says_is_not_copied() {
    let registry = Registry::start().await;
    let layers = json!(["1/layer.tar", "0/layer.tar"]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.tar");
    std::fs::write(&path, with("Layers", layers)).unwrap();
    let source = DockerArchiveSource::open(&path, None).await.unwrap();
    let image = ManifestName::Digest(source.image().clone());
    let failure = copy(
        Arc::new(source),
        image,
        repository(&registry, "copy"),
        Some("1"),
    )
    .await
    .unwrap_err();
    assert!(
        failure.message.contains("has content that hashes to"),
        "{failure}"
    );
    assert!(registry.manifest("copy", "1").is_none());
    registry.assert_never_incomplete();
}
