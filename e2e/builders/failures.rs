//! What goes wrong, and what it is called.

use rstest::rstest;
use serde_json::json;
use transship::builder::{Build, BuilderType, Isolation};
use transship::reason::Reason;

use super::pod::{Workshop, argument};

struct Case {
    name: &'static str,
    dockerfile: &'static str,
    change: fn(&mut Build),
    reason: Reason,
    /// Part of the instruction, of builders that name it.
    instruction: Option<&'static str>,
    /// Its line, of builders that name it.
    line: Option<u32>,
}

const CASES: [Case; 9] = [
    Case {
        name: "run",
        dockerfile: "ARG BASE\nFROM ${BASE}\nRUN echo before && exit 42\n",
        change: |_| {},
        reason: Reason::RunCommandFailed,
        instruction: Some("exit 42"),
        line: Some(3),
    },
    Case {
        name: "syntax",
        dockerfile: "ARG BASE\nFROM ${BASE}\nRUNN true\n",
        change: |_| {},
        reason: Reason::DockerfileInvalid,
        instruction: None,
        line: Some(3),
    },
    Case {
        name: "base",
        dockerfile: "ARG BASE\nFROM ${BASE}-missing\nRUN true\n",
        change: |_| {},
        reason: Reason::BaseImageNotFound,
        instruction: None,
        line: None,
    },
    Case {
        name: "target",
        dockerfile: "ARG BASE\nFROM ${BASE}\nRUN true\n",
        change: |build| build.target = Some("nope".to_owned()),
        reason: Reason::TargetNotFound,
        instruction: None,
        line: None,
    },
    Case {
        name: "copy",
        dockerfile: "ARG BASE\nFROM ${BASE}\nCOPY missing.txt /\n",
        change: |_| {},
        reason: Reason::CopySourceNotFound,
        instruction: None,
        line: None,
    },
    Case {
        name: "dockerfile",
        dockerfile: "ARG BASE\nFROM ${BASE}\nRUN true\n",
        change: |build| "Nope".clone_into(&mut build.dockerfile),
        reason: Reason::DockerfileNotFound,
        instruction: None,
        line: None,
    },
    Case {
        name: "denied",
        dockerfile: "ARG BASE\nFROM ${BASE}\nRUN true\n",
        change: |build| build.credentials_directory = None,
        reason: Reason::BaseImageDenied,
        instruction: None,
        line: None,
    },
    Case {
        name: "untrusted",
        dockerfile: "ARG BASE\nFROM ${BASE}\nRUN true\n",
        change: |build| build.authorities = None,
        reason: Reason::TlsUntrusted,
        instruction: None,
        line: None,
    },
    Case {
        name: "unreachable",
        dockerfile: "ARG BASE\nFROM ${BASE}\nRUN true\n",
        change: |build| {
            build.arguments = vec![argument("BASE", "secure.registry.test:1/bases/busybox:1")];
        },
        reason: Reason::RegistryUnreachable,
        instruction: None,
        line: None,
    },
];

#[rstest]
#[case::buildkit(BuilderType::BuildKit, Isolation::UserNamespace)]
#[case::buildah(BuilderType::Buildah, Isolation::UserNamespace)]
#[case::kaniko(BuilderType::Kaniko, Isolation::UserNamespace)]
#[case::img(BuilderType::Img, Isolation::Rootless)]
#[tokio::test]
async fn a_failure_has_its_reason(#[case] builder: BuilderType, #[case] isolation: Isolation) {
    let workshop = Workshop::open("builders-failures").await;
    let mut wrong = Vec::new();
    for case in CASES {
        let mut build = workshop.build(isolation);
        (case.change)(&mut build);
        let files = [("Dockerfile", case.dockerfile)];
        let finished = workshop.run(case.name, builder, &build, &files).await;
        let Some(failure) = &finished.failure else {
            wrong.push(format!("{} did not fail: {}", case.name, finished.log));
            continue;
        };
        let instruction = failure.instruction.as_deref().unwrap_or_default();
        let named = case
            .instruction
            .is_none_or(|expected| instruction.contains(expected));
        let counted =
            builder != BuilderType::BuildKit || case.line.is_none() || failure.line == case.line;
        if failure.reason != case.reason || !named || !counted || failure.message.is_empty() {
            wrong.push(format!("{}: {failure:?}\n{}", case.name, finished.log));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// With the filter of the container runtime a builder can do nothing, and it is not the Dockerfile's fault.
#[rstest]
#[case::buildkit_user_namespace(BuilderType::BuildKit, Isolation::UserNamespace)]
#[case::buildkit_rootless(BuilderType::BuildKit, Isolation::Rootless)]
#[case::buildah_user_namespace(BuilderType::Buildah, Isolation::UserNamespace)]
#[case::buildah_rootless(BuilderType::Buildah, Isolation::Rootless)]
#[case::img_user_namespace(BuilderType::Img, Isolation::UserNamespace)]
#[case::img_rootless(BuilderType::Img, Isolation::Rootless)]
#[tokio::test]
async fn a_node_that_filters_system_calls_is_told_from_a_bad_dockerfile(
    #[case] builder: BuilderType,
    #[case] isolation: Isolation,
) {
    let workshop = Workshop::open("builders-refused").await;
    let build = workshop.build(isolation);
    let files = [("Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN true\n")];
    let finished = workshop
        .run_changed("refused", builder, &build, &files, |container| {
            container["securityContext"]["seccompProfile"] = json!({"type": "RuntimeDefault"});
        })
        .await;
    let failure = finished.failure.expect("refused");
    let log = finished.log;
    assert_eq!(
        failure.reason,
        Reason::UserNamespaceRefused,
        "{failure:?}\n{log}"
    );
}

#[rstest]
#[case::buildkit(BuilderType::BuildKit)]
#[case::buildah(BuilderType::Buildah)]
#[case::kaniko(BuilderType::Kaniko)]
#[case::img(BuilderType::Img)]
#[tokio::test]
async fn a_step_that_eats_the_memory_is_told_from_a_bad_dockerfile(#[case] builder: BuilderType) {
    let workshop = Workshop::open("builders-memory").await;
    let build = workshop.build(Isolation::UserNamespace);
    // It keeps the last line, which has no end.
    let files = [(
        "Dockerfile",
        "ARG BASE\nFROM ${BASE}\nRUN tail -n 1 /dev/zero\n",
    )];
    let finished = workshop
        .run_changed("memory", builder, &build, &files, |container| {
            container["resources"] = json!({"limits": {"memory": "384Mi"}});
        })
        .await;
    let failure = finished.failure.expect("killed");
    let log = finished.log;
    assert_eq!(failure.reason, Reason::OutOfMemory, "{failure:?}\n{log}");
}

#[rstest]
#[case::buildkit(BuilderType::BuildKit)]
#[case::buildah(BuilderType::Buildah)]
#[tokio::test]
async fn a_secret_that_a_step_requires_and_nobody_gave(#[case] builder: BuilderType) {
    let workshop = Workshop::open("builders-no-secret").await;
    let build = workshop.build(Isolation::UserNamespace);
    let dockerfile =
        "ARG BASE\nFROM ${BASE}\nRUN --mount=type=secret,id=password,required=true true\n";
    let finished = workshop
        .run("secret", builder, &build, &[("Dockerfile", dockerfile)])
        .await;
    let failure = finished.failure.expect("there is none");
    let log = finished.log;
    assert_eq!(failure.reason, Reason::SecretNotFound, "{failure:?}\n{log}");
}
