//! What is left in the end, in a form that is the same for two runs of one scenario.
//!
//! Left out is what differs between any two runs: times, random names, and how many bytes and blobs were sent,
//! skipped and mounted, which depends on which of two images is first.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use serde::Serialize;
use serde_json::{Value, json};
use transship::api::{ImageBuild, ImageMirror};

/// Fields of the status, and of its runs and builds, that are no part of an end state.
const VARYING: [&str; 5] = [
    "lastScanTime",
    "lastSyncTime",
    "nextScanTime",
    "nextCheckTime",
    // Over the name of the namespace.
    "inputsHash",
];
const VARYING_OF_RUNS: [&str; 4] = ["startTime", "completionTime", "duration", "inputsHash"];
const COUNTS: [&str; 4] = ["bytes", "blobsCopied", "blobsMounted", "blobsSkipped"];

const THERE: &str = "that is there";
const GONE: &str = "that is gone";

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EndState {
    /// What the destinations hold, by registry and tag.
    pub(super) tags: BTreeMap<String, String>,
    /// Finalizers and status of the mirror; nothing when there is none.
    mirror: Option<Value>,
    /// The same of the build.
    build: Option<Value>,
    /// Each of the objects that they own, as what it is and whose.
    objects: Vec<String>,
    /// Jobs and pods of builds that have been started from first to last.
    started: usize,
}

/// What the operator of a namespace looks after.
pub(super) struct LookedAfter {
    pub(super) mirror: Option<ImageMirror>,
    pub(super) build: Option<ImageBuild>,
}

impl EndState {
    /// Reads it in a namespace. `started` are the names of all Jobs and pods of builds that ever were.
    pub(super) async fn read(
        client: &Client,
        namespace: &str,
        looked_after: &LookedAfter,
        tags: BTreeMap<String, String>,
        started: &[String],
    ) -> Self {
        let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
        let jobs = jobs.list(&ListParams::default()).await.unwrap().items;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let maps = maps.list(&ListParams::default()).await.unwrap().items;
        let LookedAfter { mirror, build } = looked_after;
        let (mirror, build) = (mirror.as_ref(), build.as_ref());
        // Those of Jobs are the Job controller's.
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let pods = pods.list(&ListParams::default()).await.unwrap().items;
        let pods: Vec<Pod> = pods
            .into_iter()
            .filter(|pod| started.contains(&pod.name_any()))
            .collect();
        let owners: Vec<String> = jobs
            .iter()
            .filter_map(kube::ResourceExt::uid)
            .chain(pods.iter().filter_map(kube::ResourceExt::uid))
            .chain(mirror.and_then(kube::ResourceExt::uid))
            .chain(build.and_then(kube::ResourceExt::uid))
            .collect();
        let of_job = |job: &Job| describe(job, "Job", &owners, started);
        let of_pod = |pod: &Pod| describe(pod, "Pod", &owners, started);
        let of_map = |map: &ConfigMap| describe(map, "ConfigMap", &owners, started);
        let maps = maps
            .iter()
            .filter(|map| map.name_any() != "kube-root-ca.crt");
        let children = jobs.iter().map(of_job).chain(pods.iter().map(of_pod));
        let mut objects: Vec<String> = children.chain(maps.map(of_map)).collect();
        objects.sort();
        let mut distinct = started.to_vec();
        distinct.sort();
        distinct.dedup();
        // Of a build whose pods were not all made, those that were are made again under their names.
        assert!(
            build.is_some() || distinct.len() == started.len(),
            "a run was started twice: {started:?}"
        );
        Self {
            tags: tags
                .into_iter()
                .map(|(tag, digest)| {
                    // A list of what refers to an image, which is another each time.
                    let digest = if tag.contains(":sha256-") {
                        String::new()
                    } else {
                        digest
                    };
                    (tag.replace(namespace, "NAMESPACE"), digest)
                })
                .collect(),
            mirror: mirror.map(|mirror| normal(mirror, &mirror.status, namespace)),
            build: build.map(|build| normal(build, &build.status, namespace)),
            objects,
            started: distinct.len(),
        }
    }

    /// Whether every object has its owner.
    pub(super) fn is_settled(&self) -> bool {
        !self.objects.iter().any(|object| object.contains(GONE))
    }
}

/// An object as its kind, the kind of its owner, and whether that is there; named like a run, it has the run's number.
fn describe(
    object: &impl kube::ResourceExt,
    kind: &str,
    owners: &[String],
    started: &[String],
) -> String {
    let name = object.name_any();
    let run = started.iter().position(|job| *job == name);
    let what = run.map_or_else(|| page(&name), |run| format!("of run {run}"));
    let owned = object.owner_references().iter().map(|owner| {
        let is_there = owners.contains(&owner.uid);
        format!("{} {}", owner.kind, if is_there { THERE } else { GONE })
    });
    format!("{kind} {what}, owned by {:?}", owned.collect::<Vec<_>>())
}

/// The name of a page has the list, the identity of the mirror and a number behind the mirror's name.
fn page(name: &str) -> String {
    match name.split('-').collect::<Vec<_>>()[..] {
        [_, list, _, number] => format!("{list} {number}"),
        _ => format!("called {name}"),
    }
}

fn normal(object: &impl kube::ResourceExt, status: &impl Serialize, namespace: &str) -> Value {
    let mut status = serde_json::to_value(status).unwrap();
    for field in VARYING {
        if !status[field].is_null() {
            status[field] = json!("VARIES");
        }
    }
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = json!("VARIES");
    }
    for current in ["run", "build"] {
        if let Some(run) = status.get_mut(current) {
            normal_run(run);
        }
    }
    // It has the times of its build and the UID of the object.
    if let Some(provenance) = status.pointer_mut("/image/provenance/digest") {
        *provenance = json!("DIGEST");
    }
    for run in status["history"].as_array_mut().into_iter().flatten() {
        normal_run(run);
    }
    let text = json!({"finalizers": object.finalizers(), "status": status}).to_string();
    let uid = object.uid().unwrap();
    let text = text
        .replace(namespace, "NAMESPACE")
        .replace(&uid.chars().take(8).collect::<String>(), "UID");
    serde_json::from_str(&text).unwrap()
}

fn normal_run(run: &mut Value) {
    let Some(run) = run.as_object_mut() else {
        return;
    };
    run.remove("job");
    run.remove("pod");
    for count in COUNTS {
        run.remove(count);
    }
    for field in VARYING_OF_RUNS {
        if let Some(field) = run.get_mut(field) {
            *field = json!("VARIES");
        }
    }
}
