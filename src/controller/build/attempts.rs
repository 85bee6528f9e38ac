//! The objects of attempts in the cluster: finds, starts, stops, reads and removes them.
//!
//! Only objects whose controller is this very build, by UID, are ever touched.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams};
use kube::{Client, ResourceExt as _};

use super::observation::Stage;
use super::pod::{Attempt, BUILD_UID_LABEL};
use crate::api::{FIELD_MANAGER, is_controlled_by};
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
            Err(error) if error.is_conflict() => request(self.pods.get(&name)).await?,
            result => result?,
        };
        // Until the pod has taken the plan over, the build controls it.
        let pod_uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let is_ours = is_controlled_by(&plan, uid) || is_controlled_by(&plan, pod_uid);
        if !is_ours || !is_controlled_by(&pod, uid) {
            return Err(name_taken(name));
        }
        Ok(plans::hand_over(&self.config_maps, &pod).await?)
    }

    /// Removes the pod of an attempt, which takes its plan along, and stops it if it goes on.
    pub(super) async fn remove(&self, name: &str, uid: &str) -> Result<(), RequestError> {
        if let Some(pod) = request(self.pods.get_opt(name)).await?
            && is_controlled_by(&pod, uid)
        {
            ignore_missing(request(self.pods.delete(name, &DeleteParams::default())).await)?;
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

fn ignore_missing<T>(result: Result<T, RequestError>) -> Result<(), RequestError> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.is_missing() => Ok(()),
        Err(error) => Err(error),
    }
}

const fn name_taken(name: String) -> StartError {
    StartError::NameTaken {
        name,
        owner: "build",
    }
}
