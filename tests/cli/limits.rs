//! A process that may not do all it wants: files that cannot grow, few open files, no place to write.

use std::path::Path;
use std::process::Output;

use rstest::rstest;
use tempfile::TempDir;

use super::images::mirror_file;
use super::stderr;
use crate::support::registry::Registry;

/// Runs the binary under a limit of the shell. A write beyond a limit fails instead of ending the
/// process.
fn within(limit: &str, arguments: &[&str]) -> Output {
    let binary = assert_cmd::cargo::cargo_bin("transship");
    std::process::Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; {limit}; exec \"$@\""), "sh"])
        .arg(binary)
        .args(arguments)
        .env_clear()
        .output()
        .unwrap()
}

fn copy_within(limit: &str, from: &str, to: &str) -> Output {
    within(limit, &["copy", "--quiet", from, to])
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<String> {
    let Ok(entries) = directory.read_dir() else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path.display().to_string()]
            }
        })
        .collect()
}

async fn source() -> Registry {
    let source = Registry::start().await;
    let layer = vec![7; 300_000];
    source.seed_image("app", Some("v1"), &[b"a small layer", &layer]);
    source
}

/// What a disk that is full looks like to the process: a write fails in the middle of a file.
#[rstest]
#[case::layout("oci:PATH:v1")]
#[case::layout_archive("oci-archive:PATH:v1")]
#[case::directory("dir:PATH")]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_is_not_there(#[case] to: &str) {
    let source = source().await;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("copy");
    let to = to.replace("PATH", path.to_str().unwrap());
    let from = format!("{}/app:v1", source.host());
    // 100 blocks of 512 bytes.
    let output = copy_within("ulimit -f 100", &from, &to);
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let message = stderr(&output);
    assert!(
        message.contains("too large") && message.contains("StorageFailed"),
        "{message}"
    );
    let left = files(directory.path());
    let is_whole = |file: &String| {
        let length = std::fs::metadata(file).unwrap().len();
        !file.ends_with(".partial") && length < 51_200
    };
    assert!(left.iter().all(is_whole), "{left:?}");
    assert!(
        !left.iter().any(|file| file.ends_with("index.json")),
        "{left:?}"
    );

    let output = copy_within("true", &from, &to);
    assert!(output.status.success(), "the next run succeeds: {output:?}");
}

#[rstest]
#[case::layout("oci:PATH/copy:v1")]
#[case::layout_archive("oci-archive:PATH/copy:v1")]
#[case::directory("dir:PATH/copy")]
#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_takes_no_files_is_named(#[case] to: &str) {
    let source = source().await;
    let directory = TempDir::new().unwrap();
    // Whoever runs this, nothing can be created below a file.
    let path = directory.path().join("a-file");
    std::fs::write(&path, "x").unwrap();
    let to = to.replace("PATH", path.to_str().unwrap());
    let output = copy_within("true", &format!("{}/app:v1", source.host()), &to);
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    let message = stderr(&output);
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    assert_eq!(std::fs::read(&path).unwrap(), b"x");
}

/// Connections are bounded, whatever there is to do.
#[tokio::test(flavor = "multi_thread")]
async fn many_images_need_few_open_files() {
    let (source, destination) = (Registry::start().await, Registry::start().await);
    for number in 0..60 {
        let layers: Vec<String> = (0..4).map(|layer| format!("{number}/{layer}")).collect();
        let layers: Vec<&[u8]> = layers.iter().map(String::as_bytes).collect();
        source.seed_image("app", Some(&format!("v{number}")), &layers);
    }
    let images: Vec<_> = (0..60)
        .map(|number| format!("{}/app:v{number}", source.host()))
        .collect();
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    let directory = TempDir::new().unwrap();
    let prefix = format!("{}/mirror", destination.host());
    let file = mirror_file(&directory, &images, &prefix);
    let output = within("ulimit -n 256", &["sync", "--quiet", "-f", &file]);
    assert!(output.status.success(), "{output:?}");
    let repository = format!("mirror/{}/app", source.host().replace(':', "_"));
    for number in 0..60 {
        let tag = format!("v{number}");
        let there = destination.manifest(&repository, &tag);
        assert_eq!(there, source.manifest("app", &tag), "{tag}");
    }
}

/// With room for the runtime and hardly a connection, the message says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_room_for_connections_says_so() {
    let source = source().await;
    let output = copy_within(
        "ulimit -n 10",
        &format!("{}/app:v1", source.host()),
        &format!("{}/mirror:v1", source.host()),
    );
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let message = stderr(&output);
    assert!(message.contains("ulimit -n"), "{message}");
}
