//! Files of a place: read in pieces on the threads that may block, written so that none is ever seen
//! half.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tempfile::NamedTempFile;

use super::archive::blocking;
use super::{BlobError, ByteStream, Error, VerifiedBlob};

/// Bytes of a blob that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// A file that is one: not a link, which could lead anywhere. [`None`] when there is nothing.
pub(super) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a link or a special file stands in the place of a file of the image",
        ));
    }
    File::open(path).map(Some)
}

/// The content of a file of at most `limit` bytes. It blocks.
pub(super) fn read_regular(path: &Path, limit: usize) -> io::Result<Option<Bytes>> {
    let Some(file) = open_regular(path)? else {
        return Ok(None);
    };
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut content = vec![0; length];
    file.read_exact_at(&mut content, 0)?;
    Ok(Some(Bytes::from(content)))
}

/// The bytes of the file at `path` from `offset` on, or `missing`. Nothing is read before the stream
/// is polled.
pub(super) fn read_stream(place: String, path: PathBuf, offset: u64, missing: Error) -> ByteStream {
    async move {
        let file = blocking(&place, move || open_regular(&path))
            .await?
            .ok_or(missing)?;
        Ok::<_, Error>(read_file(place, file, offset))
    }
    .into_stream()
    .try_flatten()
    .boxed()
}

fn read_file(place: String, file: File, offset: u64) -> ByteStream {
    let state = (place, Arc::new(file), offset);
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
