//! `kubectl transship logs`: what the stages of a build print.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, LogParams};

use super::super::EXIT_FAILED;
use super::super::arguments;
use super::super::cluster::Cluster;
use crate::api::{
    BUILD_ATTEMPT_LABEL, BUILD_NUMBER_LABEL, BUILD_PLATFORM_ANNOTATION, BUILD_UID_LABEL, has_ended,
    pod_phase,
};
use crate::cli::output::{self, harmless};
use crate::oci::Platform;

/// How often the pod is read while a stage has not begun.
const PERIOD: Duration = Duration::from_secs(1);

/// Show the log of a build
///
/// The stages one after the other: fetch brings the source, build is the builder, scan
/// finds out what is in the image if a bill of materials is wanted, publish pushes it. With -f,
/// follows the build to its end. A build for several platforms has one pod after the other shown.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl transship logs app
  kubectl transship logs app -f
  kubectl transship logs app --platform linux/arm64

Exit codes: 0 the log was shown, with -f: the build succeeded; 10 with -f, the build failed; 1 there is no such build, \
it has no pod, or the API server cannot be used; 2 wrong usage.")]
pub(in crate::cli::kubectl) struct Arguments {
    /// The build
    #[arg(value_name = "NAME", value_parser = arguments::name)]
    name: String,

    /// Go on until the build has ended
    #[arg(short, long)]
    follow: bool,

    /// What is built for this platform only
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
}

impl Arguments {
    pub(in crate::cli::kubectl) async fn run(self, cluster: &Cluster) -> anyhow::Result<ExitCode> {
        let full_name = cluster.full_name(&self.name);
        let builds = cluster.builds();
        let build = cluster.request(&self.name, builds.get(&self.name)).await?;
        let Some(status) = build
            .status
            .as_ref()
            .and_then(|status| status.build.clone())
        else {
            bail!("{full_name} has not been built yet; its conditions say why");
        };
        let pods = cluster.pods();
        let selector = format!(
            "{BUILD_UID_LABEL}={},{BUILD_NUMBER_LABEL}={},{BUILD_ATTEMPT_LABEL}={}",
            build.uid().unwrap_or_default(),
            status.number,
            status.attempt
        );
        let labelled = ListParams::default().labels(&selector);
        let found = cluster.request(&full_name, pods.list(&labelled)).await?;
        let shown = self.chosen(found.items)?;
        if shown.is_empty() {
            bail!("{full_name}: the pod of build {} is gone", status.number);
        }
        let several = shown.len() > 1;
        for (platform, pod) in &shown {
            let name = pod.name_any();
            for stage in stages(pod) {
                if !self.begun(cluster, &pods, &name, stage).await? {
                    break;
                }
                output::tell(if several {
                    format!("==> {} {stage}", harmless(platform))
                } else {
                    format!("==> {stage}")
                });
                show(&pods, &name, stage, self.follow).await?;
            }
        }
        let mut code = ExitCode::SUCCESS;
        if self.follow {
            for pod in shown.values() {
                if !self.succeeds(cluster, &pods, &pod.name_any()).await? {
                    code = ExitCode::from(EXIT_FAILED);
                }
            }
        }
        Ok(code)
    }

    /// The pods to show, by their platforms.
    fn chosen(&self, pods: Vec<Pod>) -> anyhow::Result<BTreeMap<String, Pod>> {
        let pods = pods.into_iter().map(|pod| {
            let platform = pod.annotations().get(BUILD_PLATFORM_ANNOTATION);
            (platform.cloned().unwrap_or_default(), pod)
        });
        let mut pods: BTreeMap<_, _> = pods.collect();
        if let Some(wanted) = &self.platform {
            let Some(pod) = pods.remove(&wanted.to_string()) else {
                let known: Vec<_> = pods.keys().map(|platform| harmless(platform)).collect();
                bail!(
                    "nothing is built for {wanted}; the platforms are {}",
                    known.join(", ")
                );
            };
            pods = BTreeMap::from([(wanted.to_string(), pod)]);
        }
        Ok(pods)
    }

    /// Whether a stage has begun; with -f, waits until it has, or never will.
    async fn begun(
        &self,
        cluster: &Cluster,
        pods: &Api<Pod>,
        pod: &str,
        stage: &str,
    ) -> anyhow::Result<bool> {
        loop {
            let found = cluster.request(pod, pods.get(pod)).await?;
            if has_begun(&found, stage) {
                return Ok(true);
            }
            if !self.follow || has_ended(&found) {
                return Ok(false);
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Waits for the end of the pod; whether it is a good one.
    async fn succeeds(
        &self,
        cluster: &Cluster,
        pods: &Api<Pod>,
        pod: &str,
    ) -> anyhow::Result<bool> {
        loop {
            let found = cluster.request(pod, pods.get(pod)).await?;
            match pod_phase(&found) {
                "Succeeded" => return Ok(true),
                "Failed" => return Ok(false),
                _ => tokio::time::sleep(PERIOD).await,
            }
        }
    }
}

async fn show(pods: &Api<Pod>, pod: &str, stage: &str, follow: bool) -> anyhow::Result<()> {
    let parameters = LogParams {
        container: Some(stage.to_owned()),
        follow,
        ..LogParams::default()
    };
    let mut lines = pods.log_stream(pod, &parameters).await?.lines();
    while let Some(line) = lines.try_next().await? {
        output::line(harmless(&line))?;
    }
    Ok(())
}

/// The containers of a build, in the order in which they run.
fn stages(pod: &Pod) -> impl Iterator<Item = &str> {
    let spec = pod.spec.iter();
    let first = spec
        .clone()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    let containers = first.chain(spec.flat_map(|spec| &spec.containers));
    containers.map(|container| container.name.as_str())
}

fn has_begun(pod: &Pod, stage: &str) -> bool {
    let Some(status) = &pod.status else {
        return false;
    };
    let all = [&status.init_container_statuses, &status.container_statuses];
    let mut all = all.into_iter().flatten().flatten();
    let found = all
        .find(|status| status.name == stage)
        .and_then(|status| status.state.as_ref());
    found.is_some_and(|found| found.running.is_some() || found.terminated.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stage_has_begun_when_its_container_has() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [{"name": "fetch"}, {"name": "build"}], "containers": [{"name": "publish"}],
        }, "status": {
            "phase": "Pending",
            "initContainerStatuses": [
                {"name": "fetch", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": {"terminated": {"exitCode": 0}}},
                {"name": "build", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": {"running": {}}},
            ],
            "containerStatuses": [
                {"name": "publish", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": {"waiting": {}}},
            ],
        }}))
        .unwrap();
        let begun = stages(&pod).map(|stage| (stage, has_begun(&pod, stage)));
        let expected = [("fetch", true), ("build", true), ("publish", false)];
        assert_eq!(begun.collect::<Vec<_>>(), expected);
        assert!(!has_ended(&pod));
    }
}
