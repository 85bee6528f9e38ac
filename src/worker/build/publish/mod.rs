//! The last stage: the image that a builder has left, pushed by the same engine that copies images.
//!
//! The volume with the image was written by code of users. The engine verifies every byte that it sends
//! against the digests of the manifest; which image is meant is decided here. What the registry has
//! afterwards is asked of the registry.

mod output;
mod overlay;
mod result;
mod sbom;

use std::sync::Arc;
use std::time::Duration;

use self::output::Image;
use super::PublishOptions;
use super::failure::of_secret;
use crate::build::{BuildFailure, FailureClass, PlannedOutput, Published};
use crate::copy::{
    self, Clients, Copied, Counters, ImageCopy, ManifestName, Options, Referrers, Side, TagPolicy,
    Target, Unobserved, copy_images,
};
use crate::oci::{Digest, Reference};
use crate::reason::Reason;
use crate::registry::Client;
use crate::transport::{Destination, RegistryRepository, Source};
use crate::worker::access;

/// How often the log says how far it is.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// Pushes the image to all tags, and says what the registry has.
pub(super) async fn publish(
    output: &PlannedOutput,
    options: &PublishOptions,
) -> Result<Published, BuildFailure> {
    let place = Place::open(output, options).await?;
    let destination = &place.repository;
    let image = output::open(output, &options.output).await?;
    let source = Arc::clone(&image.source);
    let to = Destination::name(destination.as_ref());
    tracing::info!(image = %image.digest, destination = to, "publishing");
    let counters = Arc::new(Counters::default());
    let outcome = push(output, &image, destination, &counters).await;
    let digest = match outcome {
        Ok(digest) => digest,
        Err(failure) => return Err(blame(failure, &source, &image.digest).await),
    };
    let sbom = if output.sbom {
        Some(sbom::attach(&place, &digest, &options.sbom).await?)
    } else {
        None
    };
    let size = result::size_of(destination.as_ref(), &digest)
        .await
        .map_err(of_registry)?;
    let counts = counters.now();
    tracing::info!(%digest, size = size.bytes, "published");
    Ok(Published {
        digest,
        media_type: size.media_type,
        size: size.bytes,
        bytes: counts.bytes,
        blobs_copied: counts.sent,
        blobs_mounted: counts.mounted,
        blobs_skipped: counts.existing,
        sbom,
    })
}

/// Where the image goes.
struct Place {
    client: Client,
    /// Registry and repository, and any of the tags.
    reference: Reference,
    repository: Arc<RegistryRepository>,
}

impl Place {
    async fn open(output: &PlannedOutput, options: &PublishOptions) -> Result<Self, BuildFailure> {
        let stage = &options.stage;
        let catalog = access::load([&output.access], &stage.credentials, &stage.certificates).await;
        let catalog = catalog.map_err(|error| of_secret(FailureClass::Registry, &error))?;
        // Which tag makes no difference to who may write to the repository.
        let tag = output.tags.first().cloned();
        let nothing = tag.is_none().then(|| Digest::sha256(b""));
        let (registry, repository) = (&output.registry, &output.repository);
        let reference = Reference::new(registry.clone(), repository.clone(), tag, nothing);
        let reference = reference.map_err(|error| BuildFailure {
            class: FailureClass::Registry,
            reason: Reason::InvalidSpec,
            message: error.to_string(),
        })?;
        let client = Clients::new(catalog).get(Side::Destination, &reference, &output.access);
        let client = client.map_err(of_registry)?;
        let place = RegistryRepository::new(client.clone(), registry.clone(), repository.clone());
        Ok(Self {
            client,
            reference,
            repository: Arc::new(place),
        })
    }
}

/// Writes the image under every tag; gives the digest that it has there.
async fn push(
    output: &PlannedOutput,
    image: &Image,
    destination: &Arc<RegistryRepository>,
    counters: &Arc<Counters>,
) -> Result<Digest, copy::Failure> {
    let target = |tag| Target {
        place: Arc::clone(destination) as Arc<dyn Destination>,
        tag,
        existing: TagPolicy::Overwrite,
    };
    let mut targets: Vec<Target> = output.tags.iter().cloned().map(Some).map(target).collect();
    if targets.is_empty() {
        targets.push(target(None));
    }
    let copy = ImageCopy {
        source: Arc::clone(&image.source),
        image: ManifestName::Digest(image.digest.clone()),
        targets,
    };
    let options = Options {
        conversion: output.conversion,
        // A layout of somebody else says what refers to the image; nothing of that is believed.
        referrers: Referrers::None,
        // Memory is what counts here: the pod stands beside others that build.
        parallel_layers: 1,
        ..Options::default()
    };
    let copies = [copy];
    let copying = copy_images(
        &copies,
        &options,
        Arc::clone(counters),
        Arc::new(Unobserved),
    );
    let outcomes = tokio::select! {
        outcomes = copying => outcomes,
        never = keep_logging(counters) => match never {},
    };
    let mut written: Option<Copied> = None;
    for result in outcomes.into_iter().flatten() {
        written = Some(result?);
    }
    written
        .map(|copied| copied.digest)
        .ok_or_else(|| copy::Failure {
            reason: Reason::RegistryError,
            message: "nothing was written".to_owned(),
        })
}

async fn keep_logging(counters: &Counters) -> std::convert::Infallible {
    let mut period = tokio::time::interval(PROGRESS_PERIOD);
    period.tick().await;
    loop {
        period.tick().await;
        let counts = counters.now();
        tracing::info!(
            bytes = counts.bytes,
            blobs_copied = counts.sent,
            "publishing"
        );
    }
}

/// Whose failure it is: the registry's, unless what the builder left is not what it says.
async fn blame(failure: copy::Failure, source: &Arc<dyn Source>, image: &Digest) -> BuildFailure {
    match failure.reason {
        Reason::SourceInvalid | Reason::SourceNotFound | Reason::ConversionUnsupported => {
            output::invalid(&failure)
        }
        Reason::StorageFailed => BuildFailure {
            class: FailureClass::Infrastructure,
            reason: failure.reason,
            message: failure.message,
        },
        // Content that does not have its digest has no side: all of it is read once more to find out.
        Reason::RegistryError => match result::verify(source, image).await {
            Ok(()) => of_registry(failure),
            Err(damaged) => output::invalid(&damaged),
        },
        _ => of_registry(failure),
    }
}

fn of_registry(failure: copy::Failure) -> BuildFailure {
    BuildFailure {
        class: FailureClass::Registry,
        reason: failure.reason,
        message: failure.message,
    }
}
