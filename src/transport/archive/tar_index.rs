//! Where each entry of a tar file lies, so that any of them can be read without unpacking one.
//!
//! It reads headers only (POSIX.1-2001 and GNU extensions), one after the other, and knows nothing
//! of what the entries mean. Names are keys and never become paths of a file system.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use tar::{EntryType, Header};

/// Bytes of a header and of the unit that entries are padded to.
pub(crate) const BLOCK: u64 = 512;
/// Most entries of an archive; a layout of 1000 images has some ten thousand.
const MAX_ENTRIES: usize = 65_536;
/// Most bytes of a name.
const MAX_NAME: usize = 4096;
/// Most bytes of an extended header.
const MAX_EXTENSION: u64 = 64 * 1024;
/// Links that are followed one after the other.
const MAX_LINKS: usize = 8;

/// The content of a regular file in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Extent {
    /// The first byte in the archive.
    pub(crate) offset: u64,
    /// How many bytes.
    pub(crate) size: u64,
}

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    File(Extent),
    /// The name that a symbolic or hard link leads to, from the root of the archive.
    Link(String),
    /// Two entries of one name: one reader would take the first, another the last.
    Ambiguous,
}

/// The entries of an archive by name.
#[derive(Debug, Default)]
pub(crate) struct TarIndex {
    entries: HashMap<String, Entry>,
}

/// Why a tar file is not read. It repeats nothing of the file but positions.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    /// The file itself cannot be read.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The archive ends in the middle of an entry, or without its end mark.
    #[error("it is cut short: the archive ends at byte {0} without its end mark")]
    CutShort(u64),
    /// The whole archive is compressed, so that nothing in it can be found without unpacking it.
    #[error("it is compressed as a whole: unpack it with gunzip, unxz or unzstd first")]
    Compressed,
    /// A header does not have its checksum, or a field that is no number.
    #[error("it is not a tar archive, or damaged, at byte {0}")]
    Header(u64),
    /// A name that is absolute, leads out of the archive or is no text.
    #[error("the entry at byte {0} has a name that is absolute, leads out of it or is too long")]
    Name(u64),
    /// An entry of a kind that holds no plain content.
    #[error(
        "the entry at byte {0} is of a kind that cannot be read: write it without sparse files"
    )]
    Kind(u64),
    /// Too many entries.
    #[error("it has more than {MAX_ENTRIES} entries")]
    Entries,
    /// Two entries have the same name.
    #[error("two entries of it have the name {0:?}")]
    Ambiguous(String),
    /// Links lead to each other, or through too many.
    #[error("its links from {0:?} lead nowhere")]
    Links(String),
}

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extensions {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl TarIndex {
    /// Reads the headers of all entries of `file`. It blocks.
    pub(crate) fn read(file: &File) -> Result<Self, TarError> {
        let length = file.metadata()?.len();
        let mut index = Self::default();
        let mut extensions = Extensions::default();
        let mut position = 0;
        let mut entries = 0;
        loop {
            let Some(header) = read_header(file, position, length)? else {
                return Ok(index);
            };
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(TarError::Entries);
            }
            let kind = header.entry_type();
            let own_size = header
                .entry_size()
                .map_err(|_| TarError::Header(position))?;
            let is_extension = kind.is_gnu_longname()
                || kind.is_gnu_longlink()
                || kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions();
            let size = match extensions.size {
                Some(size) if !is_extension => size,
                _ if has_content(kind) || is_extension => own_size,
                _ => 0,
            };
            let extent = Extent {
                offset: position + BLOCK,
                size,
            };
            let next = size
                .checked_next_multiple_of(BLOCK)
                .and_then(|padded| padded.checked_add(extent.offset))
                .filter(|_| extent.offset.saturating_add(size) <= length)
                .ok_or(TarError::CutShort(length))?;
            if is_extension {
                extensions.read(file, kind, extent, position)?;
            } else {
                index.add(&header, std::mem::take(&mut extensions), extent, position)?;
            }
            position = next;
        }
    }

    /// The content of the file `name`, through links inside the archive; [`None`] when there is none.
    pub(crate) fn file(&self, name: &str) -> Result<Option<Extent>, TarError> {
        let mut current = name;
        for _ in 0..=MAX_LINKS {
            match self.entries.get(current) {
                None => return Ok(None),
                Some(Entry::File(extent)) => return Ok(Some(*extent)),
                Some(Entry::Ambiguous) => return Err(TarError::Ambiguous(current.to_owned())),
                Some(Entry::Link(target)) => current = target,
            }
        }
        Err(TarError::Links(name.to_owned()))
    }

    /// The names of all entries.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    fn add(
        &mut self,
        header: &Header,
        extensions: Extensions,
        extent: Extent,
        position: u64,
    ) -> Result<(), TarError> {
        let invalid = || TarError::Name(position);
        let name = match extensions.name {
            Some(name) => name,
            None => text(&header.path_bytes()).ok_or_else(invalid)?,
        };
        let name = resolve("", &name).ok_or_else(invalid)?;
        let kind = header.entry_type();
        let entry = if is_file(kind) {
            Entry::File(extent)
        } else if kind.is_symlink() || kind.is_hard_link() {
            let link = match extensions.link {
                Some(link) => Some(link),
                None => header.link_name_bytes().as_deref().and_then(text),
            };
            let directory = match name.rsplit_once('/') {
                Some((directory, _)) if kind.is_symlink() => directory,
                _ => "",
            };
            let target = link.and_then(|link| resolve(directory, &link));
            Entry::Link(target.ok_or_else(invalid)?)
        } else if kind.is_dir() {
            return Ok(());
        } else {
            return Err(TarError::Kind(position));
        };
        self.entries
            .entry(name)
            .and_modify(|known| *known = Entry::Ambiguous)
            .or_insert(entry);
        Ok(())
    }
}

impl Extensions {
    fn read(
        &mut self,
        file: &File,
        kind: EntryType,
        extent: Extent,
        position: u64,
    ) -> Result<(), TarError> {
        if extent.size > MAX_EXTENSION {
            return Err(TarError::Name(position));
        }
        let mut content = vec![0; usize::try_from(extent.size).unwrap_or_default()];
        file.read_exact_at(&mut content, extent.offset)?;
        let invalid = || TarError::Header(position);
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        if kind.is_pax_local_extensions() {
            return self.read_pax(&content).ok_or_else(invalid);
        }
        let end = content.iter().position(|byte| *byte == 0);
        let name = content.get(..end.unwrap_or(content.len())).and_then(text);
        let name = name.ok_or(TarError::Name(position))?;
        if kind.is_gnu_longname() {
            self.name = Some(name);
        } else {
            self.link = Some(name);
        }
        Ok(())
    }

    /// Records of the form `LENGTH KEY=VALUE\n` (POSIX.1-2001, pax, "Extended Header").
    fn read_pax(&mut self, mut rest: &[u8]) -> Option<()> {
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ')?;
            let length: usize = text(rest.get(..space)?)?.parse().ok()?;
            let record = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
            rest = rest.get(length..)?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (record.get(..equals)?, record.get(equals + 1..)?);
            match key {
                b"path" => self.name = Some(text(value)?),
                b"linkpath" => self.link = Some(text(value)?),
                b"size" => self.size = Some(text(value)?.parse().ok()?),
                // The content of a sparse file is not the content of its entry.
                key if key.starts_with(b"GNU.sparse.") => return None,
                _ => {}
            }
        }
        Some(())
    }
}

/// The header at `position`, or [`None`] at the end mark.
fn read_header(file: &File, position: u64, length: u64) -> Result<Option<Header>, TarError> {
    if position.checked_add(BLOCK).is_none_or(|end| end > length) {
        return Err(TarError::CutShort(length));
    }
    let mut header = Header::new_old();
    file.read_exact_at(header.as_mut_bytes(), position)?;
    let bytes = header.as_bytes();
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    // The checksum counts its own eight bytes, from 148 on, as spaces.
    let sum: u32 = bytes
        .iter()
        .enumerate()
        .map(|(index, byte)| {
            if (148..156).contains(&index) {
                u32::from(b' ')
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    match header.cksum() {
        Ok(expected) if expected == sum => Ok(Some(header)),
        _ if position == 0 && is_compressed(bytes) => Err(TarError::Compressed),
        _ => Err(TarError::Header(position)),
    }
}

fn is_compressed(start: &[u8]) -> bool {
    matches!(
        start,
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0xfd, b'7', b'z', b'X', b'Z', 0, ..]
    )
}

fn is_file(kind: EntryType) -> bool {
    // A zero byte in old archives, `0` in newer ones, `7` for contiguous files.
    kind.is_file() || kind.is_contiguous()
}

/// Whether the size of the header counts bytes that follow it: links may have one that does not.
fn has_content(kind: EntryType) -> bool {
    !(kind.is_symlink() || kind.is_hard_link() || kind.is_dir())
}

fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= MAX_NAME && !text.contains('\0')).then(|| text.to_owned())
}

/// The name that `path` means in `directory`, from the root of the archive; [`None`] when it is
/// absolute or leads out.
fn resolve(directory: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut components: Vec<&str> = directory
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop()?;
            }
            component => components.push(component),
        }
    }
    Some(components.join("/"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rstest::rstest;

    use super::*;

    /// A header with its checksum, and what follows it.
    fn entry(kind: EntryType, name: &str, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        let mut entry = header.as_bytes().to_vec();
        entry.extend_from_slice(content);
        entry.resize(entry.len().next_multiple_of(512), 0);
        entry
    }

    fn index(entries: &[Vec<u8>]) -> Result<TarIndex, TarError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&entries.concat()).unwrap();
        file.write_all(&[0; 1024]).unwrap();
        TarIndex::read(&file)
    }

    /// A record counts its own length, in decimal digits.
    fn pax(key: &str, value: &str) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let length = (rest..rest + 9).find(|length| length - length.to_string().len() == rest);
        let record = format!("{} {key}={value}\n", length.unwrap());
        entry(EntryType::XHeader, "PaxHeaders/x", record.as_bytes())
    }

    #[rstest]
    #[case::plain("a/b", "a/b")]
    #[case::of_the_current_directory("./a/b", "a/b")]
    #[case::inside("a/c/../b", "a/b")]
    fn files_are_found_by_their_normal_name(#[case] written: &str, #[case] name: &str) {
        let index = index(&[
            entry(EntryType::Directory, "./a/", b""),
            entry(EntryType::Regular, "other", &[1; 513]),
            entry(EntryType::Regular, written, b"content"),
        ]);
        let extent = index.unwrap().file(name).unwrap();
        assert_eq!(
            extent,
            Some(Extent {
                offset: 512 * 5,
                size: 7
            })
        );
    }

    #[test]
    fn long_names_stand_before_their_entry() {
        let (gnu, posix) = ("g".repeat(300), "p".repeat(300));
        let index = index(&[
            entry(
                EntryType::GNULongName,
                "././@LongLink",
                format!("{gnu}\0").as_bytes(),
            ),
            entry(EntryType::Regular, "short", b"one"),
            pax("path", &posix),
            entry(EntryType::Regular, "short", b"three"),
            pax("linkpath", &posix),
            entry(EntryType::Symlink, "link", b""),
            entry(
                EntryType::GNULongLink,
                "././@LongLink",
                format!("{gnu}\0").as_bytes(),
            ),
            entry(EntryType::Link, "hard-link", b""),
            pax("comment", "a name of its own is used once"),
            entry(EntryType::Regular, "short", b"seven"),
        ])
        .unwrap();
        let size = |name: &str| index.file(name).unwrap().map(|extent| extent.size);
        assert_eq!(size(&gnu), Some(3));
        assert_eq!(size(&posix), Some(5));
        assert_eq!(size("link"), Some(5));
        assert_eq!(size("hard-link"), Some(3));
        assert_eq!(size("short"), Some(5));
        assert_eq!(size("PaxHeaders/x"), None);
    }

    #[test]
    fn a_file_may_be_larger_than_a_header_can_say() {
        // Go writes such entries with the size 0 in the header. The file has a hole.
        const SIZE: u64 = 9 * 1024 * 1024 * 1024;
        let mut file = tempfile::tempfile().unwrap();
        let start = [
            pax("size", &SIZE.to_string()),
            entry(EntryType::Regular, "large", b""),
        ]
        .concat();
        let rest = [entry(EntryType::Regular, "small", b"x"), vec![0; 1024]].concat();
        file.write_all(&start).unwrap();
        file.write_all_at(&rest, start.len() as u64 + SIZE).unwrap();
        let index = TarIndex::read(&file).unwrap();
        assert_eq!(index.file("large").unwrap().unwrap().size, SIZE);
        assert_eq!(index.file("small").unwrap().unwrap().size, 1);
    }

    #[rstest]
    #[case::no_length("x path=a\n")]
    #[case::length_beyond_the_end("99 path=a\n")]
    #[case::length_too_short("3 path=a\n")]
    #[case::no_equals("8 patha\n")]
    #[case::no_number("10 size=a\n")]
    #[case::sparse("23 GNU.sparse.major=1\n")]
    fn malformed_extended_headers_are_refused(#[case] records: &str) {
        let entries = [
            entry(EntryType::XHeader, "x", records.as_bytes()),
            entry(EntryType::Regular, "a", b""),
        ];
        assert!(matches!(index(&entries), Err(TarError::Header(0))));
    }

    #[test]
    fn too_many_entries_are_refused() {
        let entries = vec![entry(EntryType::Directory, "a/", b""); MAX_ENTRIES + 1];
        assert!(matches!(index(&entries), Err(TarError::Entries)));
    }

    #[test]
    fn a_long_extended_header_is_not_read() {
        let long = vec![b'a'; 65 * 1024];
        let entries = [entry(EntryType::GNULongName, "x", &long)];
        assert!(matches!(index(&entries), Err(TarError::Name(0))));
    }
}
