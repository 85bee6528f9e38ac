//! The seccomp profile of builders, for nodes with a filter of their own.

use rstest::rstest;
use transship::builder::{BuilderType, Isolation, SeccompFilter};

use super::pod::Workshop;
use crate::harness::run;
use crate::seccomp_profile::{PROFILE, kubelet_directories};

/// Puts the profile on every node, as somebody would who has no `DaemonSet` for it.
fn install() {
    let binary = assert_cmd::cargo::cargo_bin("transship");
    for kubelet in kubelet_directories() {
        let directory = kubelet.join("seccomp");
        let options = ["--directory", directory.to_str().unwrap()];
        run(&[&[binary.to_str().unwrap(), "seccomp-profile"], &options[..]].concat());
    }
}

#[rstest]
#[case::buildkit_user_namespace(BuilderType::BuildKit, Isolation::UserNamespace)]
#[case::buildkit_rootless(BuilderType::BuildKit, Isolation::Rootless)]
#[case::buildah_user_namespace(BuilderType::Buildah, Isolation::UserNamespace)]
#[case::buildah_rootless(BuilderType::Buildah, Isolation::Rootless)]
#[case::img_user_namespace(BuilderType::Img, Isolation::UserNamespace)]
#[case::img_rootless(BuilderType::Img, Isolation::Rootless)]
#[tokio::test]
async fn the_profile_lets_builders_work(
    #[case] builder: BuilderType,
    #[case] isolation: Isolation,
) {
    install();
    let workshop = Workshop::open("builders-seccomp").await;
    let mut build = workshop.build(isolation);
    build.seccomp = SeccompFilter::Localhost(PROFILE.to_owned());
    // The step sees that there is a filter.
    let dockerfile = "ARG BASE\nFROM ${BASE}\n\
        RUN grep -q '^Seccomp:[[:space:]]*2$' /proc/self/status && chown 33:33 /root\n";
    let finished = workshop
        .run("filtered", builder, &build, &[("Dockerfile", dockerfile)])
        .await;
    assert_eq!(finished.failure, None, "{}", finished.log);
}
