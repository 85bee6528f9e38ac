//! What is decided of images that are wanted in another form.

use super::*;
use crate::api::ConversionStatus;
use crate::copy::Effect;

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
    let trigger = match ended_run {
        Some(_) => Trigger::RunEnded,
        None => Trigger::Due,
    };
    let decision = decide(&Situation {
        form,
        ..situation(trigger, &scan(Ok(source), Ok(found)), previous, ended_run)
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
