//! What is kept in memory of the objects that are watched: enough to see that nothing is to be done for a
//! mirror, and no more, as there may be ten thousand of them.
//!
//! What is kept may be behind the API server. It is good for deciding to do nothing: what it does not show yet
//! comes as an event, and makes another reconcile. Whoever acts asks the API server first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::batch::v1::Job;
use kube::api::ObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Resource as _, ResourceExt as _};

use super::stored::{StoredBuild, StoredMirror};
use crate::api::{BuildSource, RECONCILE_REQUEST_ANNOTATIONS, ReferrerRules, WorkerPod};

/// Annotations of our own begin so.
const OUR_ANNOTATIONS: &str = "transship.dev/";

/// Leaves what tells whether something is to be done, and the counts of the status. What the spec wants is known
/// to [`Claims`](super::mirror::Claims).
pub(super) fn trim_mirror(stored: &mut StoredMirror) {
    if let StoredMirror::Readable(mirror) = stored {
        let spec = &mut mirror.spec;
        spec.sources = Vec::new();
        spec.destinations = Vec::new();
        spec.platforms = Vec::new();
        spec.verify = Vec::new();
        spec.referrers = ReferrerRules::default();
        spec.pod = WorkerPod::default();
    }
    trim_metadata(stored.meta_mut(), |annotation| {
        RECONCILE_REQUEST_ANNOTATIONS.contains(&annotation)
    });
    let status = match stored {
        StoredMirror::Readable(mirror) => &mut mirror.status,
        StoredMirror::Unreadable(mirror) => &mut mirror.status,
    };
    if let Some(status) = status {
        status.images = Vec::new();
        status.image_reports = Vec::new();
        status.conditions = Vec::new();
        status.history = Vec::new();
        status.prune = None;
    }
}

/// Leaves what tells a build from others: whoever acts reads it again.
pub(super) fn trim_build(stored: &mut StoredBuild) {
    trim_metadata(stored.meta_mut(), |_| false);
    if let StoredBuild::Readable(object) = stored {
        object.spec.source = BuildSource::default();
        object.status = None;
    }
}

/// Leaves what tells whose run it is and whether it has ended.
pub(super) fn trim_job(job: &mut Job) {
    trim_metadata(&mut job.metadata, |annotation| {
        annotation.starts_with(OUR_ANNOTATIONS)
    });
    job.spec = None;
}

fn trim_metadata(metadata: &mut ObjectMeta, keeps: impl Fn(&str) -> bool) {
    metadata.managed_fields = None;
    metadata.labels = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| keeps(name));
    }
}

/// The Jobs of mirrors, as far as the watches have shown them.
#[derive(Debug, Default)]
pub(super) struct KnownJobs(Mutex<HashMap<String, Scope>>);

/// What one watch has shown.
#[derive(Debug, Default)]
struct Scope {
    /// Whether it has shown everything once.
    complete: bool,
    jobs: Jobs,
    /// What it shows while it begins anew; until that is complete, what it has shown before counts.
    relisted: Jobs,
}

/// By the UID of the mirror, then by namespace and name.
type Jobs = HashMap<String, BTreeMap<String, Job>>;

impl KnownJobs {
    /// Takes note of what the watch of a namespace shows; `scope` is empty where it is that of all.
    pub(super) fn observe(&self, scope: &str, event: &Event<Job>) {
        let mut scopes = self.lock();
        let scope = scopes.entry(scope.to_owned()).or_default();
        match event {
            Event::Init => scope.relisted = Jobs::new(),
            Event::InitApply(job) => insert(&mut scope.relisted, job),
            Event::InitDone => {
                scope.jobs = std::mem::take(&mut scope.relisted);
                scope.complete = true;
            }
            Event::Apply(job) => insert(&mut scope.jobs, job),
            Event::Delete(job) => remove(&mut scope.jobs, job),
        }
    }

    /// All Jobs that a mirror controls; [`None`] as long as that is not known.
    pub(super) fn of_mirror(&self, namespace: &str, uid: &str) -> Option<Vec<Job>> {
        let scopes = self.lock();
        let scope = scopes.get(namespace).or_else(|| scopes.get(""))?;
        let jobs = || scope.jobs.get(uid).into_iter().flat_map(BTreeMap::values);
        scope.complete.then(|| jobs().cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Scope>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(jobs: &mut Jobs, job: &Job) {
    if let Some(controller) = controller(job) {
        let jobs = jobs.entry(controller.to_owned()).or_default();
        jobs.insert(super::key(job), job.clone());
    }
}

fn remove(jobs: &mut Jobs, job: &Job) {
    let Some(controller) = controller(job) else {
        return;
    };
    if let Some(of_mirror) = jobs.get_mut(controller) {
        of_mirror.remove(&super::key(job));
        if of_mirror.is_empty() {
            jobs.remove(controller);
        }
    }
}

fn controller(job: &Job) -> Option<&str> {
    let mut owners = job.owner_references().iter();
    let controller = owners.find(|owner| owner.controller == Some(true))?;
    Some(&controller.uid)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(name: &str, mirror: &str) -> Job {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "n",
                "labels": {"transship.dev/mirror-uid": mirror},
                "annotations": {"transship.dev/generation": "3", "of": "somebody else"},
                "ownerReferences": [{"apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror", "name": "m",
                    "uid": mirror, "controller": true}],
                "managedFields": [{"manager": "transship"}],
            },
            "spec": {"template": {}},
        }))
        .unwrap()
    }

    fn names(known: &KnownJobs, namespace: &str, mirror: &str) -> Option<Vec<String>> {
        let jobs = known.of_mirror(namespace, mirror)?;
        Some(jobs.iter().map(Job::name_any).collect())
    }

    #[test]
    fn nothing_is_known_before_the_first_list_is_complete() {
        let known = KnownJobs::default();
        assert_eq!(names(&known, "n", "one"), None);
        known.observe("", &Event::Init);
        known.observe("", &Event::InitApply(job("a", "one")));
        assert_eq!(names(&known, "n", "one"), None);
        known.observe("", &Event::InitDone);
        assert_eq!(names(&known, "n", "one").unwrap(), ["a"]);
        assert_eq!(names(&known, "n", "two").unwrap(), [""; 0]);
    }

    #[test]
    fn jobs_come_and_go_and_a_new_list_replaces_the_old_one_at_once() {
        let known = KnownJobs::default();
        known.observe("", &Event::Init);
        known.observe("", &Event::InitDone);
        known.observe("", &Event::Apply(job("a", "one")));
        known.observe("", &Event::Apply(job("b", "one")));
        known.observe("", &Event::Delete(job("a", "one")));
        assert_eq!(names(&known, "n", "one").unwrap(), ["b"]);
        known.observe("", &Event::Init);
        known.observe("", &Event::InitApply(job("c", "two")));
        assert_eq!(names(&known, "n", "one").unwrap(), ["b"]);
        known.observe("", &Event::InitDone);
        assert_eq!(names(&known, "n", "one").unwrap(), [""; 0]);
        assert_eq!(names(&known, "n", "two").unwrap(), ["c"]);
    }

    #[test]
    fn the_watch_of_one_namespace_says_nothing_about_another() {
        let known = KnownJobs::default();
        known.observe("n", &Event::Init);
        known.observe("n", &Event::InitApply(job("a", "one")));
        known.observe("n", &Event::InitDone);
        assert_eq!(names(&known, "n", "one").unwrap(), ["a"]);
        assert_eq!(names(&known, "other", "one"), None);
    }

    #[test]
    fn a_job_keeps_what_decisions_are_made_from() {
        let mut trimmed = job("a", "one");
        trim_job(&mut trimmed);
        assert_eq!(controller(&trimmed), Some("one"));
        let annotations = trimmed.annotations();
        assert_eq!(annotations["transship.dev/generation"], "3");
        assert_eq!(annotations.len(), 1);
        assert_eq!(
            (trimmed.spec, trimmed.metadata.managed_fields),
            (None, None)
        );
    }

    #[test]
    fn a_mirror_keeps_requests_and_counts() {
        let mut stored: StoredMirror = serde_json::from_value(json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {
                "name": "m", "namespace": "n", "generation": 3, "labels": {"a": "b"},
                "annotations": {RECONCILE_REQUEST_ANNOTATIONS[0]: "now", "large": "one"},
                "managedFields": [{"manager": "kubectl"}],
            },
            "spec": {"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]},
            "status": {
                "observedGeneration": 3, "present": 7, "nextScanTime": "2026-01-01T00:00:00Z",
                "images": [{"source": "docker.io/library/alpine:3"}],
            },
        }))
        .unwrap();
        trim_mirror(&mut stored);
        let StoredMirror::Readable(mirror) = stored else {
            panic!("it can be read");
        };
        assert_eq!(mirror.annotations().len(), 1);
        assert_eq!(
            crate::api::requested_reconcile(&mirror.metadata),
            Some("now")
        );
        assert_eq!(mirror.metadata.managed_fields, None);
        assert_eq!(mirror.spec.sources, []);
        assert_eq!(mirror.spec.interval, "1h");
        let status = mirror.status.unwrap();
        assert_eq!(status.images, []);
        assert_eq!((status.present, status.observed_generation), (7, Some(3)));
        assert!(status.next_scan_time.is_some());
    }
}
