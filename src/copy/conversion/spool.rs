//! The bytes of a converted layer between their making and their sending: in a file without a name,
//! which is gone when nobody needs it or the process ends, however it ends.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use crate::transport::{ByteStream, Error};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// A file in the directory for temporary files.
#[derive(Debug)]
pub(super) struct Spool {
    file: Arc<File>,
}

impl Spool {
    /// An empty one. It blocks.
    pub(super) fn create() -> io::Result<Self> {
        Ok(Self {
            file: Arc::new(tempfile::tempfile()?),
        })
    }

    /// Writes to its end. It blocks.
    pub(super) fn writer(&self) -> impl Write + use<'_> {
        BufWriter::with_capacity(PIECE_BYTES, self.file.as_ref())
    }

    /// The bytes from `offset` on.
    pub(super) fn read_from(&self, offset: u64) -> ByteStream {
        stream::try_unfold(
            (Arc::clone(&self.file), offset),
            |(file, offset)| async move {
                let reader = Arc::clone(&file);
                let piece = tokio::task::spawn_blocking(move || read_piece(&reader, offset))
                    .await
                    .unwrap_or_else(|_| Err(io::Error::other("the reading ended unexpectedly")))
                    .map_err(failed)?;
                let next = offset + piece.len() as u64;
                Ok((!piece.is_empty()).then_some((piece, (file, next))))
            },
        )
        .boxed()
    }
}

fn read_piece(file: &File, offset: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; PIECE_BYTES];
    let read = loop {
        match file.read_at(&mut buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    buffer.truncate(read);
    Ok(Bytes::from(buffer))
}

/// A failure of the directory for temporary files.
pub(super) fn failed(source: io::Error) -> Error {
    Error::File {
        place: "a temporary file; TMPDIR names the directory that needs room for converted layers"
            .to_owned(),
        source,
    }
}
