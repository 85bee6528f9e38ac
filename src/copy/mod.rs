//! Moves images from sources to destinations.
//!
//! [`copy_images`] is the engine: blobs first, then the manifests of single platforms, then the
//! index, the tag last, so that no tag ever points at an incomplete image. A [`Plan`] is the same
//! work written down for a worker, and [`execute`] carries it out. Nothing here knows Kubernetes.

mod access;
mod bandwidth;
mod blob;
mod closure;
mod conversion;
mod destination;
mod engine;
mod execute;
mod failure;
mod finish;
mod options;
mod place;
mod plan;
mod pool;
mod progress;
mod record;
mod referrers;
mod report;
mod root;
mod selection;
mod shard;
mod signatures;
mod strict;
mod tags;
mod task;
mod verification;
mod write;

pub use access::{AccessCatalog, AccessReference, Clients, SecretContent, SecretContentError};
pub use bandwidth::{Bandwidth, BandwidthError};
pub use destination::{DestinationTemplate, TemplateError};
pub use engine::{ImageOutcome, copy_images};
pub use execute::execute;
pub use failure::{Failure, Side};
pub use options::{FailurePolicy, Options, Referrers};
pub use plan::{Plan, PlannedDestination, PlannedImage, PlannedOptions};
pub use pool::ClientPool;
pub use progress::{BlobOutcome, Counters, Counts, Event, Observer, Unobserved};
pub use record::{Progress, Record};
pub use report::{Report, ReportedFailure};
pub(crate) use root::Root;
pub use selection::Selection;
pub use signatures::SignatureCheck;
pub use tags::TagPolicy;
pub use task::{Copied, Effect, ImageCopy, ManifestName, Target};
pub use verification::{SecretEntry, VerificationCatalog, VerificationSecrets};
