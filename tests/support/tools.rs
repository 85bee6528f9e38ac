//! Programs from Go modules that tests need; `make tools` builds them.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;

/// The path of a program of `tests/tools`.
pub(crate) fn tool(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("target/test-tools")
        .join(name);
    assert!(
        path.exists(),
        "{} does not exist: run `make tools` first",
        path.display()
    );
    path
}

/// What a program of `tests/tools` answers to its standard input, or its complaint.
pub(crate) async fn ask(name: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = tokio::process::Command::new(tool(name))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}
