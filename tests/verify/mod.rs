//! Signatures that Sigstore's own libraries made: which are accepted, and that nothing else is.

mod command_line;
mod copies;
mod hostile;
mod identities;
mod keys;
pub(crate) mod scene;
pub(crate) mod signer;
