//! Plans of what runs in pods, as objects: a `ConfigMap` beside the object that carries it out, which takes the plan
//! over when it is there, so that both are collected together.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt as _};
use serde_json::json;

use super::request::{RequestError, request};
use crate::api::FIELD_MANAGER;

/// Why what carries a plan out could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// An object with the name exists and belongs to somebody else.
    #[error("an object named {name} exists that does not belong to this {owner}; remove it")]
    NameTaken {
        /// The name.
        name: String,
        /// Whom it should belong to: `mirror` or `build`.
        owner: &'static str,
    },
    /// The API server failed or refused.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// A name of at most `limit` characters that begins with that of an object and ends with `suffix`, without dots, so that
/// it may be a label of DNS.
pub(super) fn name(object: &str, suffix: &str, limit: usize) -> String {
    let room = limit.saturating_sub(suffix.len() + 1);
    let prefix: String = object.replace('.', "-").chars().take(room).collect();
    format!("{}-{suffix}", prefix.trim_end_matches('-'))
}

/// Makes the object of the same name the owner of the plan.
pub(super) async fn hand_over<K>(plans: &Api<ConfigMap>, carrier: &K) -> Result<(), RequestError>
where
    K: Resource<DynamicType = ()>,
{
    let Some(owner) = carrier.controller_owner_ref(&()) else {
        return Ok(());
    };
    let patch = json!({"metadata": {"ownerReferences": [owner]}});
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&patch);
    request(plans.patch(&carrier.name_any(), &parameters, &patch)).await?;
    Ok(())
}
