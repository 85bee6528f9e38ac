//! Git repositories, read from Git's own server over HTTP and from OpenSSH: what is brought, what is
//! refused and how that is said, and where credentials go.

mod credentials;
mod fetching;
mod hostile;
mod resolving;
mod ssh;
mod submodules;
mod trust;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use transship::git::{
    Checkout, CommitId, GitAccess, GitCredentials, GitError, ReferenceName, fetch, resolve,
};

/// Longer than anything takes here that is not broken.
const LIMIT: Duration = Duration::from_mins(2);

/// Access by a Secret with these keys, over plain HTTP, too.
fn access(entries: &[(&str, &str)]) -> GitAccess {
    let values: BTreeMap<_, _> = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
        .collect();
    let credentials = if values.is_empty() {
        GitCredentials::default()
    } else {
        GitCredentials::parse(&values).unwrap()
    };
    GitAccess {
        credentials,
        insecure: true,
    }
}

async fn resolve_branch(url: &str, name: &str, access: &GitAccess) -> Result<String, GitError> {
    resolve_reference(url, &ReferenceName::branch(name).unwrap(), access).await
}

/// The branch `main` is at `commit`, which has one file with this content.
async fn assert_brought(url: &str, commit: &str, access: &GitAccess, content: &str) {
    assert_eq!(resolve_branch(url, "main", access).await.unwrap(), commit);
    let volume = Volume::new();
    let made = volume.fetch(url, commit, &Wanted::default(), access).await;
    made.unwrap();
    assert_eq!(volume.files(), files(&[("file", content)]));
}

async fn resolve_reference(
    url: &str,
    reference: &ReferenceName,
    access: &GitAccess,
) -> Result<String, GitError> {
    let scratch = tempfile::tempdir().unwrap();
    let found = resolve(
        &url.parse().unwrap(),
        reference,
        access,
        scratch.path(),
        LIMIT,
    )
    .await;
    assert_eq!(names_in(scratch.path()), [""; 0], "nothing stays behind");
    found.map(String::from)
}

/// What a fetch is to bring; the rest is as usual.
#[derive(Default)]
struct Wanted<'a> {
    reference: Option<&'a str>,
    path: Option<&'a str>,
    submodules: bool,
}

/// A volume that a commit is fetched to.
struct Volume(TempDir);

impl Volume {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn context(&self) -> PathBuf {
        self.0.path().join("context")
    }

    async fn fetch(
        &self,
        url: &str,
        commit: &str,
        wanted: &Wanted<'_>,
        access: &GitAccess,
    ) -> Result<i64, GitError> {
        let scratch = tempfile::tempdir().unwrap();
        let commit: CommitId = commit.parse().unwrap();
        let reference = wanted.reference.map(|name| name.parse().unwrap());
        let checkout = Checkout {
            url: &url.parse().unwrap(),
            commit: &commit,
            reference: reference.as_ref(),
            path: wanted.path.map(Path::new),
            submodules: wanted.submodules,
            directory: &self.context(),
            workspace: self.0.path(),
        };
        let made = fetch(&checkout, access, scratch.path(), LIMIT).await;
        assert_eq!(names_in(scratch.path()), [""; 0], "nothing stays behind");
        let left = names_in(self.0.path());
        assert!(left.iter().all(|name| name == "context"), "{left:?}");
        made
    }

    /// The paths of everything in the context, and what files contain.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut waiting = vec![self.context()];
        while let Some(directory) = waiting.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let kind = path.symlink_metadata().unwrap();
                let name = path.strip_prefix(self.context()).unwrap();
                let name = name.to_str().unwrap().to_owned();
                if kind.is_dir() {
                    waiting.push(path);
                } else if kind.is_symlink() {
                    let target = std::fs::read_link(&path).unwrap();
                    files.insert(name, format!("-> {}", target.display()));
                } else {
                    files.insert(name, std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        files
    }

    fn mode(&self, name: &str) -> u32 {
        let metadata = std::fs::metadata(self.context().join(name)).unwrap();
        metadata.permissions().mode() & 0o7777
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// Files as [`Volume::files`] gives them.
fn files(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    let expected = expected.iter();
    expected
        .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()))
        .collect()
}
