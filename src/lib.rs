//! Transship moves OCI images between registries: a Kubernetes operator, the worker that its Jobs
//! run, and a command line, in one binary.
//!
//! Dependencies point one way:
//!
//! ```text
//! oci, reason <- registry <- transport <- copy <- { worker, cli, controller }
//!     oci <- convert, verify <---------'
//!                                      <- inspect <- cli
//!     oci <- tag_selection, api           <- { cli, controller }
//!     git, copy <- build                  <- { worker, controller }
//!     registry, verify <- provenance      <- controller
//!     oci <- builder                      <- controller
//! ```
//!
//! `oci` performs no I/O and knows neither HTTP nor Kubernetes. `registry` speaks the distribution
//! protocol to one registry. `transport` puts registries, layouts, archives and the Docker daemon
//! behind one interface. `convert` gives an image another form, `verify` judges
//! signatures; both see bytes only. `copy` moves images between two of them, `inspect` looks at them without
//! moving any; neither knows anything of Kubernetes. `tag_selection` chooses among names. `git` reads Git
//! repositories, `build` is what the controller and the stages of a build tell each other, `builder` says what
//! the programs need that build images, in the types of Kubernetes. `provenance` attaches to an image how it was
//! built. `api` holds the custom resources. Only `api`,
//! `controller` and `cli` (which prints the definitions and reads mirrors from files) may name the `kube` crate.

pub mod api;
pub mod attestation;
pub mod build;
pub mod builder;
pub mod cli;
pub mod controller;
pub mod convert;
pub mod copy;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod git;
pub mod inspect;
pub mod oci;
pub mod packed;
pub mod reason;
pub mod registry;
pub mod tag_selection;
pub mod telemetry;
pub mod transport;
pub mod verify;
pub mod worker;
