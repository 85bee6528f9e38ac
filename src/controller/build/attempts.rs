//! The objects of attempts in the cluster: finds, starts, stops, reads and removes them.
//!
//! Only objects whose controller is this very build, by UID, are ever touched.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams, Preconditions};
use kube::{Client, ResourceExt as _};

use super::observation::Stage;
use super::pod::Attempt;
use crate::api::{BUILD_UID_LABEL, FIELD_MANAGER, is_controlled_by};
use crate::controller::plans::{self, StartError};
use crate::controller::request::{RequestError, request};

/// Most lines and bytes of the end of a log that are read.
const LOG_LINES: i64 = 400;
const LOG_BYTES: i64 = 256 * 1024;

/// Access to the objects of attempts in one namespace.
pub(super) struct Attempts {
    pods: Api<Pod>,
    config_maps: Api<ConfigMap>,
}

impl Attempts {
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            pods: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client.clone(), namespace),
        }
    }

    /// The pods of a build. Read from the API server: a decision made on an old view would start a second one.
    pub(super) async fn of_object(&self, uid: &str) -> Result<Vec<Pod>, RequestError> {
        let labelled = ListParams::default().labels(&format!("{BUILD_UID_LABEL}={uid}"));
        let mut pods = request(self.pods.list(&labelled)).await?.items;
        pods.retain(|pod| is_controlled_by(pod, uid));
        Ok(pods)
    }

    /// Starts an attempt. Starting the same one again changes nothing.
    pub(super) async fn start(&self, attempt: &Attempt, uid: &str) -> Result<(), StartError> {
        let name = attempt.name();
        let post = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let plan = match request(self.config_maps.create(&post, &attempt.config_map)).await {
            Err(error) if error.is_conflict() => request(self.config_maps.get(&name)).await?,
            result => result?,
        };
        let is_same =
            plan.immutable == Some(true) && plan.binary_data == attempt.config_map.binary_data;
        if !is_same {
            return Err(name_taken(name));
        }
        let pod = match request(self.pods.create(&post, &attempt.pod)).await {
            Err(error) if error.is_conflict() => {
                let pods = self.of_object(uid).await?;
                let pod = pods.into_iter().find(|pod| pod.name_any() == name);
                pod.ok_or_else(|| name_taken(name.clone()))?
            }
            result => result?,
        };
        // Until the pod has taken the plan over, the build controls it.
        let pod_uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let is_ours = is_controlled_by(&plan, uid) || is_controlled_by(&plan, pod_uid);
        if !is_ours {
            return Err(name_taken(name));
        }
        Ok(plans::hand_over(&self.config_maps, &pod).await?)
    }

    /// Finishes what was begun when the operator ended between starting pods and saying so: each owns its plan.
    pub(super) async fn adopt(&self, pods: &[&Pod], uid: &str) -> Result<(), RequestError> {
        for pod in pods {
            let plan = request(self.config_maps.get_opt(&pod.name_any())).await?;
            if plan.is_some_and(|plan| is_controlled_by(&plan, uid)) {
                plans::hand_over(&self.config_maps, *pod).await?;
            }
        }
        Ok(())
    }

    /// Removes pods, which take their plans along, and stops those that go on. Pods of others stay.
    pub(super) async fn remove_all(&self, pods: &[&Pod], uid: &str) -> Result<(), RequestError> {
        for pod in pods.iter().filter(|pod| is_controlled_by(**pod, uid)) {
            // Another pod of the same name is not the one that was meant.
            let parameters = DeleteParams::default().preconditions(Preconditions {
                uid: pod.uid(),
                resource_version: None,
            });
            let deleted = request(self.pods.delete(&pod.name_any(), &parameters)).await;
            match deleted {
                Err(error) if error.is_missing() || error.is_conflict() => {}
                result => drop(result?),
            }
        }
        Ok(())
    }

    /// The end of the log of a stage. One that cannot be read says nothing: its node may be gone.
    pub(super) async fn log(&self, pod: &Pod, stage: Stage) -> String {
        let parameters = LogParams {
            container: Some(stage.container().to_owned()),
            tail_lines: Some(LOG_LINES),
            limit_bytes: Some(LOG_BYTES),
            ..LogParams::default()
        };
        let name = pod.name_any();
        let log = request(self.pods.logs(&name, &parameters)).await;
        log.unwrap_or_else(|error| {
            tracing::warn!(pod = name, %error, "cannot read the log of a build");
            String::new()
        })
    }
}

const fn name_taken(name: String) -> StartError {
    StartError::NameTaken {
        name,
        owner: "build",
    }
}
