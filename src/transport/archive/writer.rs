//! Writes a tar file entry by entry; what comes first is what comes first in the file.

use bytes::Bytes;
use futures::TryStreamExt as _;
use tar::{EntryType, Header};

use super::sink::Sink;
use super::tar_index::BLOCK;
use crate::transport::{BlobError, ByteStream, Error};

/// Zeros that are written at once.
const ZEROS: Bytes = Bytes::from_static(&[0; 64 * 1024]);

/// Bytes of a name in a header.
const NAME_BYTES: usize = 100;

/// An archive that is being written.
#[derive(Debug)]
pub(crate) struct TarWriter {
    place: String,
    /// [`None`] once everything is written.
    sink: Option<Sink>,
    position: u64,
    /// An entry was begun and not ended.
    is_torn: bool,
}

impl TarWriter {
    /// An empty archive that messages call `place`.
    pub(crate) const fn new(place: String, sink: Sink) -> Self {
        Self {
            place,
            sink: Some(sink),
            position: 0,
            is_torn: false,
        }
    }

    /// How messages call the archive.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Whether it is written and handed over, or given up.
    pub(crate) const fn is_closed(&self) -> bool {
        self.sink.is_none()
    }

    /// Gives it up: nothing is left of it.
    pub(crate) fn discard(&mut self) {
        self.sink = None;
    }

    /// Whether an entry that broke off leaves no trace.
    pub(crate) fn can_go_back(&self) -> bool {
        self.sink.as_ref().is_some_and(Sink::can_go_back)
    }

    /// Writes the end mark and hands the archive over.
    pub(crate) async fn finish(&mut self) -> Result<(), Error> {
        if self.is_torn {
            return Err(self.torn());
        }
        // Two blocks of zeros are the end mark.
        self.write_zeros(BLOCK * 2).await?;
        match self.sink.take() {
            Some(sink) => sink.commit(&self.place, self.position).await,
            None => Ok(()),
        }
    }

    /// Adds a file of `size` bytes. One whose content breaks off leaves no trace in a file; in what
    /// a daemon gets it is filled up, and nothing refers to it.
    pub(crate) async fn add_file(
        &mut self,
        name: &str,
        size: u64,
        content: ByteStream,
    ) -> Result<(), BlobError> {
        if self.is_torn {
            return Err(BlobError::Destination(self.torn()));
        }
        self.is_torn = true;
        let start = self.position;
        let header = self.header(name, size).map_err(BlobError::Destination)?;
        self.write(header).await.map_err(BlobError::Destination)?;
        let end = self.position + size;
        let result = self.write_content(content, end).await;
        match &result {
            Err(BlobError::Source(_)) if self.can_go_back() => {
                self.position = start;
            }
            Ok(()) | Err(BlobError::Source(_)) => {
                let padded = end.next_multiple_of(BLOCK);
                self.write_zeros(padded - self.position)
                    .await
                    .map_err(BlobError::Destination)?;
            }
            Err(BlobError::Destination(_)) => return result,
        }
        self.is_torn = false;
        result
    }

    async fn write_content(&mut self, mut content: ByteStream, end: u64) -> Result<(), BlobError> {
        while let Some(piece) = content.try_next().await.map_err(BlobError::Source)? {
            if self.position + piece.len() as u64 > end {
                // The source has been held to the size; more would overwrite what follows.
                return Err(BlobError::Destination(self.torn()));
            }
            self.write(piece).await.map_err(BlobError::Destination)?;
        }
        Ok(())
    }

    /// The header of a file, behind another one with its name when that has no room in it.
    fn header(&self, name: &str, size: u64) -> Result<Bytes, Error> {
        let failed = |source| Error::File {
            place: self.place.clone(),
            source,
        };
        let mut header = plain_header(size);
        let mut blocks = Vec::new();
        if name.len() <= NAME_BYTES {
            header.set_path(name).map_err(failed)?;
        } else {
            blocks = long_name(name).map_err(failed)?;
            let start = name.as_bytes().get(..NAME_BYTES).unwrap_or_default();
            header.as_old_mut().name.copy_from_slice(start);
        }
        header.set_cksum();
        blocks.extend_from_slice(header.as_bytes());
        Ok(Bytes::from(blocks))
    }

    async fn write_zeros(&mut self, mut count: u64) -> Result<(), Error> {
        while count > 0 {
            let piece = ZEROS.slice(
                ..ZEROS
                    .len()
                    .min(usize::try_from(count).unwrap_or(usize::MAX)),
            );
            count -= piece.len() as u64;
            self.write(piece).await?;
        }
        Ok(())
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), Error> {
        let length = piece.len() as u64;
        match &mut self.sink {
            Some(sink) => sink.write(&self.place, self.position, piece).await?,
            None => return Err(self.torn()),
        }
        self.position += length;
        Ok(())
    }

    fn torn(&self) -> Error {
        Error::Malformed {
            place: self.place.clone(),
            problem: "writing it was interrupted: write it anew".to_owned(),
        }
    }
}

/// A header without a name. The same image makes the same archive, whoever writes it and when.
fn plain_header(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o444);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// The entry that names the next one, as GNU tar writes it and all others read it. A digest of sha512
/// is longer than any part of a name that a header has room for.
fn long_name(name: &str) -> std::io::Result<Vec<u8>> {
    let length = name.len() as u64 + 1;
    let mut header = plain_header(length);
    header.set_entry_type(EntryType::GNULongName);
    header.set_path("././@LongLink")?;
    header.set_cksum();
    let mut blocks = header.as_bytes().to_vec();
    blocks.extend_from_slice(name.as_bytes());
    // At least one zero ends the name.
    let padded = BLOCK + length.next_multiple_of(BLOCK);
    blocks.resize(usize::try_from(padded).unwrap_or(blocks.len()), 0);
    Ok(blocks)
}
