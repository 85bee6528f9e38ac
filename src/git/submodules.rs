//! What `.gitmodules` says, and where it matters. Pure.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::CommitId;

/// The mode that a tree has for a commit of another repository.
const LINK_MODE: &str = "160000";

/// One entry of `.gitmodules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submodule {
    /// Where it belongs, from the root of the repository.
    pub(super) path: String,
    /// Where it comes from, as it is written.
    pub(super) url: String,
}

/// Reads what `git config --null --list` gives of a `.gitmodules`. Entries without path or address, or
/// with a path that leads out, are none.
pub(super) fn parse(listing: &[u8]) -> Vec<Submodule> {
    let mut entries: BTreeMap<&str, (Option<&str>, Option<&str>)> = BTreeMap::new();
    for entry in listing.split(|byte| *byte == 0) {
        let Ok(entry) = str::from_utf8(entry) else {
            continue;
        };
        let Some((name, field, value)) = entry.split_once('\n').and_then(|(key, value)| {
            let (name, field) = key.strip_prefix("submodule.")?.rsplit_once('.')?;
            Some((name, field, value))
        }) else {
            continue;
        };
        let entry = entries.entry(name).or_default();
        match field {
            "path" => entry.0 = Some(value),
            "url" => entry.1 = Some(value),
            _ => {}
        }
    }
    entries
        .into_values()
        .filter_map(|(path, url)| {
            Some(Submodule {
                path: path
                    .filter(|path| is_inside(path))?
                    .trim_end_matches('/')
                    .to_owned(),
                url: url?.to_owned(),
            })
        })
        .collect()
}

fn is_inside(path: &str) -> bool {
    let is_name = |component: Component<'_>| matches!(component, Component::Normal(_));
    !path.is_empty() && Path::new(path).components().all(is_name)
}

/// A path from `directory` on, when it lies below.
pub(super) fn below(path: &str, directory: Option<&Path>) -> Option<PathBuf> {
    let path = Path::new(path);
    let inside = match directory {
        Some(directory) => path.strip_prefix(directory).ok()?,
        None => path,
    };
    (!inside.as_os_str().is_empty()).then(|| inside.to_owned())
}

/// The commit that `git ls-tree -z` lists at `path`, when it is one.
pub(super) fn link(listing: &[u8], path: &str) -> Option<CommitId> {
    let listing = str::from_utf8(listing).ok()?;
    listing.split('\0').find_map(|entry| {
        let (object, listed) = entry.split_once('\t')?;
        let mut fields = object.split(' ');
        let (mode, _kind, name) = (fields.next()?, fields.next()?, fields.next()?);
        (mode == LINK_MODE && listed == path)
            .then(|| name.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_need_a_path_inside_and_an_address() {
        let listing =
            b"submodule.a.b.path\nlib/a\0submodule.a.b.url\n../a\0submodule.a.b.update\n!touch x\0\
            submodule.out.path\n../out\0submodule.out.url\n../b\0\
            submodule.root.path\n/etc\0submodule.root.url\n../b\0\
            submodule.lost.path\nlost\0core.path\nx\0";
        let expected = Submodule {
            path: "lib/a".to_owned(),
            url: "../a".to_owned(),
        };
        assert_eq!(parse(listing), [expected]);
    }

    #[test]
    fn what_lies_elsewhere_is_not_wanted() {
        assert_eq!(below("a/b", None), Some("a/b".into()));
        assert_eq!(below("a/b", Some(Path::new("a"))), Some("b".into()));
        assert_eq!(below("a/b", Some(Path::new("a/b"))), None);
        assert_eq!(below("ab", Some(Path::new("a"))), None);
    }

    #[test]
    fn only_links_to_commits_are_submodules() {
        let commit = "c".repeat(40);
        let listing = format!("040000 tree {commit}\tlib\0160000 commit {commit}\tlib/a\0");
        assert_eq!(link(listing.as_bytes(), "lib/a").unwrap().as_str(), commit);
        assert_eq!(link(listing.as_bytes(), "lib"), None);
        assert_eq!(link(listing.as_bytes(), "a"), None);
    }
}
