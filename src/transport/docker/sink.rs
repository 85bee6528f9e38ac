//! Where the bytes of an archive go: a file that appears when it is complete, or a daemon that loads
//! them as they come.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::super::Error;
use super::super::archive::blocking;
use super::daemon::{DockerDaemon, Load};

/// One archive on its way.
#[derive(Debug)]
pub(super) enum Sink {
    /// Under a name of its own until it is complete.
    File {
        partial: NamedTempFile,
        file: Arc<File>,
        path: PathBuf,
    },
    /// The daemon, and the request once something was written.
    Daemon {
        daemon: DockerDaemon,
        load: Option<Load>,
    },
}

impl Sink {
    /// A file at `path`, where nothing may be yet: an archive cannot be added to.
    pub(super) async fn file(place: &str, path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        let (partial, path) = blocking(place, move || {
            if path.try_exists()? {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is something already, and an archive cannot be added to: remove it or choose another name",
                ));
            }
            let directory = match path.parent() {
                Some(directory) if !directory.as_os_str().is_empty() => directory,
                _ => Path::new("."),
            };
            let partial = tempfile::Builder::new()
                .prefix(".transship-")
                .suffix(".partial")
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
                .tempfile_in(directory)?;
            Ok((partial, path))
        })
        .await?;
        let file = partial
            .as_file()
            .try_clone()
            .map_err(|source| Error::File {
                place: place.to_owned(),
                source,
            })?;
        Ok(Self::File {
            partial,
            file: Arc::new(file),
            path,
        })
    }

    /// A request that `daemon` gets.
    pub(super) const fn daemon(daemon: DockerDaemon) -> Self {
        Self::Daemon { daemon, load: None }
    }

    /// Whether what was written can be written over.
    pub(super) const fn can_go_back(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Writes the next bytes, which lie at `position`.
    pub(super) async fn write(
        &mut self,
        place: &str,
        position: u64,
        piece: Bytes,
    ) -> Result<(), Error> {
        match self {
            Self::File { file, .. } => {
                let file = Arc::clone(file);
                blocking(place, move || file.write_all_at(&piece, position)).await
            }
            Self::Daemon { daemon, load } => {
                load.get_or_insert_with(|| daemon.load()).write(piece).await
            }
        }
    }

    /// Makes the archive of `length` bytes visible, or waits until the daemon has loaded it.
    pub(super) async fn commit(self, place: &str, length: u64) -> Result<(), Error> {
        match self {
            Self::File {
                partial,
                file,
                path,
            } => {
                blocking(place, move || {
                    // An attempt that was given up may have been longer.
                    file.set_len(length)?;
                    file.sync_all()?;
                    partial
                        .persist_noclobber(path)
                        .map_err(|error| error.error)?;
                    Ok(())
                })
                .await
            }
            Self::Daemon { load, .. } => match load {
                Some(load) => load.finish().await,
                None => Ok(()),
            },
        }
    }
}
