//! Git repositories as the source of builds, read with the program `git`: see
//! `docs/adr/0021-git-is-git.md`.
//!
//! [`resolve`] asks what a branch or tag is, [`fetch`] brings the files of one commit. Both run in a
//! closed environment, with credentials that go to nobody else than the repository's own host. Nothing
//! here knows Kubernetes or what the files are for.

mod credentials;
mod environment;
mod failure;
mod fetch;
mod location;
mod names;
mod process;
mod repository;
mod submodules;

pub use credentials::{GitCredentials, GitCredentialsError};
pub use failure::GitError;
pub use fetch::{Checkout, fetch};
pub use location::{GitUrl, GitUrlError, Protocol};
pub use names::{CommitId, NameError, ReferenceName};
pub use repository::{GitAccess, resolve};
