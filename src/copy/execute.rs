//! Carries out a plan: the same engine as for the command line, with the plan's clients.

use std::sync::Arc;
use std::time::Duration;

use super::progress::{Counters, Unobserved};
use super::record::{log_copied, log_failed, log_progress};
use super::{
    Clients, Effect, Failure, ImageCopy, ManifestName, Plan, PlannedImage, Report, ReportedFailure,
    Side, SignatureCheck, Target, copy_images,
};
use crate::transport::RegistryRepository;

/// How often the log says how far a run is.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// Copies everything in the plan and reports what became of it. `signatures` is the check by the policies of
/// the plan.
pub async fn execute(plan: &Plan, clients: &Clients, signatures: Option<SignatureCheck>) -> Report {
    let mut report = Report::default();
    let mut copies = Vec::new();
    let mut planned = Vec::new();
    for image in &plan.images {
        match image_copy(image, clients) {
            Ok(copy) => {
                copies.push(copy);
                planned.push(image);
            }
            Err(failure) => {
                for destination in &image.destinations {
                    let to = destination.reference.to_string();
                    log_failed(image, &to, &failure);
                    report.failures.push(failed(image, &to, &failure));
                }
            }
        }
    }
    let counters = Arc::new(Counters::default());
    let options = plan.options.clone().into_options(signatures.map(Arc::new));
    let copying = copy_images(
        &copies,
        &options,
        Arc::clone(&counters),
        Arc::new(Unobserved),
    );
    let outcomes = tokio::select! {
        outcomes = copying => outcomes,
        never = keep_logging_progress(&counters) => match never {},
    };
    for (image, outcome) in planned.iter().zip(outcomes) {
        for (destination, result) in image.destinations.iter().zip(outcome) {
            let to = destination.reference.to_string();
            match result {
                Ok(done) if done.effect == Effect::Kept => {
                    tracing::info!(source = %image.source, destination = %to, digest = %done.digest, "kept what was there");
                }
                Ok(done) => {
                    log_copied(image, &to, &done);
                    report.images_copied += 1;
                }
                Err(failure) => {
                    log_failed(image, &to, &failure);
                    report.failures.push(failed(image, &to, &failure));
                }
            }
        }
    }
    let counts = counters.now();
    Report {
        bytes: counts.bytes,
        blobs_copied: counts.sent,
        blobs_mounted: counts.mounted,
        blobs_skipped: counts.existing,
        ..report
    }
}

/// The task that a line of the plan stands for.
fn image_copy(image: &PlannedImage, clients: &Clients) -> Result<ImageCopy, Failure> {
    let place = |side, reference: &crate::oci::Reference, access| {
        let client = clients.get(side, reference, access)?;
        Ok::<_, Failure>(Arc::new(RegistryRepository::new(
            client,
            reference.registry().clone(),
            reference.repository().clone(),
        )))
    };
    let targets = image
        .destinations
        .iter()
        .map(|destination| {
            Ok(Target {
                place: place(
                    Side::Destination,
                    &destination.reference,
                    &destination.access,
                )?,
                tag: destination.reference.tag().cloned(),
                existing: destination.existing,
            })
        })
        .collect::<Result<_, Failure>>()?;
    Ok(ImageCopy {
        source: place(Side::Source, &image.source, &image.access)?,
        image: ManifestName::Digest(image.digest.clone()),
        targets,
    })
}

fn failed(image: &PlannedImage, destination: &str, failure: &Failure) -> ReportedFailure {
    ReportedFailure::new(image.source.to_string(), destination.to_owned(), failure)
}

async fn keep_logging_progress(counters: &Counters) -> std::convert::Infallible {
    let mut period = tokio::time::interval(PROGRESS_PERIOD);
    period.tick().await;
    loop {
        period.tick().await;
        log_progress(counters.now().into());
    }
}
