//! What keeps a tag from being moved: an older worker, another mirror, the policies of the spec.

use super::*;
use crate::controller::mirror::fence::Fence;
use crate::copy::{PlannedOptions, TagPolicy};

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
            fences: &fences,
            ..situation(Trigger::SpecChanged, &scan(Ok(source), Ok(None)), &[], None)
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
            owners: &owners,
            ..situation(Trigger::SpecChanged, &scan(Ok("a"), Ok(found)), &[], None)
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
            form: &wanted.form,
            ..situation(Trigger::SpecChanged, scan, &[], None)
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
