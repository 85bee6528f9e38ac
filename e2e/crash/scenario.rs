//! What happens to a mirror in each scenario, as far as users and registries are concerned, and which scenarios of
//! builds there are. It must not know: the operator.

use k8s_openapi::api::batch::v1::Job;
use serde_json::json;

use super::builds;
use super::stage::{SOURCES, Stage};
use crate::harness::{Cluster, OneLayerImage};

/// More images than a status lists.
const MANY: usize = 101;
const MANY_REPOSITORY: &str = "crash/many";

/// One story that ends with a mirror or a build at rest, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    NewImage,
    TwoDestinations,
    SourceMoves,
    TagIsMovedBySomebody,
    CredentialsAreMended,
    SpecChangesDuringRun,
    SuspendedDuringRun,
    ScanIsRequested,
    Prune,
    ImagesAreDeletedWithMirror,
    ManyImages,
    CommitIsBuilt,
    AnotherCommitIsBuilt,
    TagIsAdded,
    BuildIsRequested,
    DockerfileIsMended,
    SpecChangesDuringBuild,
    TwoPlatforms,
}

impl Scenario {
    pub(super) const OF_MIRRORS: [Self; 11] = [
        Self::NewImage,
        Self::TwoDestinations,
        Self::SourceMoves,
        Self::TagIsMovedBySomebody,
        Self::CredentialsAreMended,
        Self::SpecChangesDuringRun,
        Self::SuspendedDuringRun,
        Self::ScanIsRequested,
        Self::Prune,
        Self::ImagesAreDeletedWithMirror,
        Self::ManyImages,
    ];
    pub(super) const OF_BUILDS: [Self; 7] = [
        Self::CommitIsBuilt,
        Self::AnotherCommitIsBuilt,
        Self::TagIsAdded,
        Self::BuildIsRequested,
        Self::DockerfileIsMended,
        Self::SpecChangesDuringBuild,
        Self::TwoPlatforms,
    ];

    /// What all scenarios of mirrors share.
    pub(super) async fn prepare(cluster: &Cluster) {
        let tags: Vec<_> = (1..=MANY).map(|number| format!("v{number}")).collect();
        let plain = &cluster.plain;
        plain.upload(&first(), SOURCES).await;
        plain.upload(&second(), SOURCES).await;
        plain.upload(&first(), MANY_REPOSITORY).await;
        plain.tag(&first(), MANY_REPOSITORY, &tags).await;
    }

    pub(super) async fn play(self, stage: &Stage) {
        match self {
            Self::NewImage => {
                one_image(stage).await;
            }
            Self::TwoDestinations => two_destinations(stage).await,
            Self::SourceMoves => {
                one_image(stage).await;
                stage.push("1", &second()).await;
                stage.scans().await;
            }
            Self::TagIsMovedBySomebody => {
                one_image(stage).await;
                stage.tamper("1", &second()).await;
                stage.scans().await;
            }
            Self::CredentialsAreMended => credentials_are_mended(stage).await,
            Self::SpecChangesDuringRun => spec_changes_during_run(stage).await,
            Self::SuspendedDuringRun => suspended_during_run(stage).await,
            Self::ScanIsRequested => {
                one_image(stage).await;
                stage.scans().await;
            }
            Self::Prune => prune(stage).await,
            Self::ImagesAreDeletedWithMirror => images_are_deleted_with_mirror(stage).await,
            Self::ManyImages => many_images(stage).await,
            Self::CommitIsBuilt => builds::commit_is_built(stage).await,
            Self::AnotherCommitIsBuilt => builds::another_commit_is_built(stage).await,
            Self::TagIsAdded => builds::tag_is_added(stage).await,
            Self::BuildIsRequested => builds::build_is_requested(stage).await,
            Self::DockerfileIsMended => builds::dockerfile_is_mended(stage).await,
            Self::SpecChangesDuringBuild => builds::spec_changes_during_build(stage).await,
            Self::TwoPlatforms => builds::two_platforms(stage).await,
        }
    }
}

fn first() -> OneLayerImage {
    OneLayerImage::new("the first image")
}

fn second() -> OneLayerImage {
    OneLayerImage::new("the second image")
}

async fn one_image(stage: &Stage) {
    let source = stage.push("1", &first()).await;
    stage.apply(&stage.spec(&[source], &json!({}))).await;
    stage.rests("True").await;
}

async fn two_destinations(stage: &Stage) {
    let source = stage.push("1", &first()).await;
    stage
        .credentials(&stage.cluster.secure.docker_config())
        .await;
    let mut spec = stage.spec(&[source], &json!({}));
    let destinations = spec["destinations"].as_array_mut().unwrap();
    destinations.push(stage.secure_destination());
    stage.apply(&spec).await;
    stage.rests("True").await;
}

async fn credentials_are_mended(stage: &Stage) {
    let source = stage.push("1", &first()).await;
    stage.credentials(r#"{"auths": {}}"#).await;
    let destinations = json!({"destinations": [stage.secure_destination()]});
    stage.apply(&stage.spec(&[source], &destinations)).await;
    stage.rests("False").await;
    stage
        .credentials(&stage.cluster.secure.docker_config())
        .await;
    stage.scans().await;
}

async fn spec_changes_during_run(stage: &Stage) {
    let source = stage.push("1", &first()).await;
    let pod = json!({"pod": {"nodeSelector": stage.node_selector()}});
    stage
        .apply(&stage.spec(std::slice::from_ref(&source), &pod))
        .await;
    stage.job("a run without a node", |_| true).await;
    stage.apply(&stage.spec(&[source], &json!({}))).await;
    stage.rests("True").await;
}

async fn suspended_during_run(stage: &Stage) {
    let source = stage.push("1", &first()).await;
    let pod = json!({"pod": {"nodeSelector": stage.node_selector()}});
    stage.apply(&stage.spec(&[source], &pod)).await;
    stage.job("a run without a node", |_| true).await;
    stage.change(&json!({"spec": {"suspend": true}})).await;
    let has_ended = |job: &Job| {
        let status = job.status.as_ref();
        status.is_some_and(|status| status.completion_time.is_some())
    };
    stage
        .with_node(stage.job("the run to end", has_ended))
        .await;
    stage.change(&json!({"spec": {"suspend": false}})).await;
    stage.rests("True").await;
}

async fn prune(stage: &Stage) {
    let kept = stage.push("1", &first()).await;
    let removed = stage.push("2", &second()).await;
    let prune = json!({"prune": {"mode": "Delete", "grace": "0s", "maxPercent": 100}});
    stage
        .apply(&stage.spec(&[kept.clone(), removed], &prune))
        .await;
    stage.rests("True").await;
    stage.apply(&stage.spec(&[kept], &prune)).await;
    stage.has_removed().await;
    stage.rests("True").await;
}

async fn images_are_deleted_with_mirror(stage: &Stage) {
    let sources = [
        stage.push("1", &first()).await,
        stage.push("2", &second()).await,
    ];
    let delete = json!({"deletionPolicy": "Delete"});
    stage.apply(&stage.spec(&sources, &delete)).await;
    stage.rests("True").await;
    stage.delete().await;
}

async fn many_images(stage: &Stage) {
    let repository = format!("{}/{MANY_REPOSITORY}", stage.cluster.plain.host);
    let sources = json!({"sources": [{"repository": repository, "insecure": true}]});
    stage.apply(&stage.spec(&[], &sources)).await;
    stage.rests("True").await;
}
