//! The seccomp profile that the chart has for nodes with a filter of their own.

use std::path::Path;

use rstest::rstest;
use transship::builder::{BuilderType, Isolation, SeccompFilter};

use super::pod::Workshop;

/// Where the profile is, below the kubelet's directory of profiles.
const PROFILE: &str = "transship/build.json";

/// Puts the chart's profile on every node.
fn install() {
    let state = std::env::var("TRANSSHIP_E2E_STATE").unwrap();
    let profile =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/transship/files/seccomp/build.json");
    for entry in std::fs::read_dir(state).unwrap().flatten() {
        let kubelet = entry.path().join("kubelet");
        if kubelet.is_dir() {
            let installed = kubelet.join("seccomp").join(PROFILE);
            std::fs::create_dir_all(installed.parent().unwrap()).unwrap();
            std::fs::copy(&profile, installed).unwrap();
        }
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
