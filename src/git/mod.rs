//! Git repositories as the source of builds, read with the program `git`: see
//! `docs/adr/0021-git-is-git.md`.

mod location;
mod names;

pub use location::{GitUrl, GitUrlError, Protocol};
pub use names::{CommitId, NameError, ReferenceName};
