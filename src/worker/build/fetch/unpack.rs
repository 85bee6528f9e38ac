//! Tar files, one on top of the other, into a directory of ours.
//!
//! Whoever made them may mean harm: names never lead out or through links, nothing but directories, files
//! and links is made, and what all of it may take is bounded. It reads headers by itself, because of
//! extended ones `tar` would read as much into memory as they say that they have.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType, PaxExtensions};

use super::invalid;
use crate::build::BuildFailure;
use crate::convert::decompress;
use crate::worker::build::failure::of_disk;

/// Most entries of a context.
pub(super) const MAX_ENTRIES: usize = 500_000;
/// Most directories in one another.
pub(super) const MAX_DEPTH: usize = 128;
/// Most bytes of all files together.
const MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// Most bytes of a name.
const MAX_NAME_BYTES: usize = 4096;
/// Most bytes of an extended header.
const MAX_EXTENSION_BYTES: u64 = 64 * 1024;
/// What the name of a file begins with that a layer removes (image-spec, layer.md, "Whiteouts").
const WHITEOUT: &str = ".wh.";
/// The name that empties a directory.
const OPAQUE: &str = ".wh..wh..opq";

/// Why a tar file is not unpacked.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// It is cut, damaged, or compressed in another way.
    #[error("it is no tar file, or damaged: {0}")]
    Read(io::Error),
    /// The disk.
    #[error("cannot write the context: {0}")]
    Write(io::Error),
    /// Something that no context has.
    #[error("{0}")]
    Refused(String),
}

/// A directory that tar files are unpacked into.
#[derive(Debug)]
pub(super) struct Unpacking {
    root: PathBuf,
    entries: usize,
    bytes: u64,
}

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Unpacking {
    /// Makes the directory.
    pub(super) fn begin(root: &Path) -> Result<Self, BuildFailure> {
        DirBuilder::new()
            .mode(0o755)
            .create(root)
            .map_err(|error| of_disk("cannot make the context", &error))?;
        Ok(Self {
            root: root.to_owned(),
            entries: 0,
            bytes: 0,
        })
    }

    /// Unpacks one tar file, which may be compressed. `place` is what messages call it. It blocks.
    pub(super) fn unpack(&mut self, place: &str, input: impl Read) -> Result<(), BuildFailure> {
        let unpacked = decompress(input)
            .map_err(Problem::Read)
            .and_then(|content| self.unpack_tar(content));
        unpacked.map_err(|problem| match problem {
            Problem::Write(error) => of_disk("cannot write the context", &error),
            problem => invalid(format!("{place}: {problem}")),
        })
    }

    fn unpack_tar(&mut self, content: impl Read) -> Result<(), Problem> {
        let mut archive = Archive::new(content);
        let mut extensions = Extensions::default();
        for entry in archive.entries().map_err(Problem::Read)?.raw(true) {
            let mut entry = entry.map_err(Problem::Read)?;
            let kind = entry.header().entry_type();
            if extensions.take_from(kind, &mut entry)? {
                continue;
            }
            let Extensions { name, link } = std::mem::take(&mut extensions);
            let name = name.unwrap_or_else(|| entry.path_bytes().into_owned());
            let link = link.or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned));
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(refused(format_args!("more than {MAX_ENTRIES} entries")));
            }
            let name = relative(&name)?;
            self.make(&name, kind, link, &mut entry)?;
        }
        Ok(())
    }

    fn make(
        &mut self,
        name: &Path,
        kind: EntryType,
        link: Option<Vec<u8>>,
        entry: &mut tar::Entry<'_, impl Read>,
    ) -> Result<(), Problem> {
        let Some(file_name) = name.file_name() else {
            // The root itself.
            return Ok(());
        };
        let parent = self.directory(name.parent().unwrap_or(Path::new("")))?;
        if let Some(removed) = file_name.to_str().and_then(|it| it.strip_prefix(WHITEOUT)) {
            return if file_name == OPAQUE {
                empty(&parent).map_err(Problem::Write)
            } else {
                let removed = relative(removed.as_bytes())?;
                remove(&parent.join(removed)).map_err(Problem::Write)
            };
        }
        let path = parent.join(file_name);
        let link = || {
            let link = link.and_then(|link| String::from_utf8(link).ok());
            link.ok_or_else(|| refused(format_args!("{} links to no name", name.display())))
        };
        match kind {
            EntryType::Directory => self.directory(name).map(drop),
            EntryType::Regular | EntryType::Continuous => {
                remove(&path).map_err(Problem::Write)?;
                let mode = entry.header().mode().unwrap_or(0o644);
                let mut file = create(&path, mode).map_err(Problem::Write)?;
                self.copy(entry, &mut file)
            }
            EntryType::Symlink => {
                remove(&path).map_err(Problem::Write)?;
                symlink(link()?, path).map_err(Problem::Write)
            }
            EntryType::Link => {
                let target = self.existing(&link()?, name)?;
                if target != path {
                    remove(&path).map_err(Problem::Write)?;
                    fs::hard_link(target, path).map_err(Problem::Write)?;
                }
                Ok(())
            }
            _ => Err(refused(format_args!(
                "{} is no file, directory or link",
                name.display()
            ))),
        }
    }

    /// The directory `name`, which is made with all that lead to it. None of them is a link.
    fn directory(&self, name: &Path) -> Result<PathBuf, Problem> {
        let mut path = self.root.clone();
        for component in name.components() {
            path.push(component);
            match DirBuilder::new().mode(0o755).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let there = path.symlink_metadata().map_err(Problem::Write)?;
                    if there.is_symlink() {
                        return Err(refused(format_args!(
                            "{} leads through a link",
                            name.display()
                        )));
                    }
                    if !there.is_dir() {
                        remove(&path).map_err(Problem::Write)?;
                        DirBuilder::new()
                            .mode(0o755)
                            .create(&path)
                            .map_err(Problem::Write)?;
                    }
                }
                Err(error) => return Err(Problem::Write(error)),
            }
        }
        Ok(path)
    }

    /// The file that a hard link is to be another name of.
    fn existing(&self, target: &str, name: &Path) -> Result<PathBuf, Problem> {
        let target = relative(target.as_bytes())?;
        let mut path = self.root.clone();
        let lost = || {
            refused(format_args!(
                "{} links to {}, which is no file before it",
                name.display(),
                target.display()
            ))
        };
        for component in target.components() {
            let there = path.symlink_metadata();
            if !there.is_ok_and(|it| it.is_dir()) {
                return Err(lost());
            }
            path.push(component);
        }
        match path.symlink_metadata() {
            Ok(there) if there.is_file() => Ok(path),
            _ => Err(lost()),
        }
    }

    fn copy(&mut self, from: &mut impl Read, to: &mut File) -> Result<(), Problem> {
        let mut piece = vec![0; 64 * 1024];
        loop {
            let length = from.read(&mut piece).map_err(Problem::Read)?;
            if length == 0 {
                return Ok(());
            }
            self.bytes += length as u64;
            if self.bytes > MAX_BYTES {
                return Err(refused(format_args!("more than {MAX_BYTES} bytes")));
            }
            let piece = piece.get(..length).unwrap_or_default();
            io::Write::write_all(to, piece).map_err(Problem::Write)?;
        }
    }
}

impl Extensions {
    /// Reads the entry if it is about the next one.
    fn take_from(
        &mut self,
        kind: EntryType,
        entry: &mut tar::Entry<'_, impl Read>,
    ) -> Result<bool, Problem> {
        match kind {
            EntryType::XGlobalHeader => Ok(true),
            EntryType::GNULongName => {
                self.name = Some(name_in(read_extension(entry)?));
                Ok(true)
            }
            EntryType::GNULongLink => {
                self.link = Some(name_in(read_extension(entry)?));
                Ok(true)
            }
            EntryType::XHeader => {
                for record in PaxExtensions::new(&read_extension(entry)?) {
                    let record = record.map_err(Problem::Read)?;
                    match record.key_bytes() {
                        b"path" => self.name = Some(record.value_bytes().to_vec()),
                        b"linkpath" => self.link = Some(record.value_bytes().to_vec()),
                        key if key == b"size" || key.starts_with(b"GNU.sparse.") => {
                            return Err(refused(format_args!(
                                "a file of it is sparse, or larger than 8 GiB"
                            )));
                        }
                        _ => {}
                    }
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// A name in an entry of its own ends with a zero byte.
fn name_in(mut content: Vec<u8>) -> Vec<u8> {
    if let Some(end) = content.iter().position(|byte| *byte == 0) {
        content.truncate(end);
    }
    content
}

fn read_extension(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>, Problem> {
    let size = entry.header().entry_size().map_err(Problem::Read)?;
    if size > MAX_EXTENSION_BYTES {
        return Err(refused(format_args!("an extended header of {size} bytes")));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content).map_err(Problem::Read)?;
    Ok(content)
}

/// A name from the root of the context. One that leads out of it is refused, also if it comes back.
fn relative(name: &[u8]) -> Result<PathBuf, Problem> {
    let Some(text) = str::from_utf8(name)
        .ok()
        .filter(|text| text.len() <= MAX_NAME_BYTES)
    else {
        return Err(refused(format_args!(
            "a name in it is too long, or no text"
        )));
    };
    let mut path = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            // Tar files with a root are made by saying so; `/app` then means `app`.
            Component::RootDir if path.as_os_str().is_empty() => {}
            _ => return Err(refused(format_args!("{text:?} leads out of it"))),
        }
    }
    if path.components().count() > MAX_DEPTH {
        return Err(refused(format_args!("a name in it lies too deep")));
    }
    Ok(path)
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    // No more than the owner's bits: what others may do is settled later.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode((mode & 0o700) | 0o600)
        .open(path)
}

/// Removes whatever is at `path`, links as links.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        remove(&entry?.path())?;
    }
    Ok(())
}

fn refused(problem: std::fmt::Arguments<'_>) -> Problem {
    Problem::Refused(problem.to_string())
}

#[cfg(test)]
mod tests;
