//! An archive on a disk, read at any byte: in pieces, on the threads that may block.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::tar_index::{Extent, TarError, TarIndex};
use crate::oci::Digest;
use crate::transport::file::NoFile;
use crate::transport::{ByteStream, Error};

/// Bytes that are read at once.
const PIECE: u64 = 256 * 1024;
/// Characters of a name in the archive that a message shows.
const SHOWN_NAME: usize = 200;

/// The file, and where in it everything lies.
#[derive(Debug)]
pub(crate) struct ArchiveFile {
    place: String,
    file: Arc<File>,
    index: TarIndex,
}

impl ArchiveFile {
    /// Reads the headers of all entries of `file`, which messages call `place`.
    pub(crate) async fn open(place: String, file: File) -> Result<Self, Error> {
        let file = Arc::new(file);
        let read = Arc::clone(&file);
        let index = blocking(&place, move || Ok(TarIndex::read(&read)))
            .await?
            .map_err(|error| tar_failure(&place, error))?;
        Ok(Self { place, file, index })
    }

    /// How messages call the archive.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The file `name`, when there is one.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Extent>, Error> {
        self.index
            .file(name)
            .map_err(|error| tar_failure(&self.place, error))
    }

    /// The file `name`, which must be there.
    pub(crate) fn file(&self, name: &str) -> Result<Extent, Error> {
        self.find(name)?.ok_or_else(|| {
            let shown: String = name.chars().take(SHOWN_NAME).collect();
            self.malformed(format!("it has no file {shown:?}, which it refers to"))
        })
    }

    /// The blob of a layout in the archive, when it is there.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<Option<Extent>, Error> {
        self.find(&format!("blobs/{}", digest.as_str().replacen(':', "/", 1)))
    }

    /// A whole file of at most `limit` bytes, which messages call `what`.
    pub(crate) async fn read(
        &self,
        extent: Extent,
        limit: usize,
        what: &str,
    ) -> Result<Bytes, Error> {
        let length = usize::try_from(extent.size)
            .ok()
            .filter(|length| *length <= limit)
            .ok_or_else(|| self.malformed(format!("its {what} has more than {limit} bytes")))?;
        let file = Arc::clone(&self.file);
        blocking(&self.place, move || {
            let mut content = vec![0; length];
            file.read_exact_at(&mut content, extent.offset)?;
            Ok(Bytes::from(content))
        })
        .await
    }

    /// The bytes of a file from `offset` on. Nothing is read before the stream is polled.
    pub(crate) fn stream(&self, extent: Extent, offset: u64) -> ByteStream {
        let offset = offset.min(extent.size);
        let rest = Extent {
            offset: extent.offset.saturating_add(offset),
            size: extent.size - offset,
        };
        let state = (rest, Arc::clone(&self.file), self.place.clone());
        stream::try_unfold(state, |(rest, file, place)| async move {
            let length = rest.size.min(PIECE);
            if length == 0 {
                return Ok(None);
            }
            let reader = Arc::clone(&file);
            let piece = blocking(&place, move || {
                let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
                reader.read_exact_at(&mut piece, rest.offset)?;
                Ok(Bytes::from(piece))
            })
            .await?;
            let rest = Extent {
                offset: rest.offset + length,
                size: rest.size - length,
            };
            Ok(Some((piece, (rest, file, place))))
        })
        .boxed()
    }

    pub(crate) fn malformed(&self, problem: String) -> Error {
        Error::Malformed {
            place: self.place.clone(),
            problem,
        }
    }
}

/// Does work with files where it does not hold up others.
pub(crate) async fn blocking<T, F>(place: &str, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::from)
        .and_then(|result| result)
        .map_err(|source| file_failure(place.to_owned(), source))
}

fn file_failure(place: String, source: io::Error) -> Error {
    let no_file = source.get_ref().and_then(|it| it.downcast_ref::<NoFile>());
    match no_file {
        Some(problem) => Error::Malformed {
            place,
            problem: problem.to_string(),
        },
        None => Error::File { place, source },
    }
}

fn tar_failure(place: &str, error: TarError) -> Error {
    let place = place.to_owned();
    match error {
        TarError::File(source) => Error::File { place, source },
        other => Error::Malformed {
            place,
            problem: other.to_string(),
        },
    }
}
