//! `transship seccomp-profile`: how the profile of builders gets onto a node.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use super::{run, stderr};

fn profile(directory: &Path, options: &[&str]) -> Output {
    let directory = directory.to_str().unwrap();
    run(&[&["seccomp-profile", "--directory", directory], options].concat())
}

#[test]
fn the_profile_is_written_as_the_chart_has_it() {
    let node = tempfile::tempdir().unwrap();
    let directory = node.path().join("kubelet/seccomp");
    let file = directory.join("transship/build.json");
    let missing = profile(&directory, &["--check"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains(file.to_str().unwrap()));

    assert!(profile(&directory, &[]).status.success());
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/transship");
    let expected = fs::read(chart.join("files/seccomp/build.json")).unwrap();
    assert_eq!(fs::read(&file).unwrap(), expected);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o644
    );
    assert!(profile(&directory, &["--check"]).status.success());

    // What an older version has left is replaced, and nothing else is beside it.
    fs::write(&file, "{}").unwrap();
    let older = profile(&directory, &["--check"]);
    assert_eq!(older.status.code(), Some(1));
    assert!(profile(&directory, &[]).status.success());
    assert_eq!(fs::read(&file).unwrap(), expected);
    let entries = fs::read_dir(file.parent().unwrap()).unwrap();
    assert_eq!(entries.count(), 1);
}

#[test]
fn a_pod_waits_until_it_is_told_to_end() {
    let node = tempfile::tempdir().unwrap();
    let file = node.path().join("transship/build.json");
    let mut pod = Command::new(assert_cmd::cargo::cargo_bin("transship"))
        .args(["seccomp-profile", "--wait", "--directory"])
        .arg(node.path())
        .spawn()
        .unwrap();
    while !file.exists() {
        assert_eq!(pod.try_wait().unwrap(), None, "it has ended");
        std::thread::yield_now();
    }
    assert_eq!(pod.try_wait().unwrap(), None, "it has ended");
    let told = Command::new("kill").arg(pod.id().to_string()).status();
    assert!(told.unwrap().success());
    assert_eq!(pod.wait().unwrap().code(), Some(0));
}
