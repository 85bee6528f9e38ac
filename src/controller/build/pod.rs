//! The objects of one attempt at a build: for each platform its plan in an immutable `ConfigMap`, and its pod. Pure:
//! values in, objects out.
//!
//! The pod has three containers, one after the other. `fetch` has the credentials of the source, `build` runs what
//! users wrote and has those of base images and the secrets of the build, `publish` has those of the output. Before it
//! comes `scan`, if a bill of materials is wanted, which has nothing but the image. No two of them share a mounted
//! Secret, and none has a token. Of the object nothing reaches the pod but names of Secrets, the fields of `spec.pod`,
//! the repository of the image, and what `builder` makes arguments of.

mod containers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::source::MountedFiles;
use crate::api::{
    BUILD_ATTEMPT_LABEL, BUILD_NUMBER_LABEL, BUILD_PLATFORM_ANNOTATION, BUILD_UID_LABEL,
    ImageBuild, ImageBuildSpec,
};
use crate::build::{self, BuildPlan};
use crate::builder::{Build, BuildContainer, BuildSecret};
use crate::controller::{ARGOCD_IGNORE_UPDATES_ANNOTATION, plans};
use crate::oci::{Digest, Platform};
use crate::packed::{self, PackError};

/// Annotation with what is built, as `status.build` has it.
pub(super) const BUILD_ANNOTATION: &str = "transship.dev/build";
/// Annotation with what of the spec an attempt is started for.
pub(super) const STARTED_FOR_ANNOTATION: &str = "transship.dev/started-for";
/// Annotation with all platforms of the build, between commas: each has a pod.
pub(super) const PLATFORMS_ANNOTATION: &str = "transship.dev/platforms";
/// The containers, in the order in which they run.
pub(super) const FETCH: &str = "fetch";
pub(super) const BUILD: &str = "build";
pub(super) const SCAN: &str = "scan";
pub(super) const PUBLISH: &str = "publish";
/// How much longer the kubelet lets a pod be than a build may take: what keeps it from starting only the controller
/// can tell, as long as it is there.
const GRACE: Duration = Duration::from_secs(5);
/// Most characters of a pod's name, so that it stays a DNS label.
const MAX_NAME_LENGTH: usize = 63;
/// Where the secrets of a build are mounted in the container that builds: each is a file with its id.
const SECRETS_DIRECTORY: &str = "/run/transship/secrets";
/// Where the credentials for base images are mounted there, as Docker keeps them.
const PULL_DIRECTORY: &str = "/run/transship/pull";
/// Where the certificate authorities of their registries are mounted there.
const PULL_CERTIFICATES_DIRECTORY: &str = "/run/transship/pull-certificates";

/// The objects of one attempt for one platform; both have the same name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attempt {
    pub(super) config_map: ConfigMap,
    pub(super) pod: Pod,
}

/// Everything that the objects are made from.
pub(super) struct AttemptInput<'a> {
    pub(super) object: &'a ImageBuild,
    pub(super) plan: &'a BuildPlan,
    pub(super) files: &'a MountedFiles,
    pub(super) number: i64,
    pub(super) attempt: i64,
    /// What is built here, one of `platforms`.
    pub(super) platform: &'a Platform,
    pub(super) platforms: &'a [Platform],
    /// What `status.build` says of it.
    pub(super) record: String,
    /// What it is started for, as `inputs::started_for` has it.
    pub(super) started_for: &'a str,
    pub(super) timeout: Duration,
    /// What the builder needs.
    pub(super) container: &'a BuildContainer,
    pub(super) builder_image: &'a str,
    /// What finds out what is in the image, if that is wanted.
    pub(super) scanner_image: Option<&'a str>,
    /// Our own image, for `fetch` and `publish`.
    pub(super) image: &'a str,
    pub(super) pull_policy: &'a str,
}

/// Why there are no objects.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    /// They cannot be written.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The API server has not stored the build.
    #[error("the object has no UID")]
    NotStored,
}

impl From<serde_json::Error> for AttemptError {
    fn from(error: serde_json::Error) -> Self {
        Self::Pack(error.into())
    }
}

impl Attempt {
    /// The name of both objects.
    pub(super) fn name(&self) -> String {
        self.pod.name_any()
    }

    pub(super) fn new(input: &AttemptInput<'_>) -> Result<Self, AttemptError> {
        let owner = input.object.controller_owner_ref(&());
        let owner = owner.ok_or(AttemptError::NotStored)?;
        let inline = match input.files {
            MountedFiles::Inline(files) => files.clone(),
            MountedFiles::None | MountedFiles::ConfigMap(_) => BTreeMap::new(),
        };
        let name = attempt_name(input, &inline)?;
        let metadata = metadata(input, &name, &owner);
        let config_map = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "immutable": true,
            "binaryData": {build::PLAN_FILE: ByteString(packed::pack(input.plan)?)},
            "data": inline,
        }))?;
        let pod = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": spec(input, &name)?,
        }))?;
        Ok(Self { config_map, pod })
    }
}

/// A name that a second decision in the same situation makes again, so that no attempt starts twice; another plan has
/// another, so that none runs with what was left of one that was not started.
fn attempt_name(
    input: &AttemptInput<'_>,
    inline: &BTreeMap<String, String>,
) -> Result<String, serde_json::Error> {
    let (object, number, attempt) = (input.object, input.number, input.attempt);
    let platform = input.platform.to_string();
    let identity = (object.uid(), number, attempt, platform, input.plan, inline);
    let digest = Digest::sha256(&serde_json::to_vec(&identity)?);
    let digits: String = digest
        .as_str()
        .chars()
        .skip("sha256:".len())
        .take(5)
        .collect();
    Ok(plans::name(
        &object.name_any(),
        &format!("{number}-{digits}"),
        MAX_NAME_LENGTH,
    ))
}

/// Tells the builder where its container finds what is mounted into it.
pub(super) fn mount_secrets(spec: &ImageBuildSpec, build: &mut Build) {
    let secrets = spec.secrets.iter().map(|secret| BuildSecret {
        id: secret.id.clone(),
        path: format!("{SECRETS_DIRECTORY}/{}", secret.id),
    });
    build.secrets = secrets.collect();
    let pull = spec.pull_secret_ref.as_ref();
    build.credentials_directory = pull.map(|_| PULL_DIRECTORY.to_owned());
    let authorities = spec.pull_cert_secret_ref.as_ref();
    build.authorities = authorities.map(|_| format!("{PULL_CERTIFICATES_DIRECTORY}/ca.crt"));
}

fn metadata(input: &AttemptInput<'_>, name: &str, owner: &OwnerReference) -> Value {
    json!({
        "name": name,
        "namespace": input.object.metadata.namespace,
        // Our own only, never the object's: a GitOps tool would take the child for one of its own.
        "labels": {
            "app.kubernetes.io/managed-by": "transship",
            BUILD_UID_LABEL: input.object.metadata.uid,
            BUILD_NUMBER_LABEL: input.number.to_string(),
            BUILD_ATTEMPT_LABEL: input.attempt.to_string(),
        },
        "annotations": {
            BUILD_ANNOTATION: input.record,
            STARTED_FOR_ANNOTATION: input.started_for,
            BUILD_PLATFORM_ANNOTATION: input.platform.to_string(),
            PLATFORMS_ANNOTATION: platforms_text(input.platforms),
            ARGOCD_IGNORE_UPDATES_ANNOTATION: "true",
        },
        "ownerReferences": [owner],
    })
}

fn spec(input: &AttemptInput<'_>, name: &str) -> Result<Value, AttemptError> {
    let (chosen, container) = (&input.object.spec.pod, input.container);
    let mut volumes = containers::Volumes::default();
    let mut first = vec![containers::fetch(input, name, &mut volumes)];
    first.push(containers::build(input, &mut volumes)?);
    first.extend(containers::scan(input, &mut volumes));
    let publish = containers::publish(input, name, &mut volumes);
    let mut all = volumes.volumes;
    for volume in &container.volumes {
        all.push(serde_json::to_value(volume)?);
    }
    Ok(json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "serviceAccountName": chosen.service_account_name,
        "priorityClassName": chosen.priority_class_name,
        "nodeSelector": chosen.node_selector,
        "tolerations": chosen.tolerations,
        "affinity": affinity(input.platform),
        "terminationGracePeriodSeconds": 10,
        "activeDeadlineSeconds": (input.timeout + GRACE).as_secs(),
        "hostUsers": container.host_users,
        "initContainers": first,
        "containers": [publish],
        "volumes": all,
    }))
}

/// How long the build of a pod may take.
pub(super) fn time_allowed(pod: &Pod) -> Option<Duration> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let deadline = Duration::from_secs(u64::try_from(seconds).ok()?);
    Some(deadline.saturating_sub(GRACE))
}

/// A node of the platform's kind is better: elsewhere its programs need an emulator, if the build runs any.
fn affinity(platform: &Platform) -> Value {
    let is = |label: &str, value: &str| json!({"key": label, "operator": "In", "values": [value]});
    json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "preference": {"matchExpressions": [
            is("kubernetes.io/os", platform.os()),
            is("kubernetes.io/arch", platform.architecture()),
        ]},
    }]}})
}

/// As [`PLATFORMS_ANNOTATION`] has it.
fn platforms_text(platforms: &[Platform]) -> String {
    let texts: Vec<_> = platforms.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// The Secrets that the container needs which builds, with the keys of each. A pod waits for one that does not exist.
pub(super) fn needed_secrets(object: &ImageBuild) -> BTreeMap<&str, BTreeSet<&str>> {
    let spec = &object.spec;
    let keyed = spec.secrets.iter().map(|secret| {
        let place = &secret.secret_ref;
        (place.name.as_str(), place.key.as_str())
    });
    let pull = spec.pull_secret_ref.iter();
    let pull = pull.map(|secret| (secret.name.as_str(), ".dockerconfigjson"));
    let certificates = spec.pull_cert_secret_ref.iter();
    let certificates = certificates.map(|secret| (secret.name.as_str(), "ca.crt"));
    let mut needed: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (name, key) in keyed.chain(pull).chain(certificates) {
        needed.entry(name).or_default().insert(key);
    }
    needed
}

#[cfg(test)]
mod tests;
