use rstest::rstest;

use super::*;
use crate::builder::BuilderType;
use crate::builder::fixture::{
    argument, arguments, cached, container as built, secret, security, small,
};
use crate::reason::Reason;

#[test]
fn a_small_build_says_only_what_it_must() {
    let container = built(BuilderType::Kaniko, &small(Isolation::Rootless)).container;
    assert_eq!(container.command, None);
    assert_eq!(
        arguments(&container),
        [
            "--context=dir:///transship/context/source",
            "--dockerfile=/transship/context/source/deploy/Dockerfile",
            "--custom-platform=linux/arm64",
            "--ignore-path=/transship",
            "--skip-unused-stages=true",
            "--no-push",
            "--oci-layout-path=/transship/output/layout",
            "--log-format=text",
            "--build-arg=TARGETPLATFORM=linux/arm64",
            "--build-arg=TARGETOS=linux",
            "--build-arg=TARGETARCH=arm64",
            "--build-arg=TARGETVARIANT=",
        ]
    );
}

#[test]
fn everything_reaches_the_executor() {
    let mut build = cached(Isolation::UserNamespace);
    build.insecure_registries = vec!["one.test:5000".parse().unwrap()];
    let container = built(BuilderType::Kaniko, &build).container;
    assert_eq!(
        arguments(&container)[12..],
        [
            "--target=runtime",
            "--build-arg=VERSION=1.2",
            "--build-arg=FLAGS=--push $(HOME) a=b",
            "--cache=true",
            "--cache-repo=registry.test/cache/app",
            "--insecure-registry=one.test:5000",
            "--skip-tls-verify-registry=one.test:5000",
        ]
    );
}

#[test]
fn what_is_said_of_the_platform_counts() {
    let mut build = small(Isolation::Rootless);
    build.arguments = vec![argument("TARGETARCH", "riscv64")];
    let arguments = arguments(&built(BuilderType::Kaniko, &build).container);
    let of_architecture = |argument: &&String| argument.contains("=TARGETARCH=");
    let found: Vec<_> = arguments.iter().filter(of_architecture).collect();
    assert_eq!(found, ["--build-arg=TARGETARCH=riscv64"]);
}

#[test]
fn it_has_no_secrets() {
    let mut build = small(Isolation::UserNamespace);
    build.secrets.push(secret("npm"));
    let refusal = Kaniko.container(&build).unwrap_err();
    assert_eq!(refusal.reason(), "SecretsUnsupported");
}

#[test]
fn everything_is_below_the_ignored_path() {
    let built = built(BuilderType::Kaniko, &small(Isolation::Rootless));
    let mounts = built.container.volume_mounts.unwrap();
    assert!(
        mounts
            .iter()
            .all(|mount| mount.mount_path.starts_with(MOUNTS))
    );
}

#[rstest]
#[case(Isolation::UserNamespace, true)]
#[case(Isolation::Rootless, false)]
fn file_capabilities_can_be_given_where_they_mean_nothing_on_the_node(
    #[case] isolation: Isolation,
    #[case] expected: bool,
) {
    let built = built(BuilderType::Kaniko, &small(isolation));
    let security = security(&built.container);
    let capabilities = security
        .capabilities
        .as_ref()
        .unwrap()
        .add
        .as_ref()
        .unwrap();
    assert_eq!(capabilities.contains(&"SETFCAP".to_owned()), expected);
    assert_eq!(security.allow_privilege_escalation, Some(false));
    assert_eq!(built.publish_user, Some(0));
}

#[rstest]
#[case(
    42,
    "error building stage: failed to execute command: waiting for process to exit: exit status 42",
    Reason::RunCommandFailed
)]
#[case(
    255,
    "error building stage: failed to execute command: waiting for process to exit: signal: killed",
    Reason::RunCommandFailed
)]
#[case(
    1,
    "error building stage: failed to execute command: starting command: fork/exec /bin/sh: operation not permitted",
    Reason::CapabilityMissing
)]
#[case(
    1,
    "error building stage: failed to get filesystem from image: mkdir /bin: permission denied",
    Reason::CapabilityMissing
)]
#[case(
    1,
    "error building stage: failed to get filesystem from image: failed to write \"security.capability\" attribute to \"/usr/bin/newgidmap\": lsetxattr /usr/bin/newgidmap: operation not permitted",
    Reason::CapabilityMissing
)]
#[case(
    1,
    "unable to complete operation after 0 attempts, last error: GET http://r.test/v2/a/manifests/1: MANIFEST_UNKNOWN: manifest unknown; map[Tag:1]",
    Reason::BaseImageNotFound
)]
#[case(
    1,
    "unable to complete operation after 0 attempts, last error: Get \"https://r.test/v2/\": dial tcp 10.0.0.1:443: connect: no route to host; Get \"http://r.test/v2/\": dial tcp 10.0.0.1:80: connect: no route to host",
    Reason::RegistryUnreachable
)]
#[case(
    1,
    "unable to complete operation after 0 attempts, last error: GET https://r.test/v2/a/manifests/1: UNAUTHORIZED: authentication required; [map[Action:pull Class: Name:a Type:repository]]",
    Reason::BaseImageDenied
)]
#[case(
    1,
    "error building stage: failed to get files used from context: failed to get fileinfo for /ws/missing.txt: lstat /ws/missing.txt: no such file or directory",
    Reason::CopySourceNotFound
)]
#[case(
    1,
    "unable to complete operation after 0 attempts, last error: Get \"https://r.test/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
    Reason::TlsUntrusted
)]
#[case(1, "something that no test has seen", Reason::BuilderFailed)]
fn errors_have_their_reason(#[case] exit_code: i32, #[case] message: &str, #[case] reason: Reason) {
    let log =
        format!("time=\"2026\" level=info msg=\"RUN exit 42\"\nerror building image: {message}\n");
    let failure = Kaniko.failure_in_log(exit_code, &log);
    assert_eq!(failure.reason, reason, "{message}");
}

#[test]
fn a_failing_step_is_the_one_that_was_announced_last() {
    let log = "time=\"2026\" level=info msg=\"RUN true\"\n\
        time=\"2026\" level=info msg=\"RUN sh -c \\\"exit 42\\\"\"\n\
        time=\"2026\" level=info msg=\"Running: [/bin/sh -c sh -c \\\"exit 42\\\"]\"\n\
        error building image: error building stage: failed to execute command: waiting for process to exit: exit status 42\n";
    let failure = Kaniko.failure_in_log(42, log);
    assert_eq!(
        failure.instruction.as_deref(),
        Some("RUN sh -c \"exit 42\"")
    );
}

#[rstest]
#[case(
    "error building image: parsing dockerfile: dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)",
    Reason::DockerfileInvalid,
    Some(2)
)]
#[case(
    "error building image: Error finding target stage: nope is not a valid target build stage",
    Reason::TargetNotFound,
    None
)]
#[case(
    "Error: error resolving dockerfile path: please provide a valid path to a Dockerfile within the build context with --dockerfile\nUsage:\n  executor [flags]\n",
    Reason::DockerfileNotFound,
    None
)]
fn a_dockerfile_that_cannot_be_used(
    #[case] log: &str,
    #[case] reason: Reason,
    #[case] line: Option<u32>,
) {
    let failure = Kaniko.failure_in_log(1, log);
    assert_eq!(
        (failure.reason, failure.line, failure.instruction),
        (reason, line, None)
    );
}
