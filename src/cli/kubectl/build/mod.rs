//! `kubectl transship build`, `cancel` and `logs`: the `ImageBuild` objects of a cluster.

mod logs;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

pub(super) use self::logs::Arguments as LogsArguments;

use super::cluster::{Cluster, FIELD_MANAGER};
use super::follow::TimeoutArguments;
use super::{EXIT_FAILED, EXIT_TIME_OVER, arguments, request};
use crate::api::{
    CANCEL_ANNOTATION, ConditionType, ImageBuild, ImageBuildStatus, RECONCILE_REQUEST_ANNOTATIONS,
    find_condition,
};
use crate::cli::output::{self, harmless};

/// How often the object is read while something is waited for.
const PERIOD: Duration = Duration::from_secs(1);

/// Build an image now
///
/// Asks the operator by a new value of the annotation reconcile.transship.dev/requestedAt. It builds although nothing
/// has changed. With --wait, waits for the end of the build.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl transship build app
  kubectl transship build app --wait --timeout 30m

Exit codes: 0 asked for, with --wait: the registry holds the image; 10 with --wait, the build failed; 12 with --wait, \
the time is over; 1 there is no such build, it is suspended, or the API server cannot be used; 2 wrong usage.")]
pub(super) struct BuildArguments {
    /// The build
    #[arg(value_name = "NAME", value_parser = arguments::name)]
    name: String,

    /// Wait for the result
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    limit: TimeoutArguments,
}

/// Stop a build that goes on
///
/// Asks the operator by the annotation transship.dev/cancel, whose value is the number of the build. Another build
/// follows when something changes, or when it is asked for.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl transship cancel app

Exit codes: 0 asked for; 1 there is no such build, nothing is being built, or the API server cannot be used; 2 wrong \
usage.")]
pub(super) struct CancelArguments {
    /// The build
    #[arg(value_name = "NAME", value_parser = arguments::name)]
    name: String,
}

impl BuildArguments {
    pub(super) async fn run(self, cluster: &Cluster, words: &str) -> anyhow::Result<ExitCode> {
        let full_name = cluster.full_name(&self.name);
        let builds = cluster.builds();
        let build = cluster.request(&self.name, builds.get(&self.name)).await?;
        if build.spec.suspend {
            bail!("{full_name} is suspended; set spec.suspend to false first");
        }
        let [annotation, _] = RECONCILE_REQUEST_ANNOTATIONS;
        let handled = build.status.as_ref();
        let handled = handled.and_then(|status| status.last_handled_reconcile_at.as_deref());
        let value = request::ask(&full_name, &build.metadata, handled)?;
        annotate(cluster, &builds, &self.name, annotation, &value).await?;
        output::tell(format!(
            "asked for a build of {full_name}; `{words} logs {} -f` shows it",
            self.name
        ));
        if !self.wait {
            return Ok(ExitCode::SUCCESS);
        }
        wait(cluster, &self.name, &value, self.limit.timeout).await
    }
}

impl CancelArguments {
    pub(super) async fn run(self, cluster: &Cluster) -> anyhow::Result<ExitCode> {
        let full_name = cluster.full_name(&self.name);
        let builds = cluster.builds();
        let build = cluster.request(&self.name, builds.get(&self.name)).await?;
        let going_on = build.status.and_then(|status| status.build);
        let Some(going_on) = going_on.filter(|build| build.completion_time.is_none()) else {
            bail!("nothing is being built of {full_name}");
        };
        let number = going_on.number.to_string();
        annotate(cluster, &builds, &self.name, CANCEL_ANNOTATION, &number).await?;
        output::tell(format!(
            "asked for the end of build {number} of {full_name}"
        ));
        Ok(ExitCode::SUCCESS)
    }
}

async fn annotate(
    cluster: &Cluster,
    builds: &Api<ImageBuild>,
    name: &str,
    annotation: &str,
    value: &str,
) -> anyhow::Result<()> {
    let patch: Value = json!({"metadata": {"annotations": {annotation: value}}});
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&patch);
    cluster
        .request(name, builds.patch(name, &parameters, &patch))
        .await?;
    Ok(())
}

/// Waits for the end of the build that was asked for.
async fn wait(
    cluster: &Cluster,
    name: &str,
    value: &str,
    limit: Duration,
) -> anyhow::Result<ExitCode> {
    let full_name = cluster.full_name(name);
    let builds = cluster.builds();
    let end = Instant::now() + limit;
    let mut said = String::new();
    while Instant::now() < end {
        let build = cluster.request(name, builds.get(name)).await?;
        let status = build.status.unwrap_or_default();
        match verdict(&status, value) {
            Verdict::Succeeded(text) => {
                output::tell(format!("{full_name}: {}", harmless(&text)));
                return Ok(ExitCode::SUCCESS);
            }
            Verdict::Failed(text) => {
                output::tell(format!("{full_name} failed: {}", harmless(&text)));
                return Ok(ExitCode::from(EXIT_FAILED));
            }
            Verdict::Waiting(text) => {
                let text = harmless(&text);
                if text != said {
                    output::tell(format!("waiting for {full_name}: {text}"));
                    said = text;
                }
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
    let seconds = limit.as_secs();
    output::tell(format!("{full_name}: the {seconds} s are over: {said}"));
    Ok(ExitCode::from(EXIT_TIME_OVER))
}

/// Whether waiting is over.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Waiting(String),
    Succeeded(String),
    Failed(String),
}

fn verdict(status: &ImageBuildStatus, value: &str) -> Verdict {
    let condition = find_condition(&status.conditions, ConditionType::Ready);
    let message = condition.map_or_else(String::new, |condition| condition.message.clone());
    let handled = status.last_handled_reconcile_at.as_deref();
    if handled.is_none_or(|handled| handled < value) {
        return Verdict::Waiting("the operator has not handled the request yet".to_owned());
    }
    let goes_on = status
        .build
        .as_ref()
        .is_some_and(|build| build.completion_time.is_none());
    match condition.map(|condition| condition.status.as_str()) {
        _ if goes_on => Verdict::Waiting(message),
        Some("True") => Verdict::Succeeded(message),
        Some("False") => Verdict::Failed(message),
        _ => Verdict::Waiting(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(ready: &str, handled: &str, goes_on: bool) -> ImageBuildStatus {
        let completion = (!goes_on).then_some("2026-01-01T00:00:00Z");
        let mut build = json!({"number": 1, "pod": "app-1"});
        if let Some(completion) = completion {
            build["completionTime"] = json!(completion);
        }
        serde_json::from_value(json!({
            "lastHandledReconcileAt": handled,
            "build": build,
            "conditions": [{
                "type": "Ready", "status": ready, "reason": "R", "message": "said",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        }))
        .unwrap()
    }

    #[test]
    fn only_the_build_that_was_asked_for_ends_the_wait() {
        let said = || "said".to_owned();
        let waiting = |status| matches!(verdict(&status, "5"), Verdict::Waiting(_));
        assert!(waiting(status("True", "4", false)));
        assert!(waiting(status("Unknown", "5", true)));
        assert_eq!(
            verdict(&status("True", "5", false), "5"),
            Verdict::Succeeded(said())
        );
        assert_eq!(
            verdict(&status("False", "6", false), "5"),
            Verdict::Failed(said())
        );
    }
}
