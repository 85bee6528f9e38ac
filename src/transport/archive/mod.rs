//! Tar files that are read where they lie, without unpacking them, and written entry by entry.

mod file;
mod sink;
mod tar_index;
mod writer;

pub(super) use self::file::ArchiveFile;
pub(crate) use self::file::blocking;
pub(super) use self::sink::Sink;
pub(super) use self::tar_index::Extent;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use self::tar_index::TarIndex;
pub(super) use self::writer::TarWriter;
