//! Why a build failed, whose business that is, and whether it is tried again. Pure.

use std::time::Duration;

use super::observation::{Ending, Stage};
use super::wanted::{Wanted, WantedSource};
use super::{source, status};
use crate::api::BuildFailureStatus;
use crate::build::{BuildFailure, FailureClass};
use crate::builder::BuilderType;
use crate::builder::failure::Ended;
use crate::controller::registries;
use crate::copy::Failure;
use crate::reason::Reason;

/// The shortest pause before another attempt; it doubles with each.
const MIN_RETRY_PAUSE: Duration = Duration::from_secs(10);
const MAX_RETRY_PAUSE: Duration = Duration::from_mins(5);
/// Most characters of an instruction: a `RUN` may be as long as a program.
const MAX_INSTRUCTION_CHARACTERS: usize = 500;
/// Most characters of a message.
const MAX_MESSAGE_CHARACTERS: usize = 1000;
/// What Kubernetes says of pods that took too long, or had to go.
const DEADLINE: &str = "DeadlineExceeded";
const EVICTED: &str = "Evicted";

/// Why a build failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) failure: BuildFailure,
    /// The stage whose log says more.
    pub(super) stage: Option<Stage>,
    pub(super) instruction: Option<String>,
    pub(super) line: Option<i64>,
}

impl Failed {
    /// A failure that no instruction and no log belong to.
    pub(super) const fn new(failure: BuildFailure) -> Self {
        Self {
            failure,
            stage: None,
            instruction: None,
            line: None,
        }
    }

    /// As the status shows it.
    pub(super) fn status(&self, number: i64, log_tail: Option<String>) -> BuildFailureStatus {
        let message = self.failure.message.chars().take(MAX_MESSAGE_CHARACTERS);
        BuildFailureStatus {
            number,
            class: self.failure.class.to_string(),
            reason: self.failure.reason.to_string(),
            message: message.collect(),
            instruction: self.instruction.as_ref().map(|instruction| {
                let instruction = instruction.chars().take(MAX_INSTRUCTION_CHARACTERS);
                instruction.collect()
            }),
            line: self.line,
            log_tail,
        }
    }
}

/// Why a pod failed, from how it ended and the end of the log of the stage that failed. [`None`] if it did not.
pub(super) fn failure(ending: &Ending, builder: BuilderType, log: &str) -> Option<Failed> {
    match ending {
        Ending::Published(_) => None,
        Ending::StageFailed(stage, failure) => Some(Failed {
            stage: Some(*stage),
            ..Failed::new(failure.clone())
        }),
        Ending::PodFailed { reason, message } => Some(Failed::new(of_pod(reason, message))),
        Ending::ContainerFailed {
            pod_reason,
            pod_message,
            ..
        } if matches!(pod_reason.as_str(), DEADLINE | EVICTED) => {
            Some(Failed::new(of_pod(pod_reason, pod_message)))
        }
        Ending::ContainerFailed {
            stage: Stage::Build,
            exit_code,
            container_reason,
            pod_reason,
            ..
        } => {
            let ended = Ended {
                exit_code: *exit_code,
                container_reason,
                pod_reason,
                log,
            };
            Some(of_builder(builder, &ended))
        }
        Ending::ContainerFailed {
            stage,
            exit_code,
            container_reason,
            ..
        } => Some(Failed {
            stage: Some(*stage),
            ..Failed::new(of_our_stage(*stage, *exit_code, container_reason))
        }),
    }
}

fn of_builder(builder: BuilderType, ended: &Ended<'_>) -> Failed {
    let failure = builder.builder().failure(ended);
    Failed {
        failure: BuildFailure {
            class: failure.class(),
            reason: failure.reason,
            message: explained(failure.reason, &failure.message),
        },
        stage: Some(Stage::Build),
        instruction: failure.instruction,
        line: failure.line.map(i64::from),
    }
}

/// Adds the Secret to mend to what one of our stages says of a server.
pub(super) fn naming_secret(
    failure: BuildFailure,
    stage: Option<Stage>,
    wanted: &Wanted,
) -> BuildFailure {
    let access = match (stage, &wanted.source) {
        (Some(Stage::Publish), _) => &wanted.output_access,
        (Some(Stage::Fetch), WantedSource::Image { access, .. }) => access,
        (Some(Stage::Fetch), WantedSource::Git { secret, .. }) => {
            return source::naming_secret(failure, secret.as_deref());
        }
        _ => return failure,
    };
    let of_registry = Failure {
        reason: failure.reason,
        message: failure.message,
    };
    let named = registries::naming_secret(of_registry, access);
    BuildFailure {
        class: failure.class,
        reason: named.reason,
        message: named.message,
    }
}

/// The words of a builder after what they mean and what to do.
fn explained(reason: Reason, words: &str) -> String {
    match advice(reason) {
        // Kubernetes says it, and the builder nothing.
        Some(advice) if reason == Reason::OutOfMemory => advice.to_owned(),
        Some(advice) => format!("{advice}: {words}"),
        None => words.to_owned(),
    }
}

/// What to do about what a builder says, where anybody knows more than it says itself.
const fn advice(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::OutOfMemory => {
            "the build took more memory than it may; raise spec.pod.resources.limits.memory, or do less at once"
        }
        Reason::DockerfileInvalid => "the Dockerfile cannot be understood; correct it",
        Reason::DockerfileNotFound => {
            "there is no such Dockerfile; spec.dockerfile says where it is"
        }
        Reason::TargetNotFound => "the Dockerfile has no such stage; correct spec.target",
        Reason::RunCommandFailed => "a command of the Dockerfile failed; its log says why",
        Reason::CopySourceNotFound => {
            "the context does not have what is to be copied; correct the path or .dockerignore"
        }
        Reason::SecretNotFound => {
            "a step requires a secret that the build does not have; name it in spec.secrets"
        }
        Reason::InstructionFailed => "an instruction of the Dockerfile failed; its log says why",
        Reason::BaseImageNotFound => {
            "there is no such base image; correct the Dockerfile or push the image"
        }
        Reason::BaseImageDenied => {
            "a base image is not given out; check its name and the Secret of spec.pullSecretRef"
        }
        Reason::TlsUntrusted => {
            "the certificate of a registry is not trusted; name its authority in spec.pullCertSecretRef"
        }
        Reason::TlsMissing => {
            "a registry of base images speaks no TLS; use one that does, or mirror the image to one"
        }
        Reason::RegistryUnreachable => {
            "a registry cannot be reached; check its name, and whether pods may reach it"
        }
        Reason::RateLimited => {
            "a registry gives out no more for now; name credentials in spec.pullSecretRef, or mirror the image"
        }
        Reason::RegistryError => "a registry answers with errors; look at its log",
        Reason::DiskFull => {
            "there was no room left; have the build need less, or choose a node with a larger disk"
        }
        Reason::UserNamespaceRefused | Reason::NestedContainerRefused => {
            "the node does not let the builder make containers; choose another node or another spec.builder, or have the \
             seccomp profile for builders brought onto nodes (seccompProfile.install of the chart)"
        }
        Reason::CapabilityMissing => {
            "the builder may not do this in its isolation; choose another spec.builder"
        }
        Reason::BuilderNotStarted | Reason::BuilderFailed => "the builder failed; its log says why",
        _ => return None,
    })
}

fn of_our_stage(stage: Stage, exit_code: i32, container_reason: &str) -> BuildFailure {
    let container = stage.container();
    if container_reason == "OOMKilled" {
        return BuildFailure {
            class: FailureClass::OutOfMemory,
            reason: Reason::OutOfMemory,
            message: format!("container {container} took more memory than it may"),
        };
    }
    let (reason, message) = if stage == Stage::Scan {
        let message = "the scanner failed, its log says why; attest.sbom: false does without";
        (Reason::ScanFailed, message.to_owned())
    } else {
        let message =
            format!("container {container} ended with exit code {exit_code} and no report");
        (Reason::RunFailed, message)
    };
    BuildFailure {
        class: FailureClass::Infrastructure,
        reason,
        message,
    }
}

/// What Kubernetes says of a pod that it ended.
fn of_pod(reason: &str, message: &str) -> BuildFailure {
    let (class, fixed, text) = match reason {
        // The kubelet knows nothing to add.
        DEADLINE => {
            return BuildFailure {
                class: FailureClass::Timeout,
                reason: Reason::TimedOut,
                message: "the build took longer than spec.timeout allows; raise it, or look in the log for what does not end".to_owned(),
            };
        }
        EVICTED => (
            FailureClass::Evicted,
            Reason::Evicted,
            "the node evicted the build; have it need less, or raise spec.pod.resources",
        ),
        _ => (
            FailureClass::Infrastructure,
            Reason::RunFailed,
            "the pod of the build was ended",
        ),
    };
    BuildFailure {
        class,
        reason: fixed,
        message: if message.is_empty() {
            text.to_owned()
        } else {
            format!("{text}: {message}")
        },
    }
}

/// How long to wait before attempt number `attempt + 1`; [`None`] if there is none.
pub(super) fn retry_pause(failure: &BuildFailure, attempt: i64, limit: i32) -> Option<Duration> {
    let may_pass = match failure.class {
        FailureClass::Infrastructure | FailureClass::Evicted => true,
        FailureClass::Registry | FailureClass::Source => status::may_pass(failure),
        FailureClass::Dockerfile | FailureClass::Timeout | FailureClass::OutOfMemory => false,
    };
    // A mirror may take its time, and until then nothing was built that could be in vain.
    let waits = failure.reason == Reason::BaseImageNotMirrored;
    if !may_pass || (!waits && attempt > i64::from(limit)) {
        return None;
    }
    let doublings = u32::try_from(attempt.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(16);
    Some(
        MIN_RETRY_PAUSE
            .saturating_mul(2u32.saturating_pow(doublings))
            .min(MAX_RETRY_PAUSE),
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn of_class(class: FailureClass, reason: Reason) -> BuildFailure {
        BuildFailure {
            class,
            reason,
            message: "because".to_owned(),
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let infrastructure = of_class(FailureClass::Infrastructure, Reason::PodLost);
        assert_eq!(
            retry_pause(&infrastructure, 1, 2),
            Some(Duration::from_secs(10))
        );
        assert_eq!(
            retry_pause(&infrastructure, 2, 2),
            Some(Duration::from_secs(20))
        );
        assert_eq!(retry_pause(&infrastructure, 3, 2), None);
        for (class, reason) in [
            (FailureClass::Dockerfile, Reason::RunCommandFailed),
            (FailureClass::Timeout, Reason::TimedOut),
            (FailureClass::OutOfMemory, Reason::OutOfMemory),
            (FailureClass::Registry, Reason::PushDenied),
            (FailureClass::Source, Reason::CommitNotFound),
        ] {
            assert_eq!(retry_pause(&of_class(class, reason), 1, 2), None);
        }
        // A mirror is waited for as long as it takes.
        let waiting = of_class(FailureClass::Source, Reason::BaseImageNotMirrored);
        assert_eq!(retry_pause(&waiting, 30, 2), Some(MAX_RETRY_PAUSE));
        let unreachable = of_class(FailureClass::Registry, Reason::RegistryUnreachable);
        assert!(retry_pause(&unreachable, 1, 2).is_some());
    }

    /// A status that the API server refuses tells nothing at all.
    #[test]
    fn what_is_shown_is_as_long_as_the_status_takes() {
        let failed = Failed {
            instruction: Some("é".repeat(5000)),
            ..Failed::new(BuildFailure {
                message: "é".repeat(5000),
                ..of_class(FailureClass::Dockerfile, Reason::RunCommandFailed)
            })
        };
        let shown = failed.status(1, None);
        assert_eq!(shown.instruction.unwrap().chars().count(), 500);
        assert_eq!(shown.message.chars().count(), 1000);
    }

    #[test]
    fn what_ended_a_pod_from_outside_has_its_class() {
        for (reason, class) in [
            ("DeadlineExceeded", FailureClass::Timeout),
            ("Evicted", FailureClass::Evicted),
            ("NodeLost", FailureClass::Infrastructure),
        ] {
            let ending = Ending::PodFailed {
                reason: reason.to_owned(),
                message: String::new(),
            };
            let failed = failure(&ending, BuilderType::BuildKit, "").unwrap();
            assert_eq!(failed.failure.class, class);
        }
    }

    #[rstest]
    #[case(Reason::DockerfileInvalid, "correct it")]
    #[case(Reason::TargetNotFound, "spec.target")]
    #[case(Reason::CopySourceNotFound, ".dockerignore")]
    #[case(Reason::SecretNotFound, "spec.secrets")]
    #[case(Reason::DockerfileNotFound, "spec.dockerfile")]
    #[case(Reason::BaseImageNotFound, "correct the Dockerfile")]
    #[case(Reason::BaseImageDenied, "spec.pullSecretRef")]
    #[case(Reason::TlsUntrusted, "spec.pullCertSecretRef")]
    #[case(Reason::RegistryUnreachable, "check its name")]
    #[case(Reason::CapabilityMissing, "spec.builder")]
    #[case(Reason::BuilderFailed, "its log")]
    fn the_words_of_a_builder_follow_what_to_do(#[case] reason: Reason, #[case] advice: &str) {
        let message = explained(reason, "words");
        let (before, words) = message.rsplit_once(": ").unwrap();
        assert!(before.contains(advice), "{message}");
        assert_eq!(words, "words");
    }

    #[rstest]
    #[case("DeadlineExceeded", "Error", Reason::TimedOut, "raise it")]
    #[case("Evicted", "Error", Reason::Evicted, "raise spec.pod.resources")]
    #[case("", "OOMKilled", Reason::OutOfMemory, "raise spec.pod.resources")]
    fn what_ended_a_builder_from_outside_is_told_with_what_to_do(
        #[case] pod_reason: &str,
        #[case] container_reason: &str,
        #[case] reason: Reason,
        #[case] advice: &str,
    ) {
        let ending = Ending::ContainerFailed {
            stage: Stage::Build,
            exit_code: 137,
            container_reason: container_reason.to_owned(),
            pod_reason: pod_reason.to_owned(),
            pod_message: "more than 64Mi".to_owned(),
        };
        let failed = failure(&ending, BuilderType::BuildKit, "").unwrap();
        assert_eq!(failed.failure.reason, reason);
        assert!(failed.failure.message.contains(advice), "{failed:?}");
    }

    #[rstest]
    #[case(json!({"image": {"reference": "source.test/context:1", "secretRef": {"name": "pull"}}}), Reason::AuthenticationFailed)]
    #[case(json!({"git": {"url": "https://git.test/app", "ref": {"branch": "main"}, "secretRef": {"name": "pull"}}}), Reason::SourceAuthenticationFailed)]
    fn the_secret_of_the_stage_is_named(
        #[case] source: serde_json::Value,
        #[case] of_source: Reason,
    ) {
        let spec = json!({
            "source": source,
            "output": {"repository": "corp.test/app", "secretRef": {"name": "push"}},
        });
        let wanted = Wanted::new(&serde_json::from_value(spec).unwrap()).unwrap();
        let named = |stage, reason| {
            naming_secret(of_class(FailureClass::Source, reason), stage, &wanted).message
        };
        assert_eq!(
            named(Some(Stage::Fetch), of_source),
            "because (credentials of Secret pull)"
        );
        assert_eq!(
            named(Some(Stage::Publish), Reason::AuthenticationFailed),
            "because (credentials of Secret push)"
        );
        assert_eq!(named(Some(Stage::Build), of_source), "because");
        assert_eq!(named(Some(Stage::Fetch), Reason::PathNotFound), "because");
    }

    #[test]
    fn a_failed_instruction_is_named() {
        let log = "Dockerfile:2\n--------------------\n   1 |     FROM alpine\n   2 | >>> RUN exit 42\n--------------------\nerror: failed to solve: process \"/bin/sh -c exit 42\" did not complete successfully: exit code: 42\n";
        let ending = Ending::ContainerFailed {
            stage: Stage::Build,
            exit_code: 1,
            container_reason: "Error".to_owned(),
            pod_reason: String::new(),
            pod_message: String::new(),
        };
        let failed = failure(&ending, BuilderType::BuildKit, log).unwrap();
        assert_eq!(failed.failure.reason, Reason::RunCommandFailed);
        assert_eq!(failed.line, Some(2));
    }
}
