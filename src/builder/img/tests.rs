use rstest::rstest;

use super::*;
use crate::builder::BuilderType;
use crate::builder::fixture::{arguments, container as built, large, secret, small};
use crate::reason::Reason;

#[test]
fn everything_reaches_img() {
    let built = built(BuilderType::Img, &large(Isolation::Rootless));
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
