//! OCI image layouts (image-spec, image-layout.md): in a directory, or in a tar file.
//!
//! Both hold the same files. `table.rs` is the `index.json`, without any I/O; `files.rs` reads the
//! files of either; the destinations differ, because a tar file can only grow.

mod archive;
mod directory;
mod files;
mod source;
mod table;

pub use self::archive::LayoutArchiveDestination;
pub use self::directory::LayoutDestination;
pub use self::source::LayoutSource;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use self::table::Table;
