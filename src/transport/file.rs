//! Files of a place: read in pieces on the threads that may block, written so that none is ever seen
//! half.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::archive::blocking;
use super::{BlobError, ByteStream, Error, VerifiedBlob};

/// Bytes of a blob that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// What stands where a file of an image should be. It is the place's fault, not the disk's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoFile {
    #[error("a link or a special file stands in the place of a file of the image")]
    Special,
    #[error("a file of the image is larger than it may be")]
    TooLarge,
}

impl From<NoFile> for io::Error {
    fn from(problem: NoFile) -> Self {
        Self::new(io::ErrorKind::InvalidInput, problem)
    }
}

/// The file `name` below the directory `root`, if it is one: not a link, which could lead anywhere, neither
/// itself nor a directory on the way; not a pipe, which could be waited for. [`None`] when there is nothing.
pub(super) fn open_regular(root: &Path, name: &str) -> io::Result<Option<File>> {
    match open_below(root, name) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        // A link on the way is no directory to whoever follows none.
        Err(Errno::LOOP | Errno::NOTDIR) => Err(NoFile::Special.into()),
        Err(error) => Err(error.into()),
    }
}

fn open_below(root: &Path, name: &str) -> Result<File, Errno> {
    let read = OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = read | OFlags::DIRECTORY;
    let mut parent = openat(CWD, root, directory, Mode::empty())?;
    let (parents, name) = name.rsplit_once('/').unwrap_or(("", name));
    for component in parents.split('/').filter(|component| !component.is_empty()) {
        parent = openat(
            &parent,
            component,
            directory | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
    }
    // Asked before it is opened: to open a device can be to use it.
    let found = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(Errno::LOOP);
    }
    let alone = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    openat(&parent, name, read | alone, Mode::empty()).map(File::from)
}

/// The file `name` below `root`, which somebody wrote who may mean harm: [`open_regular`] for a file that
/// has to be there. Messages call it `place`.
pub(crate) async fn open_foreign(place: &str, root: &Path, name: &str) -> Result<File, Error> {
    let (root, name) = (root.to_owned(), name.to_owned());
    let missing = || Error::NotFound {
        place: place.to_owned(),
        wanted: "file of its name".to_owned(),
    };
    blocking(place, move || open_regular(&root, &name))
        .await?
        .ok_or_else(missing)
}

/// The content of a file of at most `limit` bytes. It blocks.
pub(super) fn read_regular(root: &Path, name: &str, limit: usize) -> io::Result<Option<Bytes>> {
    let Some(file) = open_regular(root, name)? else {
        return Ok(None);
    };
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length > limit {
        return Err(NoFile::TooLarge.into());
    }
    let mut content = vec![0; length];
    file.read_exact_at(&mut content, 0)?;
    Ok(Some(Bytes::from(content)))
}

/// The bytes of the file `name` below `root` from `offset` on, or `missing`. Nothing is read before the
/// stream is polled.
pub(super) fn read_stream(
    place: String,
    root: PathBuf,
    name: String,
    offset: u64,
    missing: Error,
) -> ByteStream {
    async move {
        let file = blocking(&place, move || open_regular(&root, &name))
            .await?
            .ok_or(missing)?;
        Ok::<_, Error>(read_file(place, Arc::new(file), offset))
    }
    .into_stream()
    .try_flatten()
    .boxed()
}

/// The bytes of an open file from `offset` on. Messages call it `place`.
pub(crate) fn read_file(place: String, file: Arc<File>, offset: u64) -> ByteStream {
    let state = (place, file, offset);
    stream::try_unfold(state, |(place, file, offset)| async move {
        let reader = Arc::clone(&file);
        let piece = blocking(&place, move || {
            let mut piece = vec![0; PIECE_BYTES];
            let length = reader.read_at(&mut piece, offset)?;
            piece.truncate(length);
            Ok(Bytes::from(piece))
        })
        .await?;
        let next = offset + piece.len() as u64;
        Ok((!piece.is_empty()).then_some((piece, (place, file, next))))
    })
    .boxed()
}

/// A file that has another name until it is complete.
struct Partial {
    temporary: NamedTempFile,
    file: Arc<File>,
    path: PathBuf,
}

impl Partial {
    fn create(path: &Path) -> io::Result<Self> {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let temporary = tempfile::Builder::new()
            .prefix(".transship-")
            .suffix(".partial")
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(directory)?;
        Ok(Self {
            file: Arc::new(temporary.as_file().try_clone()?),
            temporary,
            path: path.to_owned(),
        })
    }

    fn commit(self) -> io::Result<()> {
        self.file.sync_all()?;
        self.temporary
            .persist(self.path)
            .map_err(|error| error.error)?;
        Ok(())
    }
}

/// Writes a file that is there completely or not at all. It blocks.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = Partial::create(path)?;
    partial.file.as_ref().write_all(bytes)?;
    partial.commit()
}

/// Writes the bytes of a blob to `path`, where they appear when all of them are verified.
pub(super) async fn write_blob(
    place: &str,
    path: PathBuf,
    content: &VerifiedBlob,
) -> Result<(), BlobError> {
    let partial = blocking(place, move || Partial::create(&path))
        .await
        .map_err(BlobError::Destination)?;
    let mut pieces = content.read_from(0);
    let mut position = 0;
    while let Some(piece) = pieces.try_next().await.map_err(BlobError::Source)? {
        let (file, length) = (Arc::clone(&partial.file), piece.len() as u64);
        blocking(place, move || file.write_all_at(&piece, position))
            .await
            .map_err(BlobError::Destination)?;
        position += length;
    }
    blocking(place, move || partial.commit())
        .await
        .map_err(BlobError::Destination)
}

/// Whether there is nothing at `path`, or a directory without files.
pub(super) fn is_empty(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use rstest::rstest;

    use super::*;

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("layout/blobs")).unwrap();
        fs::write(root.path().join("layout/blobs/one"), "content").unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        root
    }

    #[test]
    fn files_are_read_where_they_are() {
        let root = root();
        symlink("layout", root.path().join("chosen")).unwrap();
        for layout in ["layout", "chosen"] {
            let layout = root.path().join(layout);
            let content = read_regular(&layout, "blobs/one", 7).unwrap();
            assert_eq!(content.unwrap(), "content");
            assert!(read_regular(&layout, "blobs/one", 6).is_err());
            assert!(read_regular(&layout, "blobs/two", 7).unwrap().is_none());
            assert!(read_regular(&layout, "missing/one", 7).unwrap().is_none());
        }
    }

    #[rstest]
    #[case::link("layout/link", "../secret", "link")]
    #[case::link_to_the_system("layout/link", "/etc/passwd", "link")]
    #[case::link_to_itself("layout/link", "link", "link")]
    #[case::directory_that_is_a_link("layout/other", "..", "other/secret")]
    #[case::directory_that_leads_to_itself("layout/other", ".", "other/blobs/one")]
    fn links_are_not_followed(#[case] link: &str, #[case] target: &str, #[case] name: &str) {
        let root = root();
        symlink(target, root.path().join(link)).unwrap();
        let error = open_regular(&root.path().join("layout"), name).unwrap_err();
        assert_eq!(error.to_string(), NoFile::Special.to_string());
    }

    #[rstest]
    #[case::directory("blobs")]
    #[case::pipe("pipe")]
    #[case::socket("socket")]
    #[case::file_as_directory("blobs/one/two")]
    #[tokio::test]
    async fn what_is_no_file_is_not_waited_for(#[case] name: &'static str) {
        let root = root();
        let layout = root.path().join("layout");
        let made = std::process::Command::new("mkfifo")
            .arg(layout.join("pipe"))
            .status();
        assert!(made.unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(layout.join("socket")).unwrap();
        let opening = tokio::task::spawn_blocking(move || open_regular(&layout, name));
        let opened = tokio::time::timeout(Duration::from_mins(1), opening).await;
        let error = opened.unwrap().unwrap().unwrap_err();
        assert_eq!(error.to_string(), NoFile::Special.to_string());
    }
}
