//! Runs command line tools.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Standard output of a command that must succeed.
pub(crate) fn run(command: &[&str]) -> String {
    try_run(command).unwrap_or_else(|message| panic!("{command:?}: {message}"))
}

/// Standard output, or standard error of a command that fails.
pub(crate) fn try_run(command: &[&str]) -> Result<String, String> {
    run_with_input(command, "")
}

/// Like [`try_run`], with standard input.
pub(crate) fn run_with_input(command: &[&str], input: &str) -> Result<String, String> {
    let (program, arguments) = command.split_first().expect("a command has a program");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes())
        .expect("the tool reads its input");
    let output = child.wait_with_output().expect("the tool ends");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Puts the plugin of kubectl into a directory, which has to be on `PATH`.
pub(crate) fn link_plugin(directory: &Path) {
    let binary = assert_cmd::cargo::cargo_bin("transship");
    std::os::unix::fs::symlink(binary, directory.join("kubectl-transship")).unwrap();
}
