//! A context that is mounted: what Kubernetes makes of a `ConfigMap`.
//!
//! Every name there is a link through `..data` to a directory that the kubelet replaces as a whole. What
//! is copied is that directory; other links are none of Kubernetes'.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::invalid;
use super::unpack::MAX_DEPTH;
use crate::build::BuildFailure;
use crate::worker::build::failure::of_disk;

/// The link to the directory with the present content.
const CURRENT: &str = "..data";

/// Copies what is mounted at `from` into the new directory `to`.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), BuildFailure> {
    let failed = |error: &io::Error| of_disk("cannot copy the mounted files", error);
    let from = current(from).map_err(|error| failed(&error))?;
    let mut waiting = vec![(from, to.to_owned(), 0)];
    while let Some((from, to, depth)) = waiting.pop() {
        if depth > MAX_DEPTH {
            return Err(invalid("the mounted files lie too deep".to_owned()));
        }
        let entries = make(&from, &to).map_err(|error| failed(&error))?;
        for entry in entries {
            let entry = entry.map_err(|error| failed(&error))?;
            let kind = entry.file_type().map_err(|error| failed(&error))?;
            let target = to.join(entry.file_name());
            if kind.is_dir() {
                waiting.push((entry.path(), target, depth + 1));
            } else if kind.is_file() {
                fs::copy(entry.path(), target).map_err(|error| failed(&error))?;
            } else {
                return Err(invalid(format!(
                    "{} is no file of a ConfigMap",
                    entry.file_name().display()
                )));
            }
        }
    }
    Ok(())
}

/// The directory with the files: the one that `..data` leads to, or itself.
fn current(directory: &Path) -> io::Result<PathBuf> {
    match fs::read_link(directory.join(CURRENT)) {
        Ok(target) if target.components().count() == 1 => Ok(directory.join(target)),
        Ok(_) => Err(io::ErrorKind::InvalidInput.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(directory.to_owned()),
        Err(error) => Err(error),
    }
}

fn make(from: &Path, to: &Path) -> io::Result<fs::ReadDir> {
    DirBuilder::new().mode(0o755).create(to)?;
    fs::read_dir(from)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::reason::Reason;

    #[test]
    fn the_present_content_is_copied_without_the_links_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("..2026_11_28/conf")).unwrap();
        fs::write(from.join("..2026_11_28/Dockerfile"), "FROM scratch\n").unwrap();
        fs::write(from.join("..2026_11_28/conf/app"), "x").unwrap();
        symlink("..2026_11_28", from.join(CURRENT)).unwrap();
        symlink("..data/Dockerfile", from.join("Dockerfile")).unwrap();
        symlink("..data/conf", from.join("conf")).unwrap();

        copy(&from, &to).unwrap();
        assert_eq!(
            fs::read_to_string(to.join("Dockerfile")).unwrap(),
            "FROM scratch\n"
        );
        assert_eq!(fs::read_to_string(to.join("conf/app")).unwrap(), "x");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 2);
        assert!(!to.join("Dockerfile").is_symlink());
    }

    #[test]
    fn other_links_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir(&from).unwrap();
        symlink("/etc/passwd", from.join("Dockerfile")).unwrap();
        let failure = copy(&from, &to).unwrap_err();
        assert_eq!(failure.reason, Reason::ContextInvalid);
        assert!(!to.join("Dockerfile").exists());
    }
}
