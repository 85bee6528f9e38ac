//! The first stage: the context of a build, from wherever it comes.
//!
//! Whatever the source, the result is the same: directories and files that everybody may read and nobody
//! else may write, with one time, and no link that leads out.

mod files;
mod http;
mod image;
mod secret;
mod survey;
mod unpack;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use self::unpack::Unpacking;
use super::FetchOptions;
use super::failure::{of_disk, of_git, of_source};
use crate::build::{
    BaseImages, BuildFailure, BuildPlan, ContextPath, Fetched, MirroredImages, PlannedSource,
    base_images,
};
use crate::git::{self, Checkout, CommitId, GitAccess, GitUrl, ReferenceName};
use crate::oci::Digest;
use crate::reason::Reason;

/// How long a repository may take; a build may have less time, by the deadline of its pod.
const GIT_LIMIT: Duration = Duration::from_hours(1);
/// Most bytes of a Dockerfile.
const MAX_DOCKERFILE_BYTES: u64 = 1024 * 1024;
/// The time of files that come from no commit: the first that a zip file can express.
const FIXED_TIME: i64 = 315_532_800;

/// Makes the context that `plan` says.
pub(super) async fn fetch(
    plan: &BuildPlan,
    options: &FetchOptions,
) -> Result<Fetched, BuildFailure> {
    let commit_time = bring(&plan.source, options).await?;
    if let Some(time) = commit_time {
        let file = options.source_date_epoch.clone();
        let written = tokio::fs::write(file, time.to_string()).await;
        written.map_err(|error| of_disk("cannot write the time of the commit", &error))?;
    }
    let (context, time) = (options.context.clone(), commit_time.unwrap_or(FIXED_TIME));
    let surveyed = blocking(move || survey::settle(&context, time)).await?;
    tracing::info!(
        files = surveyed.files,
        bytes = surveyed.bytes,
        "context fetched"
    );
    let base_images = look_at_dockerfile(plan, &options.context).await?;
    let mirrored = match &plan.mirrored {
        None => BTreeMap::new(),
        Some(mirrored) => redirect(mirrored, &base_images, &options.base_images).await?,
    };
    Ok(Fetched {
        base_images: base_images.names,
        mirrored,
        commit_time,
        files: surveyed.files,
        bytes: surveyed.bytes,
    })
}

/// What the Dockerfile builds upon. Nobody has to wait for a builder to learn that there is none.
async fn look_at_dockerfile(plan: &BuildPlan, context: &Path) -> Result<BaseImages, BuildFailure> {
    let Some(name) = &plan.dockerfile else {
        return Ok(BaseImages::default());
    };
    let missing = |problem: &str| {
        of_source(
            Reason::DockerfileNotFound,
            format!("{name} of the source {problem}; spec.dockerfile says where it is"),
        )
    };
    let path = context.join(name.as_ref());
    let metadata = tokio::fs::metadata(&path).await;
    let metadata = metadata.map_err(|_| missing("does not exist"))?;
    if !metadata.is_file() {
        return Err(missing("is no file"));
    }
    if metadata.len() > MAX_DOCKERFILE_BYTES {
        return Err(missing("is larger than a Dockerfile can be"));
    }
    let bytes = tokio::fs::read(&path).await;
    let bytes = bytes.map_err(|error| of_disk("cannot read the Dockerfile", &error))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(base_images(&text, &plan.arguments))
}

/// Tells the builder where base images are, in `file`; returns their digests.
async fn redirect(
    mirrored: &MirroredImages,
    images: &BaseImages,
    file: &Path,
) -> Result<BTreeMap<String, Digest>, BuildFailure> {
    let redirection = mirrored.redirect(images)?;
    let written = tokio::fs::write(file, redirection.lines).await;
    written.map_err(|error| of_disk("cannot write where base images are", &error))?;
    Ok(redirection.digests)
}

/// Brings the files; returns when they were committed.
async fn bring(
    source: &PlannedSource,
    options: &FetchOptions,
) -> Result<Option<i64>, BuildFailure> {
    Ok(match source {
        PlannedSource::Git {
            url,
            commit,
            reference,
            path,
            submodules,
            credentials,
            insecure,
        } => {
            let commit = Commit {
                url,
                id: commit,
                reference: reference.as_ref(),
                path: path.as_ref(),
                submodules: *submodules,
            };
            let access = GitAccess {
                credentials: secret::read(&options.stage.credentials, credentials.as_deref())
                    .await?,
                insecure: *insecure,
            };
            Some(fetch_commit(&commit, &access, options).await?)
        }
        PlannedSource::Files => {
            let (from, to) = (options.files.clone(), options.context.clone());
            blocking(move || files::copy(&from, &to)).await?;
            None
        }
        PlannedSource::Image { reference, access } => {
            let unpacking = Unpacking::begin(&options.context)?;
            image::fetch(reference, access, unpacking, &options.stage).await?;
            None
        }
        PlannedSource::Http {
            url,
            checksum,
            insecure,
        } => {
            let unpacking = Unpacking::begin(&options.context)?;
            http::fetch(url, checksum, *insecure, unpacking, &options.workspace).await?;
            None
        }
    })
}

/// What of a repository is the context.
struct Commit<'a> {
    url: &'a GitUrl,
    id: &'a CommitId,
    reference: Option<&'a ReferenceName>,
    path: Option<&'a ContextPath>,
    submodules: bool,
}

async fn fetch_commit(
    commit: &Commit<'_>,
    access: &GitAccess,
    options: &FetchOptions,
) -> Result<i64, BuildFailure> {
    let checkout = Checkout {
        url: commit.url,
        commit: commit.id,
        reference: commit.reference,
        path: commit.path.map(AsRef::<Path>::as_ref),
        submodules: commit.submodules,
        directory: &options.context,
        workspace: &options.workspace,
    };
    tracing::info!(repository = %commit.url, commit = %commit.id, "fetching");
    git::fetch(&checkout, access, &options.scratch, GIT_LIMIT)
        .await
        .map_err(of_git)
}

/// Does work with files on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BuildFailure> + Send + 'static,
) -> Result<T, BuildFailure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(of_disk("cannot write the context", &error.into())))
}

/// The context has something that no build gets.
fn invalid(message: String) -> BuildFailure {
    of_source(Reason::ContextInvalid, message)
}
