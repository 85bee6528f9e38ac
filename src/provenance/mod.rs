//! The SLSA provenance of an image: what it was built from, by what and when, as a document beside it in its registry.
//!
//! A [`Provenance`] becomes a [`Statement`] (in-toto, SLSA v1), that an [`Attestation`]: the artifact that refers to the
//! image, signed if there is a [`SigningKey`]. [`attach`] writes it, and is the only part that performs I/O. What builds
//! and objects of Kubernetes are is not known here. Why it has this form is in `docs/adr/0024-provenance.md`.

mod artifact;
mod attach;
mod attestation;
mod key;
mod statement;

pub use artifact::{Artifact, without_secrets};
pub use attach::{AttachError, attach};
pub use attestation::{Attestation, IN_TOTO, INVOCATION};
pub use key::{KeyError, SigningKey};
pub use statement::{PREDICATE_TYPE, Provenance, Statement};
