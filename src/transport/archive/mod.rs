//! Archives that are read where they lie, without unpacking them: any tar file, whatever it is for.

mod file;
mod tar_index;

pub(super) use self::file::{ArchiveFile, blocking};
pub(super) use self::tar_index::{BLOCK, Extent};
