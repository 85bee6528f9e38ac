//! One mirror in a test: applied as a user would, watched as GitOps tools would.

use kube::Api;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use transship::api::ImageMirror;

use super::cluster::{Cluster, Namespace};
use super::tool::run_with_input;
use super::wait::eventually;

/// A mirror that exists.
pub(crate) struct Mirror<'a> {
    namespace: &'a Namespace,
    pub(crate) name: String,
    api: Api<ImageMirror>,
}

impl<'a> Mirror<'a> {
    /// Applies a mirror with the given spec.
    pub(crate) fn apply(
        cluster: &Cluster,
        namespace: &'a Namespace,
        name: &str,
        spec: &Value,
    ) -> Self {
        namespace.apply(&json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {"name": name, "namespace": namespace.name},
            "spec": spec,
        }));
        Self::existing(cluster, namespace, name)
    }

    /// A mirror that someone else has applied.
    pub(crate) fn existing(cluster: &Cluster, namespace: &'a Namespace, name: &str) -> Self {
        Self {
            namespace,
            name: name.to_owned(),
            api: Api::namespaced(cluster.client.clone(), &namespace.name),
        }
    }

    /// The mirror as it is now. Every state that a test sees must be understood by kstatus as its
    /// conditions say.
    pub(crate) async fn get(&self) -> ImageMirror {
        let mirror = self.api.get(&self.name).await.unwrap();
        assert_kstatus_agrees(&mirror);
        mirror
    }

    /// Waits until the mirror is as wanted; `wanted` says what is missing otherwise.
    pub(crate) async fn wait_until(
        &self,
        what: &str,
        wanted: impl Fn(&ImageMirror) -> Result<(), String>,
    ) -> ImageMirror {
        eventually(what, || async {
            let mirror = self.get().await;
            let status = serde_json::to_string(&mirror.status).unwrap();
            wanted(&mirror)
                .map(|()| mirror)
                .map_err(|why| format!("{why}: {status}"))
        })
        .await
    }

    /// Waits until the newest spec is in place everywhere, and `kubectl wait` says so too.
    pub(crate) async fn wait_ready(&self) -> ImageMirror {
        let mirror = self
            .wait_until("ready", |mirror| {
                wants_condition(mirror, "Ready", "True", "Succeeded")
            })
            .await;
        let object = format!("imir/{}", self.name);
        self.namespace
            .kubectl(&["wait", "--for=condition=Ready", &object, "--timeout=1s"]);
        mirror
    }

    /// Waits until `Ready` is `False` for the given reason, and `Stalled` is there or not.
    pub(crate) async fn wait_failed(&self, reason: &str, stalled: bool) -> ImageMirror {
        self.wait_until(reason, |mirror| {
            wants_condition(mirror, "Ready", "False", reason)?;
            match conditions(mirror)
                .iter()
                .any(|condition| condition["type"] == "Stalled")
            {
                found if found == stalled => Ok(()),
                found => Err(format!("Stalled is there: {found}, wanted: {stalled}")),
            }
        })
        .await
    }

    /// Asks for a scan, and waits until it is done with everything that follows from it.
    pub(crate) async fn scan(&self) -> ImageMirror {
        let value = jiff::Timestamp::now().to_string();
        let annotation = format!("reconcile.transship.dev/requestedAt={value}");
        self.namespace
            .kubectl(&["annotate", "imir", &self.name, "--overwrite", &annotation]);
        self.wait_until("requested scan", |mirror| {
            let status = mirror.status.as_ref().ok_or("no status")?;
            let handled = status.last_handled_reconcile_at.as_deref() == Some(&value);
            let at_rest = status.next_scan_time.is_some();
            if handled && at_rest {
                Ok(())
            } else {
                Err("not handled yet".to_owned())
            }
        })
        .await
    }

    /// Waits for the worker pod of the current run; returns its name and UID.
    pub(crate) async fn worker_pod(&self) -> (String, String) {
        let uid = self.get().await.uid().unwrap();
        let selector = format!("transship.dev/mirror-uid={uid}");
        eventually("a running worker pod", || async {
            let pods = self.namespace.kubectl(&[
                "get",
                "pods",
                "--selector",
                &selector,
                "--field-selector=status.phase=Running",
                "--output",
                "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{\"\\n\"}{end}",
            ]);
            let pod = pods.lines().next().and_then(|line| line.split_once(' '));
            pod.map(|(name, uid)| (name.to_owned(), uid.to_owned()))
                .ok_or_else(|| format!("pods: {pods:?}"))
        })
        .await
    }

    /// Whether an event with the reason was published about the mirror.
    pub(crate) fn has_event(&self, reason: &str) -> bool {
        let name = format!("involvedObject.name={}", self.name);
        let reasons = self.namespace.kubectl(&[
            "get",
            "events",
            "--field-selector",
            &name,
            "--output",
            "jsonpath={.items[*].reason}",
        ]);
        reasons.split_whitespace().any(|found| found == reason)
    }
}

/// The conditions as JSON.
pub(crate) fn conditions(mirror: &ImageMirror) -> Vec<Value> {
    let status = mirror.status.clone().unwrap_or_default();
    status
        .conditions
        .iter()
        .map(|condition| serde_json::to_value(condition).unwrap())
        .collect()
}

/// Reference and state of every image at every destination.
pub(crate) fn destination_states(mirror: &ImageMirror) -> Vec<(String, String)> {
    let status = mirror.status.clone().unwrap_or_default();
    let destinations = status.images.iter().flat_map(|image| &image.destinations);
    destinations
        .map(|destination| {
            (
                destination.reference.clone(),
                format!("{:?}", destination.state),
            )
        })
        .collect()
}

fn wants_condition(
    mirror: &ImageMirror,
    type_: &str,
    status: &str,
    reason: &str,
) -> Result<(), String> {
    let generation = mirror.metadata.generation;
    let found = conditions(mirror)
        .into_iter()
        .find(|condition| condition["type"] == type_);
    match found {
        Some(found)
            if found["status"] == status
                && found["reason"] == reason
                && found["observedGeneration"].as_i64() == generation =>
        {
            Ok(())
        }
        found => Err(format!("wanted {type_}={status} {reason}, found {found:?}")),
    }
}

/// kstatus must see what the conditions say.
fn assert_kstatus_agrees(mirror: &ImageMirror) {
    let generation = mirror.metadata.generation;
    let observed = mirror
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    let is = |type_: &str| {
        conditions(mirror)
            .iter()
            .any(|condition| condition["type"] == type_ && condition["status"] == "True")
    };
    let expected = if mirror.metadata.deletion_timestamp.is_some() {
        "Terminating"
    } else if observed != generation || is("Reconciling") {
        "InProgress"
    } else if is("Stalled") {
        "Failed"
    } else if is("Ready") {
        "Current"
    } else {
        "InProgress"
    };
    let object = serde_json::to_string(mirror).unwrap();
    let printed = run_with_input(&["kstatus"], &object)
        .unwrap_or_else(|message| panic!("kstatus: {message}"));
    assert_eq!(printed.split('\t').next(), Some(expected), "{object}");
}
