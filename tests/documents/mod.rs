//! Manifests and other documents that somebody made to be misread, or that look strange and are not.

mod accepted;
mod differential;
mod hostile;
mod properties;
mod registries;
mod templates;
