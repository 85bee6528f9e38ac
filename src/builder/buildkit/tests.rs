use rstest::rstest;

use super::*;
use crate::builder::BuilderType;
use crate::builder::Isolation;
use crate::builder::fixture::{
    arguments, cached, container as built, secret, security, small, variable,
};
use crate::reason::Reason;

#[test]
fn a_small_build_says_only_what_it_must() {
    let container = built(BuilderType::BuildKit, &small(Isolation::Rootless)).container;
    assert_eq!(
        arguments(&container),
        [
            "Rootless",
            "type=oci,tar=false,oci-mediatypes=true,dest=/transship/output/layout",
            "--progress=plain",
            "--frontend=dockerfile.v0",
            "--local=context=/transship/context/source",
            "--local=dockerfile=/transship/context/source",
            "--opt=filename=deploy/Dockerfile",
            "--opt=platform=linux/arm64",
        ]
    );
    assert_eq!(variable(&container, "BUILDKITD_CONFIG").unwrap(), "");
}

#[test]
fn everything_reaches_buildctl() {
    let mut build = cached(Isolation::UserNamespace);
    build.secrets.push(secret("npm"));
    let container = built(BuilderType::BuildKit, &build).container;
    assert_eq!(
        arguments(&container)[8..],
        [
            "--opt=target=runtime",
            "--opt=build-arg:VERSION=1.2",
            "--opt=build-arg:FLAGS=--push $(HOME) a=b",
            "--secret=id=npm,src=/transship/secrets/npm",
            "--import-cache=type=registry,ref=registry.test/cache/app:arm64",
            "--export-cache=type=registry,ref=registry.test/cache/app:arm64,mode=max,ignore-error=true",
        ]
    );
    assert_eq!(
        variable(&container, "SOURCE_DATE_EPOCH_FILE").unwrap(),
        "/transship/source-date-epoch"
    );
}

#[test]
fn insecure_registries_stand_in_the_configuration_of_the_daemon() {
    let mut build = small(Isolation::Rootless);
    build.insecure_registries = vec![
        "one.test:5000".parse().unwrap(),
        "[::1]:5000".parse().unwrap(),
    ];
    let container = built(BuilderType::BuildKit, &build).container;
    assert_eq!(
        variable(&container, "BUILDKITD_CONFIG").unwrap(),
        "[registry.\"one.test:5000\"]\nhttp = true\ninsecure = true\n\
         [registry.\"[::1]:5000\"]\nhttp = true\ninsecure = true\n"
    );
}

#[test]
fn in_a_user_namespace_it_is_root_that_can_gain_nothing() {
    let built = built(BuilderType::BuildKit, &small(Isolation::UserNamespace));
    let security = security(&built.container);
    assert_eq!(security.run_as_user, Some(0));
    assert_eq!(security.allow_privilege_escalation, Some(false));
    let capabilities = security.capabilities.as_ref().unwrap();
    let expected = ["SETUID", "SETGID", "SETFCAP"].map(str::to_owned).to_vec();
    assert_eq!(capabilities.add, Some(expected));
    assert_eq!(
        (built.output, built.publish_user),
        (Output::Layout(OUTPUT_LAYOUT), None)
    );
}

#[test]
fn without_one_it_is_a_user_whose_programs_may_map() {
    let built = built(BuilderType::BuildKit, &small(Isolation::Rootless));
    let security = security(&built.container);
    assert_eq!(security.run_as_user, Some(1000));
    // newuidmap has its capability from its file.
    assert_eq!(security.allow_privilege_escalation, Some(true));
    let capabilities = security.capabilities.as_ref().unwrap();
    let expected = ["SETUID", "SETGID"].map(str::to_owned).to_vec();
    assert_eq!(capabilities.add, Some(expected));
    assert_eq!(built.host_users, None);
}

const RUN: &str = "\
#7 [2/2] RUN exit 42
#7 ERROR: process \"/bin/sh -c exit 42\" did not complete successfully: exit code: 42
------
 > [2/2] RUN exit 42:
------
Dockerfile:3
--------------------
   1 |     FROM base
   2 |     
   3 | >>> RUN exit 42
   4 |     
--------------------
error: failed to solve: process \"/bin/sh -c exit 42\" did not complete successfully: exit code: 42
";

#[test]
fn a_failing_step_is_named_with_its_line() {
    let failure = BuildKit.failure_in_log(1, RUN);
    assert_eq!(failure.reason, Reason::RunCommandFailed);
    assert_eq!(
        failure.message,
        "process \"/bin/sh -c exit 42\" did not complete successfully: exit code: 42"
    );
    assert_eq!(
        (failure.instruction.as_deref(), failure.line),
        (Some("RUN exit 42"), Some(3))
    );
}

#[test]
fn a_step_that_the_node_forbids_is_not_the_dockerfiles_fault() {
    let log = format!(
        "#7 0.061 runc run failed: unable to start container process: unable to join session keyring: unable to create \
         session key: operation not permitted\n{}",
        RUN.replace("42", "1")
    );
    let failure = BuildKit.failure_in_log(1, &log);
    assert_eq!(failure.reason, Reason::NestedContainerRefused);
}

#[test]
fn a_syntax_error_has_the_line_that_it_names() {
    let failure = BuildKit.failure_in_log(
        1,
        "error: failed to solve: dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)",
    );
    assert_eq!(failure.reason, Reason::DockerfileInvalid);
    assert_eq!(failure.line, Some(2));
}

#[rstest]
#[case(
    "failed to read dockerfile: open Nope: no such file or directory",
    Reason::DockerfileNotFound
)]
#[case("target stage \"nope\" could not be found", Reason::TargetNotFound)]
#[case(
    "failed to compute cache key: failed to calculate checksum of ref a::b: \"/missing.txt\": not found",
    Reason::CopySourceNotFound
)]
#[case(
    "r.test/a:1: failed to resolve source metadata for r.test/a:1: r.test/a:1: not found",
    Reason::BaseImageNotFound
)]
#[case(
    "r.test/a:1: failed to resolve source metadata for r.test/a:1: failed to do request: Head \"https://r.test/v2/a/manifests/1\": dial tcp 10.0.0.1:443: connect: no route to host",
    Reason::RegistryUnreachable
)]
#[case(
    "r.test/a:1: failed to resolve source metadata for r.test/a:1: unexpected status from HEAD request to http://r.test/v2/a/manifests/1: 401 Unauthorized",
    Reason::BaseImageDenied
)]
#[case(
    "r.test/a:1: failed to resolve source metadata for r.test/a:1: failed to do request: Head \"https://r.test/v2/a/manifests/1\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
    Reason::TlsUntrusted
)]
#[case(
    "r.test/a:1: failed to resolve source metadata for r.test/a:1: failed to do request: Head \"https://r.test/v2/a/manifests/1\": http: server gave HTTP response to HTTPS client",
    Reason::TlsMissing
)]
#[case("secret npm: not found", Reason::SecretNotFound)]
#[case("failed to prepare x: no space left on device", Reason::DiskFull)]
#[case("something that no test has seen", Reason::BuilderFailed)]
fn errors_have_their_reason(#[case] message: &str, #[case] reason: Reason) {
    let log = format!("#1 [internal] load build definition\nerror: failed to solve: {message}\n");
    let failure = BuildKit.failure_in_log(1, &log);
    assert_eq!(failure.reason, reason, "{message}");
    assert_eq!(failure.message, message);
}

#[rstest]
#[case(
    "[rootlesskit:parent] error: failed to start the child: fork/exec /proc/self/exe: operation not permitted",
    Reason::UserNamespaceRefused
)]
#[case(
    "[rootlesskit:parent] error: failed to setup UID/GID map: newuidmap 20 [0 1000 1 1 100000 65536] failed: newuidmap: write to uid_map failed: Operation not permitted",
    Reason::UserNamespaceRefused
)]
#[case(
    "unshare: unshare(0x10020000): Operation not permitted",
    Reason::UserNamespaceRefused
)]
#[case("buildkitd: failed to create worker", Reason::BuilderNotStarted)]
fn a_daemon_that_does_not_start_tells_what_the_node_lacks(
    #[case] log: &str,
    #[case] reason: Reason,
) {
    let failure = BuildKit.failure_in_log(70, &format!("buildkitd did not start\n{log}\n"));
    assert_eq!(failure.reason, reason);
    assert_eq!(failure.message, log);
}

#[test]
fn a_step_cannot_write_the_last_word() {
    let log = format!("#7 0.1 error: failed to solve: secret npm: not found\n{RUN}");
    assert_eq!(
        BuildKit.failure_in_log(1, &log).reason,
        Reason::RunCommandFailed
    );
}
