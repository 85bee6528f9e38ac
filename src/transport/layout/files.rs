//! The files of a layout, wherever they are, and what they say.

use std::path::PathBuf;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde::Deserialize;

use super::table::{self, INDEX, MARKER, Table, blob_path};
use crate::oci::{Digest, MAX_MANIFEST_BYTES, Manifest, MediaType};
use crate::transport::archive::{ArchiveFile, blocking};
use crate::transport::file::{open_regular, read_regular, read_stream};
use crate::transport::{ByteStream, Error};

/// Most bytes of the file that marks a layout.
const MAX_MARKER_BYTES: usize = 4096;

/// Where the files of a layout are.
#[derive(Debug)]
pub(super) enum Files {
    /// Below this directory.
    Directory {
        /// How messages call it.
        place: String,
        /// Its path.
        path: PathBuf,
    },
    /// In a tar file.
    Archive(ArchiveFile),
}

#[derive(Deserialize)]
struct Marker {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

impl Files {
    /// How messages call the layout.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::Directory { place, .. } => place,
            Self::Archive(file) => file.place(),
        }
    }

    /// The table of contents, once the layout has shown that it is one.
    pub(super) async fn table(&self) -> Result<Table, Error> {
        self.written_table()
            .await?
            .ok_or_else(|| self.malformed(format!("it has no {INDEX}")))
    }

    /// The same; [`None`] when whoever writes the layout has not come to its end.
    pub(super) async fn written_table(&self) -> Result<Option<Table>, Error> {
        let marker = self.read(MARKER, MAX_MARKER_BYTES).await?.ok_or_else(|| {
            self.malformed(format!(
                "it has no file {MARKER} and is no OCI image layout; check the path, which ends \
                 at the first colon"
            ))
        })?;
        match serde_json::from_slice::<Marker>(&marker) {
            Ok(marker) if marker.version.starts_with("1.") => {}
            Ok(_) => {
                return Err(self.malformed(format!(
                    "its {MARKER} names another version than 1, which cannot be read"
                )));
            }
            Err(_) => return Err(self.malformed(format!("its {MARKER} cannot be read"))),
        }
        let index = self.read(INDEX, MAX_MANIFEST_BYTES).await?;
        index
            .map(Table::parse)
            .transpose()
            .map_err(|error| self.malformed(error.to_string()))
    }

    /// A manifest by its digest; [`None`] when it is not there.
    pub(super) async fn manifest(&self, digest: &Digest) -> Result<Option<Manifest>, Error> {
        let Some(bytes) = self.read(&blob_path(digest), MAX_MANIFEST_BYTES).await? else {
            return Ok(None);
        };
        let media_type = MediaType::of_manifest(&bytes)
            .ok_or_else(|| self.malformed(format!("its blob {digest} is no manifest")))?;
        Manifest::verified(bytes, media_type, digest)
            .map(Some)
            .map_err(|error| self.malformed(error.to_string()))
    }

    /// Whether a blob is there, and of `size` bytes.
    pub(super) async fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let found = match self {
            Self::Archive(file) => file.blob(digest)?.map(|extent| extent.size),
            Self::Directory { place, path } => {
                let (path, name) = (path.clone(), blob_path(digest));
                blocking(place, move || {
                    let open = open_regular(&path, &name)?;
                    open.map(|file| Ok(file.metadata()?.len())).transpose()
                })
                .await?
            }
        };
        Ok(found == Some(size))
    }

    /// The bytes of a blob from `offset` on. Nothing is read before the stream is polled.
    pub(super) fn blob(&self, digest: &Digest, offset: u64) -> ByteStream {
        let missing = Error::NotFound {
            place: self.place().to_owned(),
            wanted: format!("blob {digest}"),
        };
        match self {
            Self::Archive(file) => match file.blob(digest) {
                Ok(Some(extent)) => file.stream(extent, offset),
                Ok(None) => stream::iter([Err(missing)]).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            },
            Self::Directory { place, path } => read_stream(
                place.clone(),
                path.clone(),
                blob_path(digest),
                offset,
                missing,
            ),
        }
    }

    /// A whole file of at most `limit` bytes; [`None`] when it is not there.
    async fn read(&self, name: &str, limit: usize) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Archive(file) => match file.find(name)? {
                Some(extent) => file.read(extent, limit, name).await.map(Some),
                None => Ok(None),
            },
            Self::Directory { place, path } => {
                let (path, name) = (path.clone(), name.to_owned());
                blocking(place, move || read_regular(&path, &name, limit)).await
            }
        }
    }

    pub(super) fn malformed(&self, problem: String) -> Error {
        Error::Malformed {
            place: self.place().to_owned(),
            problem,
        }
    }
}

/// A failure to write the table of contents.
pub(super) fn unwritable(place: &str, error: &serde_json::Error) -> Error {
    Error::Malformed {
        place: place.to_owned(),
        problem: format!("its {} cannot be written: {error}", table::INDEX),
    }
}
