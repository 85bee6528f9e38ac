//! What a person wants to be told as it happens: the events of a mirror. Pure: two statuses in,
//! notices out. Only changes are news.

use super::decide::Decision;
use crate::api::{ConditionType, ImageMirrorStatus, ImageState, find_condition};
use crate::controller::events::{Notice, Severity};
use crate::reason::Reason;

/// Most notices of one kind from one scan; the status has the rest.
const MAX_NOTICES: usize = 10;

/// The notices of a scan.
pub(super) fn notices(
    previous: &ImageMirrorStatus,
    next: &ImageMirrorStatus,
    decision: &Decision,
) -> Vec<Notice> {
    let mut notices: Vec<Notice> = decision
        .drifted
        .iter()
        .take(MAX_NOTICES)
        .map(|reference| {
            Notice::new(
                Severity::Warning,
                Reason::DriftDetected,
                format!("{reference} was moved or deleted by someone else; it is put back"),
            )
        })
        .collect();
    notices.extend(new_failures(previous, next));
    if decision.plan.is_some() && !decision.repeats_failures_only {
        let job = next.run.as_ref().map_or("", |run| run.job.as_str());
        let copies: usize = decision
            .plan
            .iter()
            .flat_map(|plan| &plan.images)
            .map(|image| image.destinations.len())
            .sum();
        notices.push(Notice::new(
            Severity::Normal,
            Reason::Progressing,
            format!("Job {job} copies {copies} of {} images", next.desired),
        ));
    }
    notices.extend(success(previous, next));
    notices
}

fn new_failures(previous: &ImageMirrorStatus, next: &ImageMirrorStatus) -> Vec<Notice> {
    let known: Vec<(&str, Option<&str>)> = failed(previous)
        .map(|(_, destination)| {
            (
                destination.reference.as_str(),
                destination.reason.as_deref(),
            )
        })
        .collect();
    failed(next)
        .filter(|(_, destination)| {
            !known.contains(&(
                destination.reference.as_str(),
                destination.reason.as_deref(),
            ))
        })
        .take(MAX_NOTICES)
        .map(|(source, destination)| {
            let reason = destination
                .reason
                .as_deref()
                .and_then(Reason::from_name)
                .unwrap_or(Reason::RunFailed);
            let message = destination.message.as_deref().unwrap_or_default();
            Notice::new(
                Severity::Warning,
                reason,
                format!("{source} to {}: {message}", destination.reference),
            )
        })
        .collect()
}

fn failed(
    status: &ImageMirrorStatus,
) -> impl Iterator<Item = (&str, &crate::api::DestinationStatus)> {
    status
        .images
        .iter()
        .flat_map(|image| {
            image
                .destinations
                .iter()
                .map(move |destination| (image.source.as_str(), destination))
        })
        .filter(|(_, destination)| destination.state == ImageState::Failed)
}

/// Everything is in place, and it was not before. What was there at the first look is no news: of ten thousand
/// mirrors that are restored at once it would be ten thousand events.
fn success(previous: &ImageMirrorStatus, next: &ImageMirrorStatus) -> Option<Notice> {
    let ready = find_condition(&next.conditions, ConditionType::Ready)?;
    let before = find_condition(&previous.conditions, ConditionType::Ready);
    let was_ready = before.is_some_and(|condition| condition.status == "True");
    let was_always_so = before.is_none() && next.run.is_none();
    if ready.status != "True" || was_ready || was_always_so {
        return None;
    }
    let copied = next
        .run
        .as_ref()
        .filter(|run| run.completion_time.is_some() && previous.run.as_ref() != Some(run))
        .map(|run| {
            format!(
                "; the run copied {} blobs ({} bytes), mounted {} and found {} in place",
                run.blobs_copied, run.bytes, run.blobs_mounted, run.blobs_skipped
            )
        })
        .unwrap_or_default();
    Some(Notice::new(
        Severity::Normal,
        Reason::Succeeded,
        format!("{}{copied}", ready.message),
    ))
}
