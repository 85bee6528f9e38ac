//! What is decided in each situation.

use serde_json::{Value, json};

use super::*;
use crate::api::ConversionStatus;
use crate::controller::mirror::fence::Fence;
use crate::controller::mirror::wanted::Wanted;
use crate::copy::{Effect, PlannedOptions, TagPolicy};
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

fn decide_with(
    trigger: Trigger,
    scan: &Scan,
    previous: &[ImageStatus],
    ended_run: Option<&EndedRun>,
) -> (ImageState, Option<String>, Decision) {
    let decision = decide(&Situation {
        trigger,
        scan,
        ended_run,
        previous,
        drift: DriftPolicy::Correct,
        form: &form(&json!({})),
        shards: 1,
        owners: &BTreeMap::new(),
        fences: &Fences::default(),
    });
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
        failures: vec![RunFailure {
            source: "docker.io/library/alpine:3".to_owned(),
            destination: DESTINATION.to_owned(),
            failure: failure(Reason::PushDenied),
        }],
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
    let decide_again = |previous: &[ImageStatus]| {
        decide(&Situation {
            trigger: Trigger::Due,
            scan: &scan(Ok("a"), Ok(Some("other"))),
            ended_run: None,
            previous,
            drift: DriftPolicy::Report,
            form: &form(&json!({})),
            shards: 1,
            owners: &BTreeMap::new(),
            fences: &Fences::default(),
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

const ZSTD: &str = "compression=zstd:3";

fn zstd() -> Form {
    form(&json!({"compression": {"algorithm": "Zstd"}}))
}

/// As [`previous`], converted from `source` to `to` in the form of `options`.
fn converted(source: &str, to: &str, options: &str) -> Vec<ImageStatus> {
    let mut images = previous(source, Some(to), ImageState::Present);
    images[0].destinations[0].conversion = Some(ConversionStatus {
        source_digest: digest(source).to_string(),
        digest: digest(to).to_string(),
        options: options.to_owned(),
    });
    images
}

fn decide_in_form(
    form: &Form,
    (source, found): (&str, Option<&str>),
    previous: &[ImageStatus],
    ended_run: Option<&EndedRun>,
) -> (DestinationStatus, Option<Plan>) {
    let decision = decide(&Situation {
        trigger: if ended_run.is_some() {
            Trigger::RunEnded
        } else {
            Trigger::Due
        },
        scan: &scan(Ok(source), Ok(found)),
        ended_run,
        previous,
        drift: DriftPolicy::Correct,
        form,
        shards: 1,
        owners: &BTreeMap::new(),
        fences: &Fences::default(),
    });
    (decision.images[0].destinations[0].clone(), decision.plan)
}

/// A run that says that it has put `to` in place for `source`.
fn run_that_converted(source: &str, to: &str) -> EndedRun {
    let name = (
        "docker.io/library/alpine:3".to_owned(),
        DESTINATION.to_owned(),
    );
    let copied = Copied {
        source: digest(source),
        digest: digest(to),
        effect: Effect::Written,
    };
    EndedRun {
        copied: [(name, copied)].into(),
        ..EndedRun::default()
    }
}

#[test]
fn a_converted_image_is_in_place_when_the_worker_said_what_it_became() {
    let before = previous("a", None, ImageState::Copying);
    let run = run_that_converted("a", "a.zst");
    let (status, plan) = decide_in_form(&zstd(), ("a", Some("a.zst")), &before, Some(&run));
    assert_eq!(status.state, ImageState::Present);
    assert_eq!(plan, None);
    let conversion = status.conversion.clone().unwrap();
    assert_eq!(conversion.source_digest, digest("a").to_string());
    assert_eq!(conversion.digest, digest("a.zst").to_string());
    assert_eq!(conversion.options, ZSTD);

    // And stays so, without a run.
    let mut images = previous("a", Some("a.zst"), ImageState::Present);
    images[0].destinations[0] = status.clone();
    let (again, plan) = decide_in_form(&zstd(), ("a", Some("a.zst")), &images, None);
    assert_eq!((again, plan), (status, None));
}

#[test]
fn what_a_converted_image_became_is_never_guessed() {
    let before = previous("a", None, ImageState::Copying);
    let run = EndedRun::default();
    let (status, plan) = decide_in_form(&zstd(), ("a", Some("a.zst")), &before, Some(&run));
    assert_eq!(status.state, ImageState::Failed);
    assert_eq!(status.reason.as_deref(), Some("RunFailed"));
    assert_eq!((status.conversion, plan), (None, None));
}

#[test]
fn a_converted_image_that_was_moved_has_drifted() {
    let before = converted("a", "a.zst", ZSTD);
    let (status, plan) = decide_in_form(&zstd(), ("a", Some("a")), &before, None);
    assert_eq!(status.state, ImageState::Drifted);
    assert!(plan.is_some());
}

#[test]
fn another_form_or_another_source_is_no_drift() {
    let wanted_as_it_is = form(&json!({}));
    for (form, source, before) in [
        (&zstd(), "a", previous("a", Some("a"), ImageState::Present)),
        (&zstd(), "b", converted("a", "a.zst", ZSTD)),
        (&zstd(), "a", converted("a", "found", "compression=gzip:6")),
        (&wanted_as_it_is, "a", converted("a", "found", ZSTD)),
    ] {
        let (status, plan) = decide_in_form(form, (source, Some("found")), &before, None);
        assert_eq!(status.state, ImageState::Pending);
        assert_eq!(status.conversion, None);
        assert_eq!(plan.unwrap().options, form.options);
    }
}

/// The digest stays the same, and yet something is missing.
#[test]
fn more_platforms_of_a_sparse_index_are_copied() {
    let sparse = |platforms: Value| form(&json!({"platforms": platforms, "indexPolicy": "Sparse"}));
    let (one, two) = (
        sparse(json!(["linux/amd64"])),
        sparse(json!(["linux/amd64", "linux/arm64"])),
    );
    let before = converted("a", "a", one.text.as_deref().unwrap());
    let (status, plan) = decide_in_form(&one, ("a", Some("a")), &before, None);
    assert_eq!((status.state, plan), (ImageState::Present, None));
    let (status, plan) = decide_in_form(&two, ("a", Some("a")), &before, None);
    assert_eq!(status.state, ImageState::Pending);
    assert!(plan.is_some());
}

#[test]
fn a_tag_that_an_older_worker_may_move_waits_for_its_deadline() {
    let until = Timestamp::from_second(1000).unwrap();
    let mut fences = Fences::default();
    fences.add(
        DESTINATION.to_owned(),
        Fence {
            source: digest("old"),
            options: PlannedOptions::default(),
            until,
        },
    );
    let decide_for = |source| {
        decide(&Situation {
            trigger: Trigger::SpecChanged,
            scan: &scan(Ok(source), Ok(None)),
            ended_run: None,
            previous: &[],
            drift: DriftPolicy::Correct,
            form: &form(&json!({})),
            shards: 1,
            owners: &BTreeMap::new(),
            fences: &fences,
        })
    };
    let held = decide_for("new");
    assert_eq!((held.plan, held.held_until), (None, Some(until)));
    let destination = &held.images[0].destinations[0];
    assert_eq!(destination.state, ImageState::Pending);
    assert!(destination.message.is_some());
    let same = decide_for("old");
    assert_eq!(same.held_until, None);
    assert!(same.plan.is_some());
}

#[test]
fn a_tag_that_another_mirror_keeps_is_not_touched() {
    let owners = [(DESTINATION.parse().unwrap(), "ImageMirror old".to_owned())].into();
    for found in [None, Some("a"), Some("other")] {
        let decision = decide(&Situation {
            trigger: Trigger::SpecChanged,
            scan: &scan(Ok("a"), Ok(found)),
            ended_run: None,
            previous: &[],
            drift: DriftPolicy::Correct,
            form: &form(&json!({})),
            shards: 1,
            owners: &owners,
            fences: &Fences::default(),
        });
        let destination = &decision.images[0].destinations[0];
        assert_eq!(destination.reason.as_deref(), Some("Conflict"));
        assert!(
            destination
                .message
                .as_deref()
                .unwrap()
                .contains("ImageMirror old")
        );
        assert_eq!(decision.plan, None);
    }
}

fn with_existing(mut scan: Scan, existing: TagPolicy) -> Scan {
    scan.images[0].wanted.destinations[0].existing = existing;
    scan
}

#[test]
fn a_tag_that_is_to_stay_stays_and_the_status_says_so() {
    let present = |source| previous(source, Some("a"), ImageState::Present);
    for (existing, found, before, expected) in [
        (
            TagPolicy::Keep,
            Some("other"),
            vec![],
            (ImageState::Present, Some("Kept")),
        ),
        (
            TagPolicy::Keep,
            Some("a"),
            vec![],
            (ImageState::Present, None),
        ),
        (TagPolicy::Keep, None, vec![], (ImageState::Pending, None)),
        // The source has moved on.
        (
            TagPolicy::Keep,
            Some("b"),
            present("b"),
            (ImageState::Present, Some("Kept")),
        ),
        // Somebody has moved what was in place.
        (
            TagPolicy::Keep,
            Some("other"),
            present("a"),
            (ImageState::Drifted, Some("DriftDetected")),
        ),
        (
            TagPolicy::Fail,
            Some("other"),
            vec![],
            (ImageState::Failed, Some("TagExists")),
        ),
        (
            TagPolicy::Fail,
            Some("a"),
            vec![],
            (ImageState::Present, None),
        ),
        (TagPolicy::Fail, None, vec![], (ImageState::Pending, None)),
    ] {
        let scan = with_existing(scan(Ok("a"), Ok(found)), existing);
        let (state, reason, decision) = decide_with(Trigger::Due, &scan, &before, None);
        assert_eq!(
            (state, reason.as_deref()),
            expected,
            "{existing:?} {found:?}"
        );
        assert_eq!(decision.plan.is_some(), state == ImageState::Pending);
    }
}

#[test]
fn nothing_is_moved_in_a_strict_run_unless_everything_can_be() {
    let spec = json!({
        "sources": [{"image": "alpine:3"}, {"image": "alpine:4"}],
        "destinations": [{"prefix": "one.test"}], "failurePolicy": "Strict",
    });
    let spec: crate::api::ImageMirrorSpec = serde_json::from_value(spec).unwrap();
    let wanted = Wanted::new(&spec).unwrap();
    let mut images = wanted.expand([]).unwrap().images.into_iter();
    let mut image = |source: Result<&str, Reason>| ImageScan {
        wanted: images.next().unwrap(),
        source: source.map(head).map_err(failure),
        destinations: vec![Ok(None)],
    };
    let scan = Scan {
        unlisted: Vec::new(),
        images: vec![image(Ok("a")), image(Err(Reason::SourceNotFound))],
    };
    let decide_for = |scan: &Scan| {
        decide(&Situation {
            trigger: Trigger::SpecChanged,
            scan,
            ended_run: None,
            previous: &[],
            drift: DriftPolicy::Correct,
            form: &wanted.form,
            shards: 1,
            owners: &BTreeMap::new(),
            fences: &Fences::default(),
        })
    };
    let held = decide_for(&scan);
    assert_eq!(held.plan, None);
    let reasons: Vec<_> = held
        .images
        .iter()
        .map(|image| image.destinations[0].reason.as_deref().unwrap())
        .collect();
    assert_eq!(reasons, ["HeldBack", "SourceNotFound"]);

    let mut good = scan;
    good.images[1].source = Ok(head("b"));
    assert_eq!(decide_for(&good).plan.unwrap().images.len(), 2);
}
