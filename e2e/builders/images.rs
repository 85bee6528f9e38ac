//! What is built: images that run, with what was chosen for them.

use rstest::rstest;
use serde_json::Value;
use transship::builder::{BuildSecret, BuilderType, Isolation};

use super::pod::{SECRET, Workshop, argument};
use crate::harness::{ANSWERING_DOCKERFILE, answer};

/// Words that a shell or Kubernetes would make something else of.
const VERSION: &str = "--version='$(HOME)' $$ \"*\" `id`";

#[rstest]
#[case::buildkit_user_namespace(BuilderType::BuildKit, Isolation::UserNamespace)]
#[case::buildkit_rootless(BuilderType::BuildKit, Isolation::Rootless)]
#[case::buildah_user_namespace(BuilderType::Buildah, Isolation::UserNamespace)]
#[case::buildah_rootless(BuilderType::Buildah, Isolation::Rootless)]
#[case::kaniko_user_namespace(BuilderType::Kaniko, Isolation::UserNamespace)]
#[case::kaniko_rootless(BuilderType::Kaniko, Isolation::Rootless)]
#[case::img_user_namespace(BuilderType::Img, Isolation::UserNamespace)]
#[case::img_rootless(BuilderType::Img, Isolation::Rootless)]
#[tokio::test]
async fn an_image_is_built_and_answers(#[case] builder: BuilderType, #[case] isolation: Isolation) {
    let workshop = Workshop::open("builders").await;
    let mut build = workshop.build(isolation);
    build.target = Some("runtime".to_owned());
    build.arguments.push(argument("VERSION", VERSION));
    let files = [("Dockerfile", ANSWERING_DOCKERFILE), ("answer.txt", "42\n")];
    let finished = workshop.run("app", builder, &build, &files).await;
    assert_eq!(finished.failure, None, "{}", finished.log);

    let image = workshop.image("app");
    workshop.cluster.plain.read_completely(&image);
    assert_eq!(
        answer(&workshop.cluster, &workshop.namespace, &image).await,
        format!("42\n{VERSION}\n")
    );
}

#[rstest]
#[case::buildkit(BuilderType::BuildKit)]
#[case::buildah(BuilderType::Buildah)]
#[case::kaniko(BuilderType::Kaniko)]
#[tokio::test]
async fn a_base_may_come_without_tls_where_that_is_allowed(#[case] builder: BuilderType) {
    let workshop = Workshop::open("builders-insecure").await;
    let plain = &workshop.cluster.plain.host;
    let mut build = workshop.build(Isolation::UserNamespace);
    build.arguments = vec![argument("BASE", &format!("{plain}/bases/busybox:1"))];
    build.insecure_registries = vec![plain.parse().unwrap()];
    let files = [("Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN touch /done\n")];
    let finished = workshop.run("insecure", builder, &build, &files).await;
    assert_eq!(finished.failure, None, "{}", finished.log);
    workshop
        .cluster
        .plain
        .read_completely(&workshop.image("insecure"));
}

#[rstest]
#[case::buildkit(BuilderType::BuildKit)]
#[case::buildah(BuilderType::Buildah)]
#[case::kaniko(BuilderType::Kaniko)]
#[tokio::test]
async fn a_base_may_have_files_with_capabilities(#[case] builder: BuilderType) {
    let workshop = Workshop::open("builders-capabilities").await;
    let base = format!("{}/bases/capabilities:1", workshop.cluster.secure.host);
    let mut build = workshop.build(Isolation::UserNamespace);
    build.arguments = vec![argument("BASE", &base)];
    let files = [("Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN touch /done\n")];
    let finished = workshop.run("capabilities", builder, &build, &files).await;
    assert_eq!(finished.failure, None, "{}", finished.log);
}

#[rstest]
#[case::buildkit_user_namespace(BuilderType::BuildKit, Isolation::UserNamespace)]
#[case::buildkit_rootless(BuilderType::BuildKit, Isolation::Rootless)]
#[case::buildah_user_namespace(BuilderType::Buildah, Isolation::UserNamespace)]
#[case::buildah_rootless(BuilderType::Buildah, Isolation::Rootless)]
#[tokio::test]
async fn a_secret_is_there_for_its_step_alone(
    #[case] builder: BuilderType,
    #[case] isolation: Isolation,
) {
    let workshop = Workshop::open("builders-secret").await;
    let mut build = workshop.build(isolation);
    build.secrets = vec![BuildSecret {
        id: "password".to_owned(),
        path: SECRET.to_owned(),
    }];
    let dockerfile = "ARG BASE\nFROM ${BASE}\n\
        RUN --mount=type=secret,id=password test \"$(cat /run/secrets/password)\" = correct-horse\n\
        RUN ! test -s /run/secrets/password\n";
    let finished = workshop
        .run("secret", builder, &build, &[("Dockerfile", dockerfile)])
        .await;
    assert_eq!(finished.failure, None, "{}", finished.log);
}

#[rstest]
#[case::buildkit(BuilderType::BuildKit)]
#[case::buildah(BuilderType::Buildah)]
#[tokio::test]
async fn the_same_inputs_give_the_same_digest(#[case] builder: BuilderType) {
    let workshop = Workshop::open("builders-same").await;
    let mut build = workshop.build(Isolation::UserNamespace);
    build.source_date_epoch = Some(format!("{}/source-date-epoch", build.context));
    let files = [
        (
            "Dockerfile",
            "ARG BASE\nFROM ${BASE}\nCOPY answer.txt /\nRUN date >/dev/null; touch /done\n",
        ),
        ("answer.txt", "42\n"),
        ("source-date-epoch", "1700000000"),
    ];
    let mut manifests = Vec::new();
    for name in ["first", "second"] {
        let finished = workshop.run(name, builder, &build, &files).await;
        assert_eq!(finished.failure, None, "{}", finished.log);
        manifests.push(
            workshop
                .cluster
                .plain
                .manifest(&workshop.image(name))
                .unwrap(),
        );
    }
    assert_eq!(manifests[0], manifests[1]);
    let manifest: Value = serde_json::from_str(&manifests[0]).unwrap();
    assert!(
        manifest["layers"].as_array().unwrap().len() > 1,
        "{manifest}"
    );
}
