//! What is said about an image beside it in its registry: what it was built from, by what and when (SLSA), and what is
//! in it (SPDX).
//!
//! A [`Provenance`] becomes a [`Statement`] (in-toto, SLSA v1), that an [`Attestation`]: the artifact that refers to the
//! image, signed if there is a [`SigningKey`]. [`attach`] writes it, and [`attach_sbom`] what a scanner has found; they
//! are the only parts that perform I/O. What builds and objects of Kubernetes are is not known here. Why they have this
//! form is in `docs/adr/0024-provenance.md` and `docs/adr/0025-bills-of-materials.md`.

mod artifact;
mod attach;
mod key;
mod provenance;
mod referrer;
mod sbom;

pub use artifact::{Artifact, without_secrets};
pub use attach::{AttachError, attach};
pub use key::{KeyError, SigningKey};
pub use provenance::{PREDICATE_TYPE, Provenance, Statement};
pub use referrer::{Attestation, IN_TOTO, INVOCATION};
pub use sbom::{SBOM_PREDICATE_TYPE, SbomError, attach_sbom};
