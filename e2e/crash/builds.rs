//! What happens to a build in each of its scenarios. What is built are commits, so that an image has the same digest
//! whenever it is built.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use transship::api::ImageBuild;

use super::stage::{Stage, user};
use crate::harness::{GitServer, Registry, eventually};

/// The only build of a namespace.
pub(super) const BUILD: &str = "build";

/// A repository that all plays build from, and its commits.
pub(super) struct Commits {
    git: GitServer,
    first: String,
    second: String,
    /// One whose Dockerfile copies what is not there.
    broken: String,
}

impl Commits {
    pub(super) async fn make(plain: &Registry) -> Self {
        let git = GitServer::start(plain).await;
        let good = ("Dockerfile", "FROM scratch\nCOPY answer.txt /\n");
        let first = git.commit(&[good, ("answer.txt", "1\n")]);
        let broken = git.commit(&[("Dockerfile", "FROM scratch\nCOPY missing.txt /\n")]);
        let second = git.commit(&[good, ("answer.txt", "2\n")]);
        Self {
            git,
            first,
            second,
            broken,
        }
    }
}

pub(super) async fn commit_is_built(stage: &Stage) {
    stage.build(&spec(stage, &stage.commits.first)).await;
    stage.build_rests("True").await;
}

pub(super) async fn another_commit_is_built(stage: &Stage) {
    commit_is_built(stage).await;
    stage.build(&spec(stage, &stage.commits.second)).await;
    stage.build_rests("True").await;
}

pub(super) async fn tag_is_added(stage: &Stage) {
    commit_is_built(stage).await;
    let mut spec = spec(stage, &stage.commits.first);
    spec["output"]["tags"] = json!(["main", "again"]);
    stage.build(&spec).await;
    stage.build_rests("True").await;
}

pub(super) async fn build_is_requested(stage: &Stage) {
    const REQUEST: &str = "again";
    commit_is_built(stage).await;
    let annotations = json!({"reconcile.transship.dev/requestedAt": REQUEST});
    let patch = json!({"metadata": {"annotations": annotations}});
    let builds = builds(stage);
    builds
        .patch(BUILD, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    eventually("the second build", || async {
        let status = builds.get(BUILD).await.unwrap().status.unwrap_or_default();
        let is_handled = status.last_handled_reconcile_at.as_deref() == Some(REQUEST);
        is_handled.then_some(()).ok_or("not handled".to_owned())
    })
    .await;
    stage.build_rests("True").await;
}

pub(super) async fn dockerfile_is_mended(stage: &Stage) {
    stage.build(&spec(stage, &stage.commits.broken)).await;
    stage.build_rests("False").await;
    stage.build(&spec(stage, &stage.commits.second)).await;
    stage.build_rests("True").await;
}

pub(super) async fn spec_changes_during_build(stage: &Stage) {
    let mut waiting = spec(stage, &stage.commits.first);
    waiting["pod"] = json!({"nodeSelector": stage.node_selector()});
    stage.build(&waiting).await;
    let pods: Api<Pod> = stage.api();
    eventually("a pod without a node", || async {
        let pods = pods.list(&ListParams::default()).await.unwrap().items;
        (!pods.is_empty()).then_some(()).ok_or("no pod".to_owned())
    })
    .await;
    stage.build(&spec(stage, &stage.commits.second)).await;
    stage.build_rests("True").await;
}

pub(super) async fn two_platforms(stage: &Stage) {
    let mut spec = spec(stage, &stage.commits.first);
    spec["platforms"] = json!(["linux/amd64", "linux/arm64"]);
    stage.build(&spec).await;
    stage.build_rests("True").await;
}

fn builds(stage: &Stage) -> Api<ImageBuild> {
    stage.api()
}

fn spec(stage: &Stage, commit: &str) -> Value {
    json!({
        "source": {"git": {"url": stage.commits.git.url, "ref": {"commit": commit}, "insecure": true}},
        "output": {
            "repository": format!("{}/{}/one", stage.cluster.plain.host, stage.namespace),
            "tags": ["main"], "insecure": true,
        },
    })
}

impl Stage {
    /// Applies the build.
    async fn build(&self, spec: &Value) {
        let build = json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageBuild",
            "metadata": {"name": BUILD}, "spec": spec,
        });
        let patch = Patch::Apply(&build);
        builds(self).patch(BUILD, &user(), &patch).await.unwrap();
    }

    /// Waits until the build rests with `Ready` as told.
    async fn build_rests(&self, ready: &str) {
        let builds = builds(self);
        eventually("the build to rest", || async {
            let build = builds.get(BUILD).await.unwrap();
            let status = build.status.clone().unwrap_or_default();
            let has = |type_: &str, expected: &str| {
                let mut conditions = status.conditions.iter();
                conditions.any(|found| found.type_ == type_ && found.status == expected)
            };
            let is_current = status.observed_generation == build.metadata.generation;
            if is_current && has("Ready", ready) && !has("Reconciling", "True") {
                return Ok(());
            }
            Err(serde_json::to_string(&status).unwrap())
        })
        .await;
    }
}
