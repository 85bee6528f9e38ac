use rstest::rstest;

use super::*;
use crate::builder::BuilderType;
use crate::builder::Isolation;
use crate::builder::fixture::{arguments, cached, container as built, secret, small};
use crate::reason::Reason;

#[test]
fn everything_reaches_img() {
    let built = built(BuilderType::Img, &cached(Isolation::Rootless));
    assert_eq!(
        arguments(&built.container),
        [
            "Rootless",
            "build",
            "--state=/transship/state/img",
            "--no-console",
            "--file=/transship/context/source/deploy/Dockerfile",
            "--platform=linux/arm64",
            "--output=type=oci,dest=/transship/output/image.tar",
            "--target=runtime",
            "--build-arg=VERSION=1.2",
            "--build-arg=FLAGS=--push $(HOME) a=b",
            "--cache-from=type=registry,ref=registry.test/cache/app:arm64",
            "--cache-to=type=registry,ref=registry.test/cache/app:arm64,mode=max",
            "/transship/context/source",
        ]
    );
    assert_eq!(built.output, Output::Archive("/transship/output/image.tar"));
}

#[test]
fn what_it_cannot_do_is_refused() {
    let mut build = small(Isolation::Rootless);
    build.secrets.push(secret("npm"));
    assert_eq!(
        Img.container(&build).unwrap_err().reason(),
        "SecretsUnsupported"
    );
    let mut build = small(Isolation::Rootless);
    build.insecure_registries = vec!["one.test:5000".parse().unwrap()];
    assert_eq!(
        Img.container(&build).unwrap_err().reason(),
        "InsecureRegistryUnsupported"
    );
}

#[rstest]
#[case(
    "failed to solve: executor failed running [/bin/sh -c exit 42]: runc did not terminate successfully",
    Reason::RunCommandFailed,
    Some("/bin/sh -c exit 42")
)]
#[case(
    "failed to solve: rpc error: code = Unknown desc = Dockerfile parse error line 6: Unknown flag: mount",
    Reason::DockerfileInvalid,
    None
)]
#[case(
    "failed to solve: failed to do request: Head https://r.test/v2/a/manifests/1: http: server gave HTTP response to HTTPS client",
    Reason::TlsMissing,
    None
)]
#[case(
    "failed to solve: failed to solve with frontend dockerfile.v0: failed to create LLB definition: target stage nope could not be found",
    Reason::TargetNotFound,
    None
)]
#[case(
    "failed to solve: failed to solve with frontend dockerfile.v0: failed to read dockerfile: open /tmp/buildkit-mount272711314/Nope: no such file or directory",
    Reason::DockerfileNotFound,
    None
)]
#[case(
    "failed to solve: failed to compute cache key: \"/missing.txt\" not found: not found",
    Reason::CopySourceNotFound,
    None
)]
#[case(
    "failed to solve: failed to load cache key: r.test/a:1: not found",
    Reason::BaseImageNotFound,
    None
)]
#[case(
    "failed to solve: failed to load cache key: unexpected status code [manifests 1]: 401 Unauthorized",
    Reason::BaseImageDenied,
    None
)]
#[case(
    "failed to solve: failed to load cache key: failed to do request: Head \"https://r.test/v2/a/manifests/1\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
    Reason::TlsUntrusted,
    None
)]
#[case(
    "failed to solve: failed to load cache key: failed to do request: Head \"https://r.test/v2/a/manifests/1\": dial tcp 10.0.0.1:443: connect: connection refused",
    Reason::RegistryUnreachable,
    None
)]
#[case("something that no test has seen", Reason::BuilderFailed, None)]
fn errors_have_their_reason(
    #[case] message: &str,
    #[case] reason: Reason,
    #[case] instruction: Option<&str>,
) {
    let failure = Img.failure_in_log(1, &format!("Building image\nError: {message}\n"));
    assert_eq!(failure.reason, reason, "{message}");
    assert_eq!(failure.instruction.as_deref(), instruction);
}

#[test]
fn a_syntax_error_has_its_line() {
    let log = "Error: failed to solve: failed to solve with frontend dockerfile.v0: failed to create LLB definition: Dockerfile \
        parse error line 3: unknown instruction: RUNN\n";
    let failure = Img.failure_in_log(1, log);
    assert_eq!(
        (failure.reason, failure.line),
        (Reason::DockerfileInvalid, Some(3))
    );
}

#[rstest]
#[case(
    70,
    "unshare: unshare(0x10020000): Operation not permitted\ncannot make a user namespace\n"
)]
#[case(20, "nsenter: failed to unshare namespaces: Operation not permitted\n")]
#[case(
    1,
    "newuidmap: uid range [1-65537) -> [100000-165536) not allowed\nnsenter: failed to use newuidmap: Success\n"
)]
fn a_node_without_user_namespaces_is_not_the_dockerfiles_fault(
    #[case] exit_code: i32,
    #[case] log: &str,
) {
    assert_eq!(
        Img.failure_in_log(exit_code, log).reason,
        Reason::UserNamespaceRefused
    );
}
