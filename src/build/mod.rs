//! What the controller and the stages of a build tell each other: a plan goes into the pod, a report
//! of each stage comes out. Plain values, no I/O, no Kubernetes.
//!
//! A build is a pod with three containers, one after the other: `build-fetch` brings the context to
//! [`CONTEXT_DIRECTORY`], a builder makes an image of it in [`OUTPUT_DIRECTORY`], `build-publish`
//! pushes that. Only the middle one runs code of users, and it gets neither plan nor credentials. A scanner may come
//! before the last one, and leave a bill of materials.

mod dockerfile;
mod failure;
mod index;
mod mirrored;
mod path;
mod plan;
mod report;

pub use dockerfile::{BaseImages, base_images};
pub use failure::{BuildFailure, FailureClass};
pub use index::index;
pub use mirrored::{MirroredImages, Redirection};
pub use path::{ContextPath, ContextPathError};
pub use plan::{BuildPlan, ImageForm, PlannedOutput, PlannedSource};
pub use report::{Fetched, Published, StageReport};

/// Where the plan is mounted.
pub const PLAN_DIRECTORY: &str = "/run/transship/plan";
/// The file in [`PLAN_DIRECTORY`]: JSON, compressed with zstd.
pub const PLAN_FILE: &str = "build.json.zst";
/// Most bytes of a plan when it is unpacked.
pub const MAX_PLAN_BYTES: u64 = 8 * 1024 * 1024;
/// Where the files of [`PlannedSource::Files`] are mounted, as Kubernetes mounts a `ConfigMap`.
pub const FILES_DIRECTORY: &str = "/run/transship/files";
/// Where the volume with the context is mounted.
pub const WORKSPACE_DIRECTORY: &str = "/workspace";
/// The file with the time of the commit that is built, in seconds since 1970 and nothing else; there is none when
/// what is built is no commit.
pub const SOURCE_DATE_EPOCH_FILE: &str = "/workspace/source-date-epoch";
/// The file that says where base images are; there is none when they come from where the Dockerfile says. See
/// [`Redirection::lines`].
pub const BASE_IMAGES_FILE: &str = "/workspace/base-images";
/// The directory that the builder gets as its context.
pub const CONTEXT_DIRECTORY: &str = "/workspace/context";
/// Where the volume is mounted that the scanner leaves its bill of materials in.
pub const SBOM_DIRECTORY: &str = "/sbom";
/// The bill of materials in [`SBOM_DIRECTORY`]: SPDX, in JSON.
pub const SBOM_FILE: &str = "sbom.spdx.json";
/// Where the volume is mounted that the builder leaves its image in.
pub const OUTPUT_DIRECTORY: &str = "/out";
/// The OCI image layout in [`OUTPUT_DIRECTORY`]: see [`ImageForm::Layout`].
pub const OUTPUT_LAYOUT: &str = "layout";
/// The tar file in [`OUTPUT_DIRECTORY`]: see [`ImageForm::Archive`].
pub const OUTPUT_ARCHIVE: &str = "image.tar";
