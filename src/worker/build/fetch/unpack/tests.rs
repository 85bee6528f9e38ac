//! Tar files as they are, and as they should not be.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

use rstest::rstest;
use tar::Header;

use super::*;
use crate::reason::Reason;

/// A header with its checksum, and what follows it. Names are written as they are given.
fn entry(kind: EntryType, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o4755);
    let fields = header.as_gnu_mut().unwrap();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    entry.extend_from_slice(content);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn file(name: &str, content: &str) -> Vec<u8> {
    entry(EntryType::Regular, name, "", content.as_bytes())
}

fn link(name: &str, target: &str) -> Vec<u8> {
    entry(EntryType::Symlink, name, target, b"")
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    [&entries.concat()[..], &[0; 1024]].concat()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Unpacks layers one on top of the other.
fn unpack(layers: &[Vec<u8>]) -> (tempfile::TempDir, Result<(), BuildFailure>) {
    let directory = tempfile::tempdir().unwrap();
    let mut unpacking = Unpacking::begin(&directory.path().join("context")).unwrap();
    let result = layers
        .iter()
        .try_for_each(|layer| unpacking.unpack("layer", &layer[..]));
    (directory, result)
}

fn read(directory: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(directory.path().join("context").join(name)).unwrap()
}

#[rstest]
#[case::plain(|tar: Vec<u8>| tar)]
#[case::gzip(|tar: Vec<u8>| gzip(&tar))]
#[case::zstd(|tar: Vec<u8>| zstd::encode_all(&tar[..], 1).unwrap())]
fn files_are_unpacked(#[case] pack: fn(Vec<u8>) -> Vec<u8>) {
    let long = format!("{}/file", "n".repeat(150));
    let tar = archive(&[
        entry(
            EntryType::XGlobalHeader,
            "pax_global_header",
            "",
            b"19 comment=ignored\n",
        ),
        entry(EntryType::Directory, "./", "", b""),
        file("./Dockerfile", "FROM scratch\n"),
        file("/rooted", "rooted"),
        entry(
            EntryType::GNULongName,
            "././@LongLink",
            "",
            format!("{long}\0").as_bytes(),
        ),
        file("cut", "long"),
        file("a/b/c", "deep"),
        link("a/link", "b/c"),
        entry(EntryType::Link, "a/hard", "a/b/c", b""),
    ]);
    let (directory, result) = unpack(&[pack(tar)]);
    result.unwrap();
    for (name, content) in [
        ("Dockerfile", "FROM scratch\n"),
        ("rooted", "rooted"),
        (&long, "long"),
        ("a/b/c", "deep"),
        ("a/link", "deep"),
        ("a/hard", "deep"),
    ] {
        assert_eq!(read(&directory, name), content, "{name}");
    }
    let mode = fs::metadata(directory.path().join("context/Dockerfile"))
        .unwrap()
        .mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn layers_change_what_is_below_them() {
    let below = archive(&[
        file("kept", "kept"),
        file("gone", "gone"),
        file("emptied/old", "old"),
        link("replaced", "/etc/passwd"),
        file("was-file", "file"),
    ]);
    let above = archive(&[
        file(".wh.gone", ""),
        file("emptied/.wh..wh..opq", ""),
        file("emptied/new", "new"),
        file("replaced", "file"),
        file("was-file/inside", "directory"),
    ]);
    let (directory, result) = unpack(&[below, above]);
    result.unwrap();
    let path = |name: &str| directory.path().join("context").join(name);
    assert_eq!(read(&directory, "kept"), "kept");
    assert!(!path("gone").exists() && !path(".wh.gone").exists());
    let emptied: Vec<_> = fs::read_dir(path("emptied")).unwrap().collect();
    assert_eq!(emptied.len(), 1);
    assert!(!path("replaced").is_symlink());
    assert_eq!(read(&directory, "was-file/inside"), "directory");
}

#[rstest]
#[case::parent(&[file("../out", "x")], "leads out")]
#[case::there_and_back(&[file("a/../../context/x", "x")], "leads out")]
#[case::through_a_link(&[link("a", "/tmp"), file("a/x", "x")], "through a link")]
#[case::through_a_link_inside(&[link("a", "."), file("a/x", "x")], "through a link")]
#[case::hard_link_out(&[entry(EntryType::Link, "x", "../../secret", b"")], "leads out")]
#[case::hard_link_to_the_system(&[entry(EntryType::Link, "x", "/etc/passwd", b"")], "no file before it")]
#[case::hard_link_through_a_link(&[link("a", "/etc"), entry(EntryType::Link, "x", "a/passwd", b"")], "no file before it")]
#[case::hard_link_to_a_link(&[link("a", "/etc/passwd"), entry(EntryType::Link, "x", "a", b"")], "no file before it")]
#[case::device(&[entry(EntryType::Char, "null", "", b"")], "no file")]
#[case::block_device(&[entry(EntryType::Block, "disk", "", b"")], "no file")]
#[case::fifo(&[entry(EntryType::Fifo, "fifo", "", b"")], "no file")]
#[case::sparse(&[entry(EntryType::GNUSparse, "sparse", "", b"")], "no file")]
#[case::whiteout_out(&[file("a/.wh...", "")], "leads out")]
#[case::long_name(&[entry(EntryType::GNULongName, "x", "", &[b'n'; 5000]), file("x", "x")], "too long")]
#[case::long_extension(&[entry(EntryType::XHeader, "x", "", &vec![b'n'; 70_000])], "extended header")]
#[case::no_text(&[entry(EntryType::GNULongName, "x", "", b"\xff\0"), file("x", "x")], "no text")]
#[case::deep(&[entry(EntryType::GNULongName, "x", "", "a/".repeat(200).as_bytes()), file("x", "x")], "too deep")]
fn what_means_harm_is_refused(#[case] entries: &[Vec<u8>], #[case] expected: &str) {
    let (directory, result) = unpack(&[archive(entries)]);
    let failure = result.unwrap_err();
    assert_eq!(failure.reason, Reason::ContextInvalid);
    assert!(failure.message.contains(expected), "{failure}");
    let beside: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(beside.len(), 1);
}

#[rstest]
#[case::no_tar(b"<!DOCTYPE html>".repeat(100))]
#[case::cut(archive(&[file("a", &"x".repeat(2000))])[..1200].to_vec())]
#[case::cut_gzip(gzip(&archive(&[file("a", &"x".repeat(2000))]))[..40].to_vec())]
fn what_is_no_tar_file_is_said(#[case] content: Vec<u8>) {
    let (_directory, result) = unpack(&[content]);
    let failure = result.unwrap_err();
    assert_eq!(failure.reason, Reason::ContextInvalid);
    assert!(
        failure.message.contains("no tar file, or damaged"),
        "{failure}"
    );
}
