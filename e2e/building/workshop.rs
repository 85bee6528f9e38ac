//! A namespace in which images are built: base images in a registry that asks for credentials, the Secrets to reach
//! it, and the specs of builds that use both.

use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::harness::{Cluster, Namespace};

/// Builds at the same time: more would be too slow for those who wait for them.
static BUILDS: Semaphore = Semaphore::const_new(3);

/// Where builds of a test take place.
pub(crate) struct Workshop {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: Namespace,
    slot: Option<SemaphorePermit<'static>>,
}

impl Workshop {
    /// In a namespace that enforces Pod Security `baseline`.
    pub(crate) async fn open(purpose: &str) -> Self {
        let slot = BUILDS.acquire().await.unwrap();
        Self::in_cluster(Cluster::shared().await, Some(slot), purpose)
    }

    /// For a test that disturbs others.
    pub(super) async fn alone(purpose: &str) -> Self {
        Self::in_cluster(Cluster::alone().await, None, purpose)
    }

    fn in_cluster(cluster: Cluster, slot: Option<SemaphorePermit<'static>>, purpose: &str) -> Self {
        let namespace = cluster.namespace_with(purpose, "baseline");
        cluster.secure.copy_from(&cluster.plain, "bases/busybox:1");
        Self {
            cluster,
            namespace,
            slot,
        }
    }

    /// The base image.
    pub(crate) fn base(&self) -> String {
        format!("{}/bases/busybox:1", self.cluster.secure.host)
    }

    /// The name of the image of the build `name` in the plain registry.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace.name)
    }

    /// Makes a Secret with these texts.
    pub(crate) fn secret(&self, name: &str, texts: &Value) {
        self.namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": self.namespace.name},
            "stringData": texts,
        }));
    }

    /// Lets others build while this one waits for something else.
    pub(crate) fn rest(&mut self) {
        self.slot = None;
    }

    /// A spec that builds this Dockerfile, whose `BASE` is the base image, and pushes it as `main`.
    pub(crate) fn spec(&self, name: &str, dockerfile: &str) -> Value {
        json!({
            "source": {"inline": {"dockerfile": dockerfile}},
            "buildArgs": [{"name": "BASE", "value": self.base()}],
            "pullSecretRef": {"name": "registry-push"},
            "pullCertSecretRef": {"name": "registry-ca"},
            "output": {
                "repository": format!("{}/{}", self.cluster.plain.host, self.image(name)),
                "tags": ["main"],
                "insecure": true,
            },
        })
    }
}
