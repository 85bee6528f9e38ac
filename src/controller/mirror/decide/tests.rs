//! What is decided in each situation.

mod form;
mod restraint;

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;
use crate::controller::mirror::wanted::Wanted;
use crate::oci::MediaType;
use crate::registry::ManifestHead;

const DESTINATION: &str = "one.test/docker.io/library/alpine:3";

fn digest(content: &str) -> Digest {
    Digest::sha256(content.as_bytes())
}

fn head(content: &str) -> ManifestHead {
    ManifestHead {
        digest: digest(content),
        media_type: MediaType::new(MediaType::OCI_INDEX),
        size: None,
    }
}

fn failure(reason: Reason) -> Failure {
    Failure {
        reason,
        message: "because".to_owned(),
    }
}

/// One image with one destination.
fn scan(source: Result<&str, Reason>, destination: Result<Option<&str>, Reason>) -> Scan {
    let spec =
        json!({"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]});
    let wanted = Wanted::new(&serde_json::from_value(spec).unwrap()).unwrap();
    let wanted = wanted.expand([]).unwrap().images.remove(0);
    Scan {
        unlisted: Vec::new(),
        images: vec![ImageScan {
            wanted,
            source: source.map(head).map_err(failure),
            destinations: vec![destination.map(|found| found.map(digest)).map_err(failure)],
        }],
    }
}

fn previous(source: &str, destination: Option<&str>, state: ImageState) -> Vec<ImageStatus> {
    let failed = state == ImageState::Failed;
    vec![ImageStatus {
        source: "docker.io/library/alpine:3".to_owned(),
        source_digest: Some(digest(source).to_string()),
        media_type: None,
        destinations: vec![DestinationStatus {
            reference: DESTINATION.to_owned(),
            digest: destination.map(|found| digest(found).to_string()),
            conversion: None,
            state,
            reason: failed.then(|| "PushDenied".to_owned()),
            message: failed.then(|| "before".to_owned()),
        }],
    }]
}

/// The form of a spec with these fields.
fn form(fields: &Value) -> Form {
    let mut spec =
        json!({"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]});
    for (name, value) in fields.as_object().unwrap() {
        spec[name] = value.clone();
    }
    Form::new(&serde_json::from_value(spec).unwrap()).unwrap()
}

static AS_IT_IS: LazyLock<Form> = LazyLock::new(|| form(&json!({})));
static NO_OWNERS: BTreeMap<Reference, String> = BTreeMap::new();
static NO_FENCES: LazyLock<Fences> = LazyLock::new(Fences::default);

/// A situation of a plain copy that nothing stands in the way of.
fn situation<'a>(
    trigger: Trigger,
    scan: &'a Scan,
    previous: &'a [ImageStatus],
    ended_run: Option<&'a EndedRun>,
) -> Situation<'a> {
    Situation {
        trigger,
        scan,
        ended_run,
        previous,
        drift: DriftPolicy::Correct,
        form: &AS_IT_IS,
        shards: 1,
        owners: &NO_OWNERS,
        fences: &NO_FENCES,
    }
}

fn decide_with(
    trigger: Trigger,
    scan: &Scan,
    previous: &[ImageStatus],
    ended_run: Option<&EndedRun>,
) -> (ImageState, Option<String>, Decision) {
    let decision = decide(&situation(trigger, scan, previous, ended_run));
    let destination = decision.images[0].destinations[0].clone();
    (destination.state, destination.reason, decision)
}

#[test]
fn what_is_in_place_is_left_alone() {
    let scan = scan(Ok("a"), Ok(Some("a")));
    let (state, _, decision) = decide_with(Trigger::Due, &scan, &[], None);
    assert_eq!(state, ImageState::Present);
    assert_eq!(decision.plan, None);
}

#[test]
fn what_is_missing_or_different_is_copied_by_digest() {
    for found in [None, Some("old")] {
        let scan = scan(Ok("a"), Ok(found));
        let (state, _, decision) = decide_with(Trigger::SpecChanged, &scan, &[], None);
        assert_eq!(state, ImageState::Pending);
        let plan = decision.plan.unwrap();
        assert_eq!(plan.images[0].digest, digest("a"));
        assert_eq!(
            plan.images[0].destinations[0].reference.to_string(),
            DESTINATION
        );
        assert!(decision.drifted.is_empty() && !decision.repeats_failures_only);
    }
}

#[test]
fn a_moved_source_is_followed_and_is_no_drift() {
    let (state, _, decision) = decide_with(
        Trigger::Due,
        &scan(Ok("b"), Ok(Some("a"))),
        &previous("a", Some("a"), ImageState::Present),
        None,
    );
    assert_eq!(state, ImageState::Pending);
    assert!(decision.plan.is_some() && decision.drifted.is_empty());
}

#[test]
fn a_moved_or_deleted_destination_tag_is_drift_and_is_put_back() {
    for found in [None, Some("other")] {
        let before = previous("a", Some("a"), ImageState::Present);
        let (state, _, decision) =
            decide_with(Trigger::Due, &scan(Ok("a"), Ok(found)), &before, None);
        assert_eq!(state, ImageState::Drifted);
        assert_eq!(decision.drifted, [DESTINATION]);
        assert!(decision.plan.is_some());
    }
}

#[test]
fn unreadable_registries_fail_the_image_and_plan_nothing() {
    for scan in [
        scan(Err(Reason::SourceNotFound), Ok(None)),
        scan(Ok("a"), Err(Reason::SourceNotFound)),
    ] {
        let (state, reason, decision) = decide_with(Trigger::Due, &scan, &[], None);
        assert_eq!(
            (state, reason.as_deref()),
            (ImageState::Failed, Some("SourceNotFound"))
        );
        assert_eq!(decision.plan, None);
    }
}

#[test]
fn a_failure_that_the_worker_reported_waits_for_the_next_scan() {
    let ended = EndedRun {
        failures: BTreeMap::from([(
            (
                "docker.io/library/alpine:3".to_owned(),
                DESTINATION.to_owned(),
            ),
            failure(Reason::PushDenied),
        )]),
        job_failure: Some("index 0 failed".to_owned()),
        ..EndedRun::default()
    };
    let before = previous("a", None, ImageState::Copying);
    let (state, reason, decision) = decide_with(
        Trigger::RunEnded,
        &scan(Ok("a"), Ok(None)),
        &before,
        Some(&ended),
    );
    assert_eq!(
        (state, reason.as_deref()),
        (ImageState::Failed, Some("PushDenied"))
    );
    assert_eq!(decision.plan, None);
}

#[test]
fn a_run_without_a_report_is_a_failed_run_and_a_success_is_not_believed() {
    let before = previous("a", None, ImageState::Copying);
    for (job_failure, expected) in [
        (Some("killed".to_owned()), "RunFailed"),
        (None, "DestinationMismatch"),
    ] {
        let ended = EndedRun {
            job_failure,
            ..EndedRun::default()
        };
        let (state, reason, decision) = decide_with(
            Trigger::RunEnded,
            &scan(Ok("a"), Ok(None)),
            &before,
            Some(&ended),
        );
        assert_eq!(
            (state, reason.as_deref()),
            (ImageState::Failed, Some(expected))
        );
        assert_eq!(decision.plan, None);
    }
}

#[test]
fn a_source_that_moved_during_the_run_starts_the_next_one() {
    let before = previous("a", None, ImageState::Copying);
    let (state, _, decision) = decide_with(
        Trigger::RunEnded,
        &scan(Ok("b"), Ok(Some("a"))),
        &before,
        Some(&EndedRun::default()),
    );
    assert_eq!(state, ImageState::Pending);
    assert!(decision.plan.is_some());
}

#[test]
fn a_repeated_attempt_keeps_the_last_verdict_unless_somebody_asked_for_it() {
    let before = previous("a", None, ImageState::Failed);
    let (state, reason, decision) =
        decide_with(Trigger::Due, &scan(Ok("a"), Ok(None)), &before, None);
    assert_eq!(
        (state, reason.as_deref()),
        (ImageState::Failed, Some("PushDenied"))
    );
    assert!(decision.plan.is_some() && decision.repeats_failures_only);
    let (state, _, decision) =
        decide_with(Trigger::Requested, &scan(Ok("a"), Ok(None)), &before, None);
    assert_eq!(state, ImageState::Pending);
    assert!(!decision.repeats_failures_only);
}

#[test]
fn a_run_that_cannot_start_fails_its_images() {
    let scan = scan(Ok("a"), Ok(None));
    let (_, _, mut decision) = decide_with(Trigger::Due, &scan, &[], None);
    decision.fail_run("quota exceeded");
    assert_eq!(decision.plan, None);
    let destination = &decision.images[0].destinations[0];
    assert_eq!(destination.message.as_deref(), Some("quota exceeded"));
    assert_eq!(destination.state, ImageState::Failed);
}

#[test]
fn what_the_last_run_was_not_to_copy_is_copied_by_the_next() {
    let source = "docker.io/library/alpine:3".to_owned();
    let before = previous("a", None, ImageState::Pending);
    for (planned, expected) in [
        (BTreeSet::new(), ImageState::Pending),
        (
            [(source, DESTINATION.to_owned())].into(),
            ImageState::Failed,
        ),
    ] {
        let ended = EndedRun {
            planned: Some(planned),
            ..EndedRun::default()
        };
        let (state, _, decision) = decide_with(
            Trigger::RunEnded,
            &scan(Ok("a"), Ok(None)),
            &before,
            Some(&ended),
        );
        assert_eq!(state, expected);
        assert_eq!(decision.plan.is_some(), expected == ImageState::Pending);
    }
}

#[test]
fn a_run_takes_no_more_than_one_object_holds() {
    let tags: Vec<_> = (0..=MAX_PLANNED_IMAGES)
        .map(|number| format!("1.{number}").parse().unwrap())
        .collect();
    let spec =
        json!({"sources": [{"repository": "alpine"}], "destinations": [{"prefix": "one.test"}]});
    let wanted = Wanted::new(&serde_json::from_value(spec).unwrap()).unwrap();
    let images = wanted.expand([Ok(tags)]).unwrap().images.into_iter();
    let scan = Scan {
        unlisted: Vec::new(),
        images: images
            .enumerate()
            .map(|(number, wanted)| ImageScan {
                wanted,
                source: Ok(head(&number.to_string())),
                destinations: vec![Ok(None)],
            })
            .collect(),
    };
    let (_, _, decision) = decide_with(Trigger::Due, &scan, &[], None);
    let plan = decision.plan.unwrap();
    assert_eq!(plan.images.len(), MAX_PLANNED_IMAGES);
    assert_eq!(decision.images.len(), MAX_PLANNED_IMAGES + 1);
    let packed = crate::packed::pack(&plan).unwrap();
    assert!(packed.len() < 1_000_000, "{}", packed.len());
}

#[test]
fn drift_that_is_only_reported_is_left_as_it_is() {
    let moved = scan(Ok("a"), Ok(Some("other")));
    let decide_again = |previous: &[ImageStatus]| {
        decide(&Situation {
            drift: DriftPolicy::Report,
            ..situation(Trigger::Due, &moved, previous, None)
        })
    };
    let first = decide_again(&previous("a", Some("a"), ImageState::Present));
    let second = decide_again(&first.images);
    assert_eq!(first.drifted, [DESTINATION]);
    assert_eq!(second.drifted, [""; 0], "it is told once");
    for decision in [first, second] {
        let destination = &decision.images[0].destinations[0];
        assert_eq!(destination.state, ImageState::Drifted);
        assert_eq!(destination.reason.as_deref(), Some("DriftDetected"));
        assert_eq!(decision.plan, None);
    }
}
