//! Where one run of a scenario takes place: a namespace with one mirror or build, an operator of its own, and the proxy
//! between that and the API server. What a user does is done beside the proxy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node, Secret, ServiceAccount};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use transship::api::{ImageBuild, ImageMirror};

use super::builds::{BUILD, Commits};
use super::end_state::{EndState, LookedAfter};
use super::operator::Launch;
use crate::harness::{Cluster, Cut, OneLayerImage, Proxy, conditions, eventually};

/// The repository of all sources: their tags have the name of the namespace in them.
pub(super) const SOURCES: &str = "crash/source";
/// The only mirror.
const MIRROR: &str = "mirror";
/// An operator that has asked for nothing for so long has nothing to do.
const QUIET: Duration = Duration::from_millis(700);

/// The namespace, its mirror or build, and its operator.
pub(super) struct Stage {
    pub(super) cluster: Arc<Cluster>,
    pub(super) commits: Arc<Commits>,
    pub(super) namespace: String,
    pub(super) proxy: Arc<Proxy>,
    client: Client,
    mirrors: Api<ImageMirror>,
    directory: TempDir,
}

impl Stage {
    /// Makes a namespace that enforces this level of Pod Security. The operator is to be ended at `cut`.
    pub(super) async fn set(
        cluster: Arc<Cluster>,
        commits: Arc<Commits>,
        number: usize,
        level: &str,
        cut: Option<Cut>,
    ) -> Self {
        let client = cluster.client.clone();
        let namespace = format!("crash-{}-{number}", std::process::id());
        let object = json!({"metadata": {
            "name": namespace, "labels": {"pod-security.kubernetes.io/enforce": level},
        }});
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let object = serde_json::from_value(object).unwrap();
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        // Without it no pod is created, and the Job controller tries that again after a pause.
        eventually("the service account of pods", || async {
            accounts
                .get("default")
                .await
                .map_err(|error| error.to_string())
        })
        .await;
        Self {
            proxy: Arc::new(Proxy::start(client.clone(), cut).await),
            mirrors: Api::namespaced(client.clone(), &namespace),
            cluster,
            commits,
            namespace,
            client,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn launch(&self, worker_image: &str) -> Launch {
        Launch {
            worker_image: worker_image.to_owned(),
            builder_image: format!("{}/builders/buildkit:1", self.cluster.plain.host),
            namespace: self.namespace.clone(),
            directory: self.directory.path().to_owned(),
            proxy: Arc::clone(&self.proxy),
        }
    }

    /// Points a tag of the source at an image; says how the source is called.
    pub(super) async fn push(&self, tag: &str, image: &OneLayerImage) -> String {
        let tag = self.tag(tag);
        let plain = &self.cluster.plain;
        plain.tag(image, SOURCES, std::slice::from_ref(&tag)).await;
        format!("{}/{SOURCES}:{tag}", plain.host)
    }

    /// Points a tag of the destination in the plain registry at an image, as somebody else would.
    pub(super) async fn tamper(&self, tag: &str, image: &OneLayerImage) {
        let repository = format!("{}/one", self.namespace);
        let plain = &self.cluster.plain;
        plain.upload(image, &repository).await;
        plain.tag(image, &repository, &[self.tag(tag)]).await;
    }

    fn tag(&self, tag: &str) -> String {
        format!("{}-{tag}", self.namespace)
    }

    /// A spec with these sources, and other fields, to the destination in the plain registry.
    pub(super) fn spec(&self, sources: &[String], fields: &Value) -> Value {
        let sources: Vec<_> = sources
            .iter()
            .map(|image| json!({"image": image, "insecure": true}))
            .collect();
        let mut spec = json!({
            "interval": "24h", "sources": sources,
            "destinations": [{
                "prefix": format!("{}/{}", self.cluster.plain.host, self.namespace), "path": "one",
                "insecure": true,
            }],
        });
        for (name, value) in fields.as_object().into_iter().flatten() {
            spec[name] = value.clone();
        }
        spec
    }

    /// The destination in the secure registry.
    pub(super) fn secure_destination(&self) -> Value {
        json!({
            "prefix": format!("{}/{}", self.cluster.secure.host, self.namespace), "path": "two",
            "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
        })
    }

    /// Applies the Secrets of the secure registry, with credentials or with others.
    pub(super) async fn credentials(&self, content: &str) {
        let secrets = [
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
                "metadata": {"name": "registry-push"}, "stringData": {".dockerconfigjson": content},
            }),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry-ca"},
                "stringData": {"ca.crt": self.cluster.secure.authority()},
            }),
        ];
        let api: Api<Secret> = self.api();
        for secret in secrets {
            let name = secret["metadata"]["name"].as_str().unwrap();
            api.patch(name, &user(), &Patch::Apply(&secret))
                .await
                .unwrap();
        }
    }

    /// Applies the mirror.
    pub(super) async fn apply(&self, spec: &Value) {
        let mirror = json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {"name": MIRROR}, "spec": spec,
        });
        let patch = Patch::Apply(&mirror);
        self.mirrors.patch(MIRROR, &user(), &patch).await.unwrap();
    }

    /// Changes the mirror.
    pub(super) async fn change(&self, patch: &Value) {
        let patch = Patch::Merge(patch);
        let parameters = PatchParams::default();
        self.mirrors
            .patch(MIRROR, &parameters, &patch)
            .await
            .unwrap();
    }

    /// Waits until the mirror rests with `Ready` as told.
    pub(super) async fn rests(&self, ready: &str) {
        eventually("the mirror to rest", || async {
            let mirror = self.mirrors.get(MIRROR).await.unwrap();
            let status = mirror.status.clone().unwrap_or_default();
            let condition = conditions(&mirror)
                .into_iter()
                .find(|condition| condition["type"] == "Ready" && condition["status"] == ready);
            let is_over = status.run.is_none_or(|run| run.completion_time.is_some());
            let is_current = status.observed_generation == mirror.metadata.generation;
            if condition.is_some() && is_over && is_current && status.next_scan_time.is_some() {
                return Ok(());
            }
            Err(serde_json::to_string(&mirror.status).unwrap())
        })
        .await;
    }

    /// Waits until the second of two tags is no longer what the mirror wrote.
    pub(super) async fn has_removed(&self) {
        eventually("a tag that is removed", || async {
            let status = self.mirrors.get(MIRROR).await.unwrap().status;
            let prune = status.and_then(|status| status.prune);
            let left = prune.as_ref().map(|prune| (prune.written, prune.unwanted));
            (left == Some((1, 0)))
                .then_some(())
                .ok_or(format!("{left:?}"))
        })
        .await;
    }

    /// Asks for a scan, and waits until that is done with everything that follows from it.
    pub(super) async fn scans(&self) {
        const REQUEST: &str = "scan";
        let annotation = json!({"reconcile.transship.dev/requestedAt": REQUEST});
        self.change(&json!({"metadata": {"annotations": annotation}}))
            .await;
        eventually("the scan", || async {
            let mirror = self.mirrors.get(MIRROR).await.unwrap();
            let status = mirror.status.unwrap_or_default();
            let handled = status.last_handled_reconcile_at.as_deref() == Some(REQUEST);
            handled.then_some(()).ok_or("not handled".to_owned())
        })
        .await;
        self.rests("True").await;
    }

    /// Deletes the mirror, and waits until it is gone.
    pub(super) async fn delete(&self) {
        let parameters = DeleteParams::background();
        self.mirrors.delete(MIRROR, &parameters).await.unwrap();
        eventually("the mirror to be gone", || async {
            match self.mirrors.get_opt(MIRROR).await.unwrap() {
                None => Ok(()),
                Some(mirror) => Err(serde_json::to_string(&mirror).unwrap()),
            }
        })
        .await;
    }

    /// Waits for the only Job to be as wanted.
    pub(super) async fn job(&self, what: &str, wanted: impl Fn(&Job) -> bool) {
        let jobs: Api<Job> = self.api();
        eventually(what, || async {
            let jobs = jobs.list(&ListParams::default()).await.unwrap().items;
            let found = jobs.first().is_some_and(&wanted);
            found
                .then_some(())
                .ok_or_else(|| serde_json::to_string(&jobs).unwrap())
        })
        .await;
    }

    /// What pods of this namespace may ask of a node: no node has it but in [`Self::with_node`].
    pub(super) fn node_selector(&self) -> Value {
        json!({format!("e2e.transship.dev/{}", self.namespace): "true"})
    }

    /// Gives a node what [`Self::node_selector`] asks for, and takes it away when the work is done.
    pub(super) async fn with_node(&self, work: impl Future<Output = ()>) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let list = nodes.list(&ListParams::default()).await.unwrap();
        let name = list.items[0].metadata.name.as_deref().unwrap();
        let parameters = PatchParams::default();
        let mut labels = json!({"metadata": {"labels": self.node_selector()}});
        let patch = Patch::Merge(&labels);
        nodes.patch(name, &parameters, &patch).await.unwrap();
        work.await;
        for label in labels["metadata"]["labels"]
            .as_object_mut()
            .unwrap()
            .values_mut()
        {
            *label = Value::Null;
        }
        let patch = Patch::Merge(&labels);
        nodes.patch(name, &parameters, &patch).await.unwrap();
    }

    /// Waits until the operator has nothing to do any more. That may be one that was started again a moment ago.
    pub(super) async fn is_quiet(&self) {
        eventually("an operator without anything to do", || async {
            let is_quiet = self.proxy.is_quiet_for(QUIET);
            is_quiet.then_some(()).ok_or("it asks on".to_owned())
        })
        .await;
    }

    /// What is there now.
    pub(super) async fn end_state(&self) -> EndState {
        let mut tags = BTreeMap::new();
        for (registry, path) in [(&self.cluster.plain, "one"), (&self.cluster.secure, "two")] {
            let digests = registry
                .digests(&format!("{}/{path}", self.namespace))
                .await;
            tags.extend(
                digests
                    .into_iter()
                    .map(|(tag, digest)| (format!("{path}:{tag}"), digest)),
            );
        }
        let mirror = self.mirrors.get_opt(MIRROR).await.unwrap();
        let build = self.api::<ImageBuild>().get_opt(BUILD).await.unwrap();
        let looked_after = LookedAfter { mirror, build };
        let started = self.proxy.started();
        EndState::read(&self.client, &self.namespace, &looked_after, tags, &started).await
    }

    /// Objects of the namespace.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The end of the log of the operator.
    pub(super) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("operator.log"));
        let log = log.unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Removes the namespace.
    pub(super) async fn clear(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let parameters = DeleteParams::background();
        namespaces
            .delete(&self.namespace, &parameters)
            .await
            .unwrap();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: {}", self.namespace, self.log());
        }
    }
}

/// Applies like `kubectl apply --server-side`.
pub(super) fn user() -> PatchParams {
    PatchParams::apply("user").force()
}
