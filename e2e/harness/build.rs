//! One build in a test: applied as a user would, watched as GitOps tools would.

use kube::Api;
use serde_json::{Value, json};
use transship::api::{ConditionType, ImageBuild, ImageBuildStatus, find_condition};

use super::cluster::{Cluster, Namespace};
use super::wait::eventually;

/// A build that exists.
pub(crate) struct Build<'a> {
    namespace: &'a Namespace,
    pub(crate) name: String,
    api: Api<ImageBuild>,
}

impl<'a> Build<'a> {
    /// Applies a build with the given spec.
    pub(crate) fn apply(
        cluster: &Cluster,
        namespace: &'a Namespace,
        name: &str,
        spec: &Value,
    ) -> Self {
        let build = Self::existing(cluster, namespace, name);
        build.change(spec);
        build
    }

    /// A build that is there already.
    pub(crate) fn existing(cluster: &Cluster, namespace: &'a Namespace, name: &str) -> Self {
        Self {
            namespace,
            name: name.to_owned(),
            api: Api::namespaced(cluster.client.clone(), &namespace.name),
        }
    }

    /// Applies another spec.
    pub(crate) fn change(&self, spec: &Value) {
        self.namespace.apply(&json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageBuild",
            "metadata": {"name": self.name, "namespace": self.namespace.name},
            "spec": spec,
        }));
    }

    /// Asks for a build.
    pub(crate) fn request(&self) -> String {
        let value = jiff::Timestamp::now().to_string();
        let annotation = format!("reconcile.transship.dev/requestedAt={value}");
        self.namespace
            .kubectl(&["annotate", "ibld", &self.name, "--overwrite", &annotation]);
        value
    }

    /// The status as it is now.
    pub(crate) async fn status(&self) -> ImageBuildStatus {
        let build = self.api.get(&self.name).await.unwrap();
        build.status.unwrap_or_default()
    }

    /// Waits until the build is as wanted; `wanted` says what is missing otherwise.
    pub(crate) async fn wait_until(
        &self,
        what: &str,
        wanted: impl Fn(&ImageBuildStatus) -> Result<(), String>,
    ) -> ImageBuildStatus {
        eventually(what, || async {
            let build = self.api.get(&self.name).await.unwrap();
            let status = build.status.unwrap_or_default();
            if status.observed_generation != build.metadata.generation {
                return Err(format!("not observed yet: {status:?}"));
            }
            wanted(&status)
                .map(|()| status.clone())
                .map_err(|why| format!("{why}: {}", serde_json::to_string(&status).unwrap()))
        })
        .await
    }

    /// Waits until the newest spec is built.
    pub(crate) async fn wait_built(&self) -> ImageBuildStatus {
        self.wait_until("ready", |status| wants(status, "True", "Succeeded"))
            .await
    }

    /// Waits until the newest spec is built, and `kubectl wait` says so too.
    pub(crate) async fn wait_ready(&self) -> ImageBuildStatus {
        let status = self.wait_built().await;
        let object = format!("ibld/{}", self.name);
        self.namespace
            .kubectl(&["wait", "--for=condition=Ready", &object, "--timeout=1s"]);
        status
    }

    /// Waits until the build has failed for good, for this reason.
    pub(crate) async fn wait_failed(&self, reason: &str) -> ImageBuildStatus {
        self.wait_until(reason, |status| {
            wants(status, "False", reason)?;
            let stalled = find_condition(&status.conditions, ConditionType::Stalled);
            stalled.map(|_| ()).ok_or_else(|| "not stalled".to_owned())
        })
        .await
    }
}

fn wants(status: &ImageBuildStatus, ready: &str, reason: &str) -> Result<(), String> {
    let condition = find_condition(&status.conditions, ConditionType::Ready).ok_or("no Ready")?;
    if (condition.status.as_str(), condition.reason.as_str()) == (ready, reason) {
        Ok(())
    } else {
        Err(format!("{} {}", condition.status, condition.reason))
    }
}
