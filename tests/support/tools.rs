//! Programs from Go modules that tests need; `make tools` builds them.

use std::path::PathBuf;

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
