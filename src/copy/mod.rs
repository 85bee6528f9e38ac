//! Moves images from source registries to destination registries.
//!
//! A [`Plan`] says which digest goes where; [`execute`] carries it out: blobs first, then the
//! manifests of single platforms, then the index, the tag last, so that no tag ever points at an
//! incomplete image. Nothing here knows Kubernetes.

mod access;
mod blob;
mod destination;
mod execute;
mod failure;
mod image;
mod plan;
mod report;

pub use access::{AccessCatalog, AccessReference, Clients, SecretContent, SecretContentError};
pub use destination::{DestinationTemplate, TemplateError};
pub use execute::execute;
pub use failure::{Failure, Side};
pub use plan::{Plan, PlannedDestination, PlannedImage};
pub use report::{Report, ReportedFailure};
