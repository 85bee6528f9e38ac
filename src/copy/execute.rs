//! Carries out a plan: images side by side, each to its destinations side by side, one failure
//! never stopping the rest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;

use super::blob::{BlobCounters, BlobTransfers, Endpoint};
use super::image::Image;
use super::{
    AccessReference, Clients, Failure, Plan, PlannedDestination, PlannedImage, Report,
    ReportedFailure, Side,
};
use crate::oci::Reference;

/// Images that are copied at once.
const PARALLEL_IMAGES: usize = 4;
/// How often the log says how far a run is.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// Copies everything in the plan and reports what became of it.
pub async fn execute(plan: &Plan, clients: &Clients) -> Report {
    let counters = Arc::new(BlobCounters::default());
    let blobs = BlobTransfers::new(Arc::clone(&counters));
    let copies = futures::stream::iter(&plan.images)
        .map(|image| copy_image(image, clients, &blobs))
        .buffer_unordered(PARALLEL_IMAGES)
        .concat();
    let outcomes = tokio::select! {
        outcomes = copies => outcomes,
        never = log_progress(&counters) => match never {},
    };
    let mut report = Report {
        bytes: counters.bytes.load(Ordering::Relaxed),
        blobs_copied: counters.copied.load(Ordering::Relaxed),
        blobs_mounted: counters.mounted.load(Ordering::Relaxed),
        blobs_skipped: counters.skipped.load(Ordering::Relaxed),
        ..Report::default()
    };
    for outcome in outcomes {
        match outcome {
            Ok(()) => report.images_copied += 1,
            Err(failure) => report.failures.push(failure),
        }
    }
    report
}

/// One outcome per destination.
async fn copy_image(
    image: &PlannedImage,
    clients: &Clients,
    blobs: &BlobTransfers,
) -> Vec<Result<(), ReportedFailure>> {
    let read = async {
        let source = endpoint(clients, &image.source, &image.access, Side::Source)?;
        let manifests = Image::read(&source, &image.digest).await?;
        Ok::<_, Failure>((source, manifests))
    };
    let read = read.await;
    let copies = image.destinations.iter().map(|destination| {
        let read = read.as_ref();
        async move {
            let copied = match read {
                Ok((source, manifests)) => write_image(manifests, source, destination, clients, blobs).await,
                Err(failure) => Err(failure.clone()),
            };
            let (from, to) = (image.source.to_string(), destination.reference.to_string());
            match copied {
                Ok(()) => {
                    tracing::info!(source = %from, destination = %to, digest = %image.digest, "image copied");
                    Ok(())
                }
                Err(failure) => {
                    tracing::error!(source = %from, destination = %to, reason = %failure.reason, %failure, "image not copied");
                    Err(ReportedFailure::new(from, to, &failure))
                }
            }
        }
    });
    futures::future::join_all(copies).await
}

async fn write_image(
    manifests: &Image,
    source: &Endpoint,
    destination: &PlannedDestination,
    clients: &Clients,
    blobs: &BlobTransfers,
) -> Result<(), Failure> {
    let endpoint = endpoint(
        clients,
        &destination.reference,
        &destination.access,
        Side::Destination,
    )?;
    manifests
        .write(source, &endpoint, destination.reference.tag(), blobs)
        .await
}

fn endpoint(
    clients: &Clients,
    reference: &Reference,
    access: &AccessReference,
    side: Side,
) -> Result<Endpoint, Failure> {
    let client = clients.get(side, reference, access)?;
    Ok(Endpoint {
        client,
        registry: reference.registry().clone(),
        repository: reference.repository().clone(),
    })
}

async fn log_progress(counters: &BlobCounters) -> std::convert::Infallible {
    let mut period = tokio::time::interval(PROGRESS_PERIOD);
    period.tick().await;
    loop {
        period.tick().await;
        tracing::info!(
            bytes = counters.bytes.load(Ordering::Relaxed),
            blobs_copied = counters.copied.load(Ordering::Relaxed),
            blobs_mounted = counters.mounted.load(Ordering::Relaxed),
            blobs_skipped = counters.skipped.load(Ordering::Relaxed),
            "copying"
        );
    }
}
