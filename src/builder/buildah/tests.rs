use k8s_openapi::api::core::v1::SecurityContext;
use rstest::rstest;

use super::*;
use crate::builder::fixture::{
    arguments, container as built, large, secret, security, small, variable,
};
use crate::builder::{BuilderType, Isolation};
use crate::reason::Reason;

#[test]
fn a_small_build_says_only_what_it_must() {
    let container = built(BuilderType::Buildah, &small(Isolation::Rootless)).container;
    assert_eq!(
        arguments(&container),
        [
            "--file=/transship/context/source/deploy/Dockerfile",
            "--platform=linux/arm64",
            "--format=oci",
            "--layers",
            "--network=host",
            "--identity-label=false",
            "/transship/context/source",
        ]
    );
}

#[test]
fn everything_reaches_buildah() {
    let mut build = large(Isolation::UserNamespace);
    build.secrets.push(secret("npm"));
    let container = built(BuilderType::Buildah, &build).container;
    assert_eq!(
        arguments(&container)[6..],
        [
            "--target=runtime",
            "--build-arg=VERSION=1.2",
            "--build-arg=FLAGS=--push $(HOME) a=b",
            "--secret=id=npm,src=/transship/secrets/npm",
            "/transship/context/source",
        ]
    );
    assert_eq!(variable(&container, "BUILDAH_ISOLATION").unwrap(), "chroot");
    assert_eq!(
        variable(&container, "SOURCE_DATE_EPOCH_FILE").unwrap(),
        "/transship/source-date-epoch"
    );
}

#[test]
fn insecure_registries_stand_in_the_configuration() {
    let mut build = small(Isolation::Rootless);
    build.insecure_registries = vec!["one.test:5000".parse().unwrap()];
    let container = built(BuilderType::Buildah, &build).container;
    assert_eq!(
        variable(&container, "REGISTRIES_CONFIG").unwrap(),
        "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"disabled\"\n\
         [[registry]]\nlocation = \"one.test:5000\"\ninsecure = true\n"
    );
}

#[test]
fn it_has_the_same_rights_as_buildkit_and_may_write() {
    for isolation in [Isolation::UserNamespace, Isolation::Rootless] {
        let of = |builder| built(builder, &small(isolation)).container;
        let (buildah, buildkit) = (of(BuilderType::Buildah), of(BuilderType::BuildKit));
        let buildah = SecurityContext {
            read_only_root_filesystem: Some(true),
            ..security(&buildah).clone()
        };
        assert_eq!(&buildah, security(&buildkit));
    }
}

#[rstest]
#[case(
    42,
    "building at STEP \"RUN exit 42\": exit status 42",
    Reason::RunCommandFailed,
    Some("RUN exit 42")
)]
#[case(
    1,
    "building at STEP \"RUN sh -c \"echo a\": b; exit 1\": while running runtime: exit status 1",
    Reason::RunCommandFailed,
    Some("RUN sh -c \"echo a\": b; exit 1")
)]
#[case(
    125,
    "building at STEP \"RUNN \": Build error: Unknown instruction: \"RUNN\" ",
    Reason::DockerfileInvalid,
    Some("RUNN")
)]
#[case(
    125,
    "building at STEP \"RUN --mount=type=secret,id=npm,required=true true\": resolving mountpoints for container \"1061\": secret required but no secret with id \"npm\" found",
    Reason::SecretNotFound,
    Some("RUN --mount=type=secret,id=npm,required=true true")
)]
#[case(
    125,
    "creating build container: initializing source docker://r.test/a:1: pinging container registry r.test: Get \"https://r.test/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
    Reason::TlsUntrusted,
    None
)]
#[case(
    125,
    "building at STEP \"COPY missing.txt /\": checking on sources under \"/ws\": copier: stat: \"/missing.txt\": no such file or directory",
    Reason::CopySourceNotFound,
    Some("COPY missing.txt /")
)]
#[case(
    125,
    "stat /ws/Nope: no such file or directory",
    Reason::DockerfileNotFound,
    None
)]
#[case(
    125,
    "The target \"nope\" was not found in the provided Dockerfile",
    Reason::TargetNotFound,
    None
)]
#[case(
    125,
    "creating build container: initializing source docker://r.test/a:1: reading manifest 1 in r.test/a: manifest unknown",
    Reason::BaseImageNotFound,
    None
)]
#[case(
    125,
    "creating build container: initializing source docker://r.test/a:1: pinging container registry r.test: Get \"https://r.test/v2/\": dial tcp 10.0.0.1:443: connect: no route to host",
    Reason::RegistryUnreachable,
    None
)]
#[case(
    125,
    "creating build container: initializing source docker://r.test/a:1: reading manifest 1 in r.test/a: authentication required",
    Reason::BaseImageDenied,
    None
)]
#[case(
    125,
    "creating build container: initializing source docker://r.test/a:1: pinging container registry r.test: Get \"https://r.test/v2/\": http: server gave HTTP response to HTTPS client",
    Reason::TlsMissing,
    None
)]
#[case(
    125,
    "'overlay' is not supported over overlayfs",
    Reason::BuilderFailed,
    None
)]
fn errors_have_their_reason(
    #[case] exit_code: i32,
    #[case] message: &str,
    #[case] reason: Reason,
    #[case] instruction: Option<&str>,
) {
    let log = format!("STEP 1/2: FROM r.test/a:1\nError: {message}\n");
    let failure = Buildah.failure_in_log(exit_code, &log);
    assert_eq!(failure.reason, reason, "{message}");
    assert_eq!(failure.message, message.trim());
    assert_eq!(failure.instruction.as_deref(), instruction);
}

#[rstest]
#[case("Error during unshare(CLONE_NEWUSER): Operation not permitted\n")]
#[case(
    "time=\"\" level=error msg=\"error writing \\\"0 0 65536\\\\n\\\" to /proc/16/uid_map: operation not permitted\"\n"
)]
#[case(
    "level=warning msg=\"Falling back to single mapping\"\nerror setting supplemental groups list: operation not permitted\nError: building at STEP \"RUN true\": exit status 1\n"
)]
fn a_node_without_user_namespaces_is_not_the_dockerfiles_fault(#[case] log: &str) {
    assert_eq!(
        Buildah.failure_in_log(1, log).reason,
        Reason::UserNamespaceRefused
    );
}

#[test]
fn what_buildah_shows_of_itself_is_left_out() {
    let log = "Error: building at STEP \"RUNN \": Build error: Unknown instruction: \"RUNN\" &imagebuilder.Step{Env:[]string{}}\n";
    let failure = Buildah.failure_in_log(125, log);
    assert_eq!(
        failure.message,
        "building at STEP \"RUNN \": Build error: Unknown instruction: \"RUNN\""
    );
}
