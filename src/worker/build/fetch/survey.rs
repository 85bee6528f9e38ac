//! The last look at a context: everything gets the modes and the time that it is to have, and what no
//! build gets is refused by its name.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::invalid;
use super::unpack::{MAX_DEPTH, MAX_ENTRIES};
use crate::build::BuildFailure;
use crate::worker::build::failure::of_disk;

/// Links that are followed on the way to one file, as in Linux.
const MAX_LINKS: usize = 40;
const DIRECTORY_MODE: u32 = 0o755;
const PROGRAM_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
const ANY_EXECUTE: u32 = 0o111;

/// What there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Surveyed {
    /// Files, links included.
    pub(super) files: u64,
    /// Bytes of the files.
    pub(super) bytes: u64,
}

/// Walks through the context and settles all of it. `time` is in seconds since 1970.
pub(super) fn settle(context: &Path, time: i64) -> Result<Surveyed, BuildFailure> {
    let failed = |error: io::Error| of_disk("cannot settle the context", &error);
    let mut surveyed = Surveyed::default();
    let mut directories = vec![(PathBuf::new(), 0)];
    let mut waiting = directories.clone();
    let mut entries = 0;
    while let Some((directory, depth)) = waiting.pop() {
        let path = context.join(&directory);
        fs::set_permissions(&path, Permissions::from_mode(DIRECTORY_MODE)).map_err(failed)?;
        for entry in fs::read_dir(&path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            entries += 1;
            if entries > MAX_ENTRIES || depth > MAX_DEPTH {
                return Err(invalid(format!(
                    "the context has more than {MAX_ENTRIES} files, or more than {MAX_DEPTH} directories in one another"
                )));
            }
            let name = directory.join(name);
            let path = context.join(&name);
            let metadata = path.symlink_metadata().map_err(failed)?;
            if metadata.is_dir() {
                waiting.push((name.clone(), depth + 1));
                directories.push((name, depth + 1));
                continue;
            }
            surveyed.files += 1;
            if metadata.is_symlink() {
                check_link(context, &name)?;
            } else if metadata.is_file() {
                surveyed.bytes += metadata.len();
                let mode = metadata.permissions().mode();
                let mode = if mode & ANY_EXECUTE == 0 {
                    FILE_MODE
                } else {
                    PROGRAM_MODE
                };
                fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed)?;
            } else {
                return Err(invalid(format!(
                    "{} of the context is no file",
                    name.display()
                )));
            }
            set_time(&path, time).map_err(failed)?;
        }
    }
    // Afterwards: what is done in a directory changes its time.
    for (directory, _) in directories.iter().rev() {
        set_time(&context.join(directory), time).map_err(failed)?;
    }
    Ok(surveyed)
}

fn set_time(path: &Path, time: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: time,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Refuses a link that leads out of the context, by whatever other links.
fn check_link(context: &Path, link: &Path) -> Result<(), BuildFailure> {
    if stays_inside(context, link) {
        return Ok(());
    }
    Err(invalid(format!(
        "the link {} leads out of the context: replace it by the file, or choose a context with both in it",
        link.display()
    )))
}

/// Goes where the kernel would go, with `context` as the root that nothing leads above.
fn stays_inside(context: &Path, link: &Path) -> bool {
    let mut rest: Vec<OsString> = components(link);
    let mut reached = PathBuf::new();
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == OsStr::new("..") {
            if !reached.pop() {
                return false;
            }
            continue;
        }
        reached.push(&name);
        // No link, or nothing at all: whatever is made there is inside.
        let Ok(target) = fs::read_link(context.join(&reached)) else {
            continue;
        };
        links += 1;
        if target.is_absolute() {
            return false;
        }
        // Links that lead in a circle lead nowhere.
        if links > MAX_LINKS {
            return true;
        }
        reached.pop();
        rest.extend(components(&target));
    }
    true
}

/// The components of a relative path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let components = path.components().rev();
    components
        .filter(|component| !matches!(component, Component::CurDir))
        .map(|component| component.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use rstest::rstest;

    use super::*;
    use crate::reason::Reason;

    fn context() -> tempfile::TempDir {
        let context = tempfile::tempdir().unwrap();
        fs::create_dir_all(context.path().join("a/b/c")).unwrap();
        fs::create_dir(context.path().join("top")).unwrap();
        fs::write(context.path().join("a/file"), "content").unwrap();
        context
    }

    #[test]
    fn modes_and_times_are_the_same_wherever_it_was_made() {
        let context = context();
        let path = |name: &str| context.path().join(name);
        fs::write(path("a/b/run"), "run").unwrap();
        for (name, mode) in [
            ("a/file", 0o6600),
            ("a/b/run", 0o700),
            ("a/b", 0o777),
            ("a", 0o700),
        ] {
            fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
        }
        symlink("file", path("a/link")).unwrap();

        let surveyed = settle(context.path(), 1_700_000_000).unwrap();
        assert_eq!(
            surveyed,
            Surveyed {
                files: 3,
                bytes: 10
            }
        );
        for (name, mode) in [
            ("", 0o755),
            ("a", 0o755),
            ("a/b", 0o755),
            ("a/file", 0o644),
            ("a/b/run", 0o755),
        ] {
            let metadata = fs::metadata(path(name)).unwrap();
            assert_eq!(metadata.mode() & 0o7777, mode, "{name}");
        }
        for name in ["", "a", "a/b", "a/file", "a/b/run", "a/link"] {
            let metadata = path(name).symlink_metadata().unwrap();
            assert_eq!(metadata.mtime(), 1_700_000_000, "{name}");
        }
    }

    #[rstest]
    #[case::beside("file")]
    #[case::up_and_down("../a/b/../file")]
    #[case::to_the_root("..")]
    #[case::to_nothing("missing/../../a")]
    #[case::to_itself("link")]
    fn links_inside_are_kept(#[case] target: &str) {
        let context = context();
        symlink(target, context.path().join("a/link")).unwrap();
        assert_eq!(settle(context.path(), 0).unwrap().files, 2);
    }

    #[rstest]
    #[case::absolute("/etc/passwd")]
    #[case::of_the_system("/proc/self/environ")]
    #[case::above("../../file")]
    #[case::above_through_nothing("missing/../../../file")]
    #[case::far_above("../../../../../../../../etc")]
    fn links_that_lead_out_are_refused_by_name(#[case] target: &str) {
        let context = context();
        symlink(target, context.path().join("a/link")).unwrap();
        let failure = settle(context.path(), 0).unwrap_err();
        assert_eq!(failure.reason, Reason::ContextInvalid);
        assert!(failure.message.contains("a/link"), "{failure}");
    }

    /// `deep/..` is `a/b` as text, and the root for whoever goes there.
    #[test]
    fn links_lead_out_through_links() {
        let context = context();
        symlink("../../../top", context.path().join("a/b/c/deep")).unwrap();
        symlink("c/deep/../../outside", context.path().join("a/b/link")).unwrap();
        let failure = settle(context.path(), 0).unwrap_err();
        assert!(failure.message.contains("a/b/link"), "{failure}");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let context = context();
        let fifo = context.path().join("a/fifo");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(fifo)
                .status()
                .unwrap()
                .success()
        );
        let failure = settle(context.path(), 0).unwrap_err();
        assert!(failure.message.contains("a/fifo"), "{failure}");
    }
}
