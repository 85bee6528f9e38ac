//! The mirrors of a measurement: made, looked at and removed as their users would, many at once.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::Instant;
use transship::api::ImageMirror;

/// Requests in flight, of all that this process sends.
const AT_ONCE: usize = 32;
/// Objects of one page of a list.
const PAGE: u32 = 500;
/// How long anything may take before it counts as never.
const NEVER: Duration = Duration::from_mins(15);

/// The mirrors of one namespace.
pub(crate) struct Mirrors {
    client: Client,
    namespace: String,
}

impl Mirrors {
    /// Makes a namespace without any.
    pub(crate) async fn in_namespace(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let document = json!({"metadata": {"name": namespace}});
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &serde_json::from_value(document)?)
            .await?;
        Ok(Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
        })
    }

    /// Creates mirrors from 0 on, with the spec that each number has.
    pub(crate) async fn create(
        &self,
        count: usize,
        spec: impl Fn(usize) -> Value,
    ) -> anyhow::Result<()> {
        let mirrors = self.api();
        let objects = (0..count).map(|number| document(number, &spec(number)));
        stream::iter(objects)
            .map(|object| {
                let mirrors = &mirrors;
                async move {
                    let mirror: ImageMirror = serde_json::from_value(object)?;
                    let created = mirrors.create(&PostParams::default(), &mirror).await;
                    created.map(drop).context("cannot create a mirror")
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// How many there are whose status is about the newest spec.
    pub(crate) async fn observed(&self) -> anyhow::Result<usize> {
        let mirrors = self.api();
        let mut observed = 0;
        let mut parameters = ListParams::default().limit(PAGE);
        loop {
            let page = mirrors.list(&parameters).await?;
            let up_to_date = page.items.iter().filter(|mirror| {
                let status = mirror.status.as_ref();
                status.and_then(|status| status.observed_generation) == mirror.metadata.generation
            });
            observed += up_to_date.count();
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => {
                    parameters = ListParams::default().limit(PAGE).continue_token(&token);
                }
                None => return Ok(observed),
            }
        }
    }

    /// Waits until the newest specs of `count` are observed.
    pub(crate) async fn wait_observed(&self, count: usize) -> anyhow::Result<()> {
        wait(
            || async { Ok(self.observed().await? >= count) },
            Duration::from_secs(1),
        )
        .await
    }

    /// Waits until there are so many Jobs.
    pub(crate) async fn wait_started(&self, count: usize) -> anyhow::Result<()> {
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
        wait(
            || async {
                let jobs = jobs.list_metadata(&ListParams::default()).await?;
                ensure!(
                    jobs.items.len() <= count,
                    "there are more runs than mirrors"
                );
                Ok(jobs.items.len() == count)
            },
            Duration::from_millis(250),
        )
        .await
    }

    /// Requests a scan of one mirror and says how long it took until its status told the outcome.
    pub(crate) async fn scan(&self, number: usize) -> anyhow::Result<Duration> {
        let mirrors = self.api();
        let name = name(number);
        let begin = Instant::now();
        let request = format!("{begin:?}");
        let patch =
            json!({"metadata": {"annotations": {"reconcile.transship.dev/requestedAt": request}}});
        mirrors
            .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        let handled = || async {
            let mirror = mirrors.get(&name).await?;
            let status = mirror.status.unwrap_or_default();
            Ok(status.last_handled_reconcile_at.as_deref() == Some(&request))
        };
        wait(handled, Duration::from_millis(10)).await?;
        Ok(begin.elapsed())
    }

    /// One mirror as it is now.
    pub(crate) async fn get(&self, number: usize) -> anyhow::Result<ImageMirror> {
        Ok(self.api().get(&name(number)).await?)
    }

    /// Removes all mirrors and what the operator has made for them, as there is no garbage collector.
    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        let (delete, all) = (DeleteParams::background(), ListParams::default());
        self.api().delete_collection(&delete, &all).await?;
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
        jobs.delete_collection(&delete, &all).await?;
        let config_maps: Api<ConfigMap> = Api::namespaced(self.client, &self.namespace);
        config_maps.delete_collection(&delete, &all).await?;
        Ok(())
    }

    fn api(&self) -> Api<ImageMirror> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

fn name(number: usize) -> String {
    format!("mirror-{number:05}")
}

/// A mirror as tools for GitOps apply it.
fn document(number: usize, spec: &Value) -> Value {
    json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
        "metadata": {
            "name": name(number),
            "labels": {"app.kubernetes.io/part-of": "platform", "argocd.argoproj.io/instance": "mirrors"},
            "annotations": {
                "argocd.argoproj.io/tracking-id": format!("mirrors:transship.dev/ImageMirror:{}", name(number)),
                "kubectl.kubernetes.io/last-applied-configuration": spec.to_string(),
            },
        },
        "spec": spec,
    })
}

/// Asks again, with pauses, until the answer is yes.
async fn wait<F>(mut ask: impl FnMut() -> F, pause: Duration) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let begin = Instant::now();
    while !ask().await? {
        if begin.elapsed() > NEVER {
            bail!("not within {} minutes", NEVER.as_secs() / 60);
        }
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
