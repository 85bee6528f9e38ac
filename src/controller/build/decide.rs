//! Whether there is something to build, and why. Pure.

use super::step::Cause;
use crate::api::{BuildResult, BuildTrigger, ImageBuildStatus, SourceStatus};

/// What is known when it is decided.
pub(super) struct Situation<'a> {
    pub(super) status: &'a ImageBuildStatus,
    pub(super) cause: Cause,
    /// The source as it is now.
    pub(super) source: &'a SourceStatus,
    /// What an image of now would be made from.
    pub(super) inputs_hash: &'a str,
    /// Whether a base image was replaced.
    pub(super) base_replaced: bool,
    /// Whether the registry still has the image of the status.
    pub(super) image_there: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Build, for this reason.
    Build(BuildTrigger),
    /// The image is there; its tags may have to be moved.
    UpToDate,
    /// The same has failed before, and would again; or somebody stopped it, and has not said that they want it.
    FailedBefore,
}

pub(super) fn decide(situation: &Situation<'_>) -> Decision {
    let status = situation.status;
    match situation.cause {
        Cause::Requested => return Decision::Build(BuildTrigger::Request),
        Cause::Scheduled => return Decision::Build(BuildTrigger::Schedule),
        Cause::SpecChanged | Cause::Due => {}
    }
    let is_current = status.inputs_hash.as_deref() == Some(situation.inputs_hash);
    if is_current && status.image.is_some() {
        return if situation.image_there {
            Decision::UpToDate
        } else {
            Decision::Build(BuildTrigger::ImageLost)
        };
    }
    // Somebody has changed the spec: that may be what mends it.
    if situation.cause == Cause::Due && ended_before(situation) {
        return Decision::FailedBefore;
    }
    Decision::Build(trigger(situation))
}

/// Whether the last build was of these inputs, and has failed or was stopped by somebody.
fn ended_before(situation: &Situation<'_>) -> bool {
    let status = situation.status;
    let failure = status.last_failure.as_ref();
    let last = status.history.first();
    status.build.as_ref().is_some_and(|build| {
        let has_failed = failure.is_some_and(|failure| failure.number == build.number);
        let was_stopped = last.is_some_and(|record| {
            record.number == build.number && record.result == BuildResult::Cancelled
        });
        build.inputs_hash == situation.inputs_hash && (has_failed || was_stopped)
    })
}

fn trigger(situation: &Situation<'_>) -> BuildTrigger {
    let before = situation.status.source.as_ref();
    match before {
        _ if situation.cause == Cause::SpecChanged => BuildTrigger::Spec,
        Some(before) if before.commit != situation.source.commit => BuildTrigger::GitCommit,
        Some(before) if before.digest != situation.source.digest => BuildTrigger::Source,
        Some(_) if situation.base_replaced => BuildTrigger::BaseImage,
        Some(_) | None => BuildTrigger::Spec,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::api::{BuildFailureStatus, BuildStatus, BuiltImage};

    fn commit(name: &str) -> SourceStatus {
        SourceStatus {
            commit: Some(name.to_owned()),
            ..SourceStatus::default()
        }
    }

    fn built(hash: &str) -> ImageBuildStatus {
        ImageBuildStatus {
            inputs_hash: Some(hash.to_owned()),
            image: Some(BuiltImage::default()),
            source: Some(commit("a")),
            build: Some(BuildStatus {
                inputs_hash: hash.to_owned(),
                ..BuildStatus::default()
            }),
            ..ImageBuildStatus::default()
        }
    }

    fn decided(status: &ImageBuildStatus, cause: Cause, source: &str, hash: &str) -> Decision {
        decide(&Situation {
            status,
            cause,
            source: &commit(source),
            inputs_hash: hash,
            base_replaced: false,
            image_there: true,
        })
    }

    #[test]
    fn the_same_inputs_are_not_built_again() {
        let status = built("h");
        for cause in [Cause::Due, Cause::SpecChanged] {
            assert_eq!(decided(&status, cause, "a", "h"), Decision::UpToDate);
        }
        let asked = decided(&status, Cause::Requested, "a", "h");
        assert_eq!(asked, Decision::Build(BuildTrigger::Request));
    }

    #[test]
    fn other_inputs_are_built_for_their_reason() {
        let status = built("h");
        let new = decided(&ImageBuildStatus::default(), Cause::SpecChanged, "a", "h");
        assert_eq!(new, Decision::Build(BuildTrigger::Spec));
        let commit = decided(&status, Cause::Due, "b", "other");
        assert_eq!(commit, Decision::Build(BuildTrigger::GitCommit));
        let spec = decided(&status, Cause::SpecChanged, "b", "other");
        assert_eq!(spec, Decision::Build(BuildTrigger::Spec));
    }

    #[test]
    fn an_image_that_is_lost_is_built_again_and_a_base_that_was_replaced_is_used() {
        let status = built("h");
        let mut situation = Situation {
            status: &status,
            cause: Cause::Due,
            source: &commit("a"),
            inputs_hash: "h",
            base_replaced: false,
            image_there: false,
        };
        assert_eq!(decide(&situation), Decision::Build(BuildTrigger::ImageLost));
        situation.inputs_hash = "other";
        situation.base_replaced = true;
        assert_eq!(decide(&situation), Decision::Build(BuildTrigger::BaseImage));
    }

    #[rstest]
    #[case::failed(Some(BuildFailureStatus::default()), BuildResult::Failed)]
    #[case::stopped(None, BuildResult::Cancelled)]
    fn what_has_failed_or_was_stopped_is_built_again_only_when_something_was_changed(
        #[case] last_failure: Option<BuildFailureStatus>,
        #[case] result: BuildResult,
    ) {
        let record = serde_json::from_value(json!({"number": 0, "result": result}));
        let status = ImageBuildStatus {
            inputs_hash: None,
            image: None,
            last_failure,
            history: vec![record.unwrap()],
            ..built("h")
        };
        assert_eq!(
            decided(&status, Cause::Due, "a", "h"),
            Decision::FailedBefore
        );
        for (cause, hash) in [(Cause::SpecChanged, "h"), (Cause::Due, "other")] {
            assert!(matches!(
                decided(&status, cause, "b", hash),
                Decision::Build(_)
            ));
        }
    }
}
