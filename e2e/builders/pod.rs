//! A build in a pod: a container that brings the context, the builder, and one that publishes the image. The first
//! and the last stand for what the operator has in their place.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, Pod};
use kube::Api;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use transship::builder::failure::{Ended, Failure};
use transship::builder::{
    Build, BuildArgument, BuilderType, Isolation, OUTPUT_DIRECTORY, OUTPUT_VOLUME, Output,
};

use crate::harness::{Cluster, Namespace, eventually};

/// Builds at the same time: more would be too slow for those who wait for them.
static BUILDS: Semaphore = Semaphore::const_new(2);

const CONTEXT: &str = "/transship/context/source";
const AUTHORITIES: &str = "/transship/authorities";
const CREDENTIALS: &str = "/transship/credentials";
/// Where the file of the secret `build-secret` is.
pub(super) const SECRET: &str = "/transship/secrets/password";

/// A namespace with what builds in it need, and registries that have the base images.
pub(crate) struct Workshop {
    pub(super) cluster: Cluster,
    pub(super) namespace: Namespace,
}

/// How a build ended.
pub(crate) struct Finished {
    /// The builder's log.
    pub(crate) log: String,
    /// Why it failed, if it did.
    pub(crate) failure: Option<Failure>,
    /// How long the container of the builder was there; in whole seconds.
    pub(crate) duration: Duration,
}

impl Workshop {
    pub(crate) async fn open(purpose: &str) -> Self {
        let cluster = Cluster::shared().await;
        let namespace = cluster.namespace_with(purpose, "baseline");
        for name in ["bases/busybox:1", "bases/capabilities:1"] {
            cluster.secure.copy_from(&cluster.plain, name);
        }
        namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "build-secret", "namespace": namespace.name},
            "stringData": {"password": "correct-horse"},
        }));
        Self { cluster, namespace }
    }

    /// A build of the file `Dockerfile`, from a base image of the secure registry.
    pub(crate) fn build(&self, isolation: Isolation) -> Build {
        let base = format!("{}/bases/busybox:1", self.cluster.secure.host);
        let platform = platform().parse().unwrap();
        Build {
            arguments: vec![argument("BASE", &base)],
            authorities: Some(format!("{AUTHORITIES}/ca.crt")),
            credentials_directory: Some(CREDENTIALS.to_owned()),
            ..Build::new(CONTEXT, "Dockerfile", platform, isolation)
        }
    }

    /// The name in the plain registry of the image that the build `name` makes.
    pub(super) fn image(&self, name: &str) -> String {
        format!("{}/{name}:built", self.namespace.name)
    }

    /// Builds from a context of these files, and publishes the image to the plain registry.
    pub(crate) async fn run(
        &self,
        name: &str,
        builder: BuilderType,
        build: &Build,
        files: &[(&str, &str)],
    ) -> Finished {
        self.run_changed(name, builder, build, files, |_| {}).await
    }

    /// The same with another container than the builder asks for.
    pub(super) async fn run_changed(
        &self,
        name: &str,
        builder: BuilderType,
        build: &Build,
        files: &[(&str, &str)],
        change: impl FnOnce(&mut Value),
    ) -> Finished {
        let _slot = BUILDS.acquire().await.unwrap();
        let files: serde_json::Map<_, _> = files
            .iter()
            .map(|&(name, content)| (name.to_owned(), json!(content)))
            .collect();
        self.namespace.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace.name},
            "data": files,
        }));
        let mut pod = self.pod(name, builder, build);
        change(&mut pod["spec"]["initContainers"][1]);
        self.namespace.apply(&pod);
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &self.namespace.name);
        let pod = eventually("the build ends", || async {
            let pod = pods.get(name).await.map_err(|error| error.to_string())?;
            let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
            match phase.as_deref() {
                Some("Succeeded" | "Failed") => Ok(pod),
                _ => Err(format!("{name}: {:?}", pod.status)),
            }
        })
        .await;
        let log = self.namespace.kubectl(&["logs", name, "--container=build"]);
        let ended = ended(&pod);
        let duration = duration(&ended);
        let failure = failure(builder, &pod, &ended, &log);
        if failure.is_none() {
            let publish = self
                .namespace
                .kubectl(&["logs", name, "--container=publish"]);
            let status = pod.status.unwrap();
            assert_eq!(status.phase.as_deref(), Some("Succeeded"), "{publish}");
        }
        Finished {
            log,
            failure,
            duration,
        }
    }

    fn pod(&self, name: &str, builder: BuilderType, build: &Build) -> Value {
        let plain = &self.cluster.plain.host;
        let made = builder.builder().container(build).unwrap();
        let program = match builder {
            BuilderType::BuildKit => "buildkit",
            BuilderType::Buildah => "buildah",
            BuilderType::Kaniko => "kaniko",
            BuilderType::Img => "img",
        };
        let mut container = serde_json::to_value(&made.container).unwrap();
        container["name"] = json!("build");
        container["image"] = json!(format!("{plain}/builders/{program}:1"));
        // The tag stays when the images are made anew.
        container["imagePullPolicy"] = json!("Always");
        let mounts = container["volumeMounts"].as_array_mut().unwrap();
        mounts.extend([
            json!({"name": "context", "mountPath": "/transship/context", "readOnly": true}),
            json!({"name": "authorities", "mountPath": AUTHORITIES, "readOnly": true}),
            json!({"name": "credentials", "mountPath": CREDENTIALS, "readOnly": true}),
            json!({"name": "secrets", "mountPath": "/transship/secrets", "readOnly": true}),
        ]);
        let mut volumes = serde_json::to_value(&made.volumes).unwrap();
        volumes.as_array_mut().unwrap().extend([
            json!({"name": "source", "configMap": {"name": name}}),
            json!({"name": "context", "emptyDir": {}}),
            json!({"name": "authorities", "secret": {"secretName": "registry-ca"}}),
            json!({"name": "credentials", "secret": {
                "secretName": "registry-push", "items": [{"key": ".dockerconfigjson", "path": "config.json"}],
            }}),
            json!({"name": "secrets", "secret": {"secretName": "build-secret"}}),
        ]);
        let image = match made.output {
            Output::Layout(path) => format!("oci:{path}"),
            Output::Archive(path) => format!("oci-archive:{path}"),
        };
        let destination = format!("{plain}/{}", self.image(name));
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace.name},
            "spec": {
                "restartPolicy": "Never",
                "hostUsers": made.host_users,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "initContainers": [
                    {
                        "name": "fetch", "image": format!("{plain}/bases/busybox:1"),
                        "command": ["sh", "-c", "mkdir \"$1\" && cp -L /source/* \"$1\"", "fetch", CONTEXT],
                        "securityContext": restricted(65532),
                        "volumeMounts": [
                            {"name": "source", "mountPath": "/source"},
                            {"name": "context", "mountPath": "/transship/context"},
                        ],
                    },
                    container,
                ],
                "containers": [{
                    "name": "publish", "image": format!("{plain}/transship/transship:e2e"),
                    "args": ["copy", "--dest-insecure", image, destination],
                    "securityContext": restricted(made.publish_user.unwrap_or(65532)),
                    "volumeMounts": [{"name": OUTPUT_VOLUME, "mountPath": OUTPUT_DIRECTORY, "readOnly": true}],
                }],
                "volumes": volumes,
            },
        })
    }
}

fn restricted(user: i64) -> Value {
    json!({
        "runAsUser": user, "runAsGroup": user, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    })
}

pub(super) fn argument(name: &str, value: &str) -> BuildArgument {
    BuildArgument {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// That of this machine.
fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "linux/arm64",
        _ => "linux/amd64",
    }
}

/// How the container of the builder ended.
fn ended(pod: &Pod) -> ContainerStateTerminated {
    let status = pod.status.as_ref().unwrap();
    let containers = status.init_container_statuses.iter().flatten();
    let state = containers
        .filter(|container| container.name == "build")
        .find_map(|container| container.state.clone());
    let Some(ContainerState {
        terminated: Some(terminated),
        ..
    }) = state
    else {
        panic!("the builder has not run: {status:?}")
    };
    terminated
}

fn duration(ended: &ContainerStateTerminated) -> Duration {
    let [start, end] = [&ended.started_at, &ended.finished_at].map(|time| time.as_ref().unwrap().0);
    (end - start).try_into().unwrap()
}

/// What the status of the pod and the log tell, as the operator reads them.
fn failure(
    builder: BuilderType,
    pod: &Pod,
    ended: &ContainerStateTerminated,
    log: &str,
) -> Option<Failure> {
    let reason = pod.status.as_ref().unwrap().reason.as_deref();
    (ended.exit_code != 0).then(|| {
        builder.builder().failure(&Ended {
            exit_code: ended.exit_code,
            container_reason: ended.reason.as_deref().unwrap_or_default(),
            pod_reason: reason.unwrap_or_default(),
            log,
        })
    })
}
