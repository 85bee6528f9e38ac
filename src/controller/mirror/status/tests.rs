//! What the status says in each situation.

use serde_json::{Value, json};

use super::*;
use crate::api::{DestinationStatus, RunStatus};
use crate::copy::{Plan, PlannedOptions, Progress};

const START: i64 = 1_000_000;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn image(name: &str, state: ImageState, reason: Option<Reason>) -> ImageStatus {
    ImageStatus {
        source: format!("docker.io/library/{name}:1"),
        source_digest: None,
        media_type: None,
        destinations: vec![DestinationStatus {
            reference: format!("one.test/{name}:1"),
            digest: None,
            conversion: None,
            state,
            reason: reason.map(|reason| reason.to_string()),
            message: reason.map(|_| "because".to_owned()),
        }],
    }
}

fn decision(images: Vec<ImageStatus>, plans: bool, repeats_failures_only: bool) -> Decision {
    let plan = plans.then(|| Plan {
        version: Plan::VERSION,
        options: PlannedOptions::default(),
        shards: 1,
        images: Vec::new(),
    });
    Decision {
        plan,
        repeats_failures_only,
        images,
        obstacle: None,
        held_until: None,
        drifted: Vec::new(),
    }
}

fn after(
    previous: &ImageMirrorStatus,
    decision: &Decision,
    trigger: Trigger,
    second: i64,
) -> ImageMirrorStatus {
    let input = StatusInput {
        previous,
        generation: Some(2),
        requested_at: Some("then"),
        trigger,
        interval: Duration::from_hours(1),
        jitter: 0.5,
        now: time(second),
    };
    after_scan(&input, decision)
}

/// Type, status and reason of each condition.
fn conditions_of(status: &ImageMirrorStatus) -> Value {
    status
        .conditions
        .iter()
        .map(|condition| {
            assert_eq!(condition.observed_generation, Some(2));
            json!([condition.type_, condition.status, condition.reason])
        })
        .collect()
}

#[test]
fn everything_in_place_is_ready_and_scanned_again_after_the_interval() {
    let images = vec![
        image("a", ImageState::Present, None),
        image("b", ImageState::Present, None),
    ];
    let status = after(
        &ImageMirrorStatus::default(),
        &decision(images, false, true),
        Trigger::Due,
        0,
    );
    assert_eq!(
        conditions_of(&status),
        json!([["Ready", "True", "Succeeded"]])
    );
    assert_eq!(
        status.conditions[0].message,
        "2 images in place in every destination"
    );
    assert_eq!(
        (status.summary.as_str(), status.observed_generation),
        ("2/2", Some(2))
    );
    assert_eq!(status.next_scan_time, Some(Time(time(3600))));
    assert_eq!(status.last_sync_time, Some(Time(time(0))));
    assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("then"));
}

#[test]
fn a_scan_that_changes_nothing_moves_only_scan_times() {
    let images = vec![image("a", ImageState::Present, None)];
    let first = after(
        &ImageMirrorStatus::default(),
        &decision(images.clone(), false, true),
        Trigger::Due,
        0,
    );
    let second = after(&first, &decision(images, false, true), Trigger::Due, 60);
    assert_eq!(second.conditions, first.conditions);
    assert_eq!(second.last_sync_time, first.last_sync_time);
}

#[test]
fn copying_is_progress_and_not_yet_ready() {
    let images = vec![
        image("a", ImageState::Copying, None),
        image("b", ImageState::Drifted, None),
    ];
    let status = after(
        &ImageMirrorStatus::default(),
        &decision(images, true, false),
        Trigger::Due,
        0,
    );
    assert_eq!(
        conditions_of(&status),
        json!([
            ["Ready", "Unknown", "Progressing"],
            ["Reconciling", "True", "Progressing"]
        ])
    );
    assert_eq!(
        (status.pending, status.drifted, status.next_scan_time),
        (2, 1, None)
    );
}

#[test]
fn what_only_the_user_can_mend_is_stalled() {
    let images = vec![
        image("a", ImageState::Present, None),
        image("b", ImageState::Failed, Some(Reason::PushDenied)),
    ];
    let status = after(
        &ImageMirrorStatus::default(),
        &decision(images, false, true),
        Trigger::RunEnded,
        0,
    );
    assert_eq!(
        conditions_of(&status),
        json!([
            ["Ready", "False", "PushDenied"],
            ["Stalled", "True", "PushDenied"]
        ])
    );
    assert_eq!(
        status.conditions[0].message,
        "1 of 2 images failed: docker.io/library/b:1: because"
    );
    assert_eq!(status.images[0].source, "docker.io/library/b:1");
}

#[test]
fn what_may_pass_is_retried_and_hides_what_may_not() {
    let images = vec![
        image("a", ImageState::Failed, Some(Reason::PushDenied)),
        image("b", ImageState::Failed, Some(Reason::RegistryUnreachable)),
    ];
    let status = after(
        &ImageMirrorStatus::default(),
        &decision(images, false, true),
        Trigger::Due,
        0,
    );
    assert_eq!(
        conditions_of(&status),
        json!([
            ["Ready", "False", "RegistryUnreachable"],
            ["Reconciling", "True", "ProgressingWithRetry"]
        ])
    );
}

#[test]
fn a_repeated_attempt_leaves_the_verdict_alone() {
    let images = vec![image("a", ImageState::Failed, Some(Reason::PushDenied))];
    let first = after(
        &ImageMirrorStatus::default(),
        &decision(images.clone(), false, true),
        Trigger::RunEnded,
        0,
    );
    let repeated = after(&first, &decision(images, true, true), Trigger::Due, 60);
    assert_eq!(repeated.conditions, first.conditions);
}

#[test]
fn attempts_come_less_often_the_longer_it_fails() {
    let failing = || {
        decision(
            vec![image("a", ImageState::Failed, Some(Reason::RateLimited))],
            false,
            true,
        )
    };
    let mut status = after(&ImageMirrorStatus::default(), &failing(), Trigger::Due, 0);
    let mut pauses = Vec::new();
    for second in [0, 10, 100, 1000, 100_000] {
        status = after(&status, &failing(), Trigger::Due, second);
        let next = status.next_scan_time.clone().unwrap().0;
        pauses.push(next.duration_since(time(second)).as_secs());
    }
    assert_eq!(pauses, [5, 10, 100, 900, 900]);
}

#[test]
fn the_status_lists_a_bounded_number_of_images_failed_ones_first() {
    let mut images: Vec<_> = (0..150)
        .map(|index| image(&format!("i{index}"), ImageState::Present, None))
        .collect();
    images.push(image("bad", ImageState::Failed, Some(Reason::RunFailed)));
    let status = after(
        &ImageMirrorStatus::default(),
        &decision(images, false, true),
        Trigger::Due,
        0,
    );
    assert_eq!(status.images.len(), 100);
    assert_eq!(status.images[0].source, "docker.io/library/bad:1");
    assert_eq!(
        (status.desired, status.present, status.failed),
        (151, 150, 1)
    );
}

#[test]
fn a_status_stays_small_however_long_everything_is_in_it() {
    let mut long = image("a", ImageState::Failed, Some(Reason::RunFailed));
    let mut destination = long.destinations.remove(0);
    destination.reference = "r".repeat(512);
    destination.message = Some("m".repeat(1024));
    long.destinations = vec![destination; 16];
    let status = after(
        &ImageMirrorStatus::default(),
        &decision(vec![long; 120], false, true),
        Trigger::Due,
        0,
    );
    let size = serde_json::to_vec(&status).unwrap().len();
    assert!(size < 256 * 1024, "{size}");
    assert!(!status.images.is_empty());
}

#[test]
fn what_the_worker_does_shows_while_it_lasts() {
    let images = vec![image("a", ImageState::Pending, None)];
    let status = after(
        &ImageMirrorStatus::default(),
        &decision(images, true, false),
        Trigger::Due,
        0,
    );
    let run = |workers| RunState {
        workers,
        progress: None,
    };
    let stuck = while_following(
        &status,
        &run(WorkerState::Blocked("ImagePullBackOff".to_owned())),
    );
    assert_eq!(
        stuck.conditions[1].message,
        "copying 1 image; the worker is not running: ImagePullBackOff"
    );
    assert_eq!(while_following(&stuck, &run(WorkerState::Starting)), status);
    let running = while_following(&status, &run(WorkerState::Running));
    assert_eq!(running.images[0].destinations[0].state, ImageState::Copying);
    assert_eq!(
        (running.pending, &running.conditions),
        (1, &status.conditions)
    );
}

#[test]
fn progress_counts_and_never_falls() {
    let mut status = ImageMirrorStatus {
        run: Some(RunStatus::default()),
        ..ImageMirrorStatus::default()
    };
    for (bytes, expected) in [(10, 10), (30, 30), (20, 30)] {
        let progress = Progress {
            bytes,
            images_written: 1,
            ..Progress::default()
        };
        status = while_following(
            &status,
            &RunState {
                workers: WorkerState::Running,
                progress: Some(progress),
            },
        );
        let run = status.run.as_ref().unwrap();
        assert_eq!((run.bytes, run.images_copied), (expected, 1));
    }
}

#[test]
fn images_that_are_held_back_are_looked_at_when_they_can_be_copied() {
    let mut decision = decision(vec![image("a", ImageState::Pending, None)], false, true);
    decision.held_until = Some(time(3));
    let status = after(
        &ImageMirrorStatus::default(),
        &decision,
        Trigger::SpecChanged,
        0,
    );
    assert_eq!(status.next_scan_time, Some(Time(time(3))));
    assert_eq!(
        conditions_of(&status),
        json!([
            ["Ready", "Unknown", "Progressing"],
            ["Reconciling", "True", "Progressing"]
        ])
    );
}
