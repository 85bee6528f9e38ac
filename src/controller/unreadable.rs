//! How it is said that an object cannot be read, because it was stored under another definition. It knows nothing of
//! what the object is, nor of what is to become of it.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use kube::runtime::controller::Action;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::events::{Events, Notice, Severity};
use super::request::RequestError;
use super::stored::{Stored, Unreadable, write_status};
use crate::reason::Reason;

/// How long to wait before a status is written again that the API server has refused.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_hours(1);

/// Writes the status that names the field. Nothing but a change of the object can help then.
pub(super) async fn tell<K>(
    object: &Unreadable<K::Status>,
    status: &K::Status,
    api: &Api<Stored<K>>,
    events: &Events,
) -> Result<Action, RequestError>
where
    K: HasStatus<Status: DeserializeOwned + Serialize + PartialEq + Clone>,
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: DeserializeOwned + Clone + Debug,
{
    if object.status.as_ref() == Some(status) {
        return Ok(Action::await_change());
    }
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match write_status(api, name, status).await {
        Ok(()) => Ok(Action::await_change()),
        // With a value of another type it cannot evaluate its rules, and stores no status.
        Err(RequestError::Kubernetes(kube::Error::Api(_))) => {
            let problem = object.problem.clone();
            let notice = Notice::new(Severity::Warning, Reason::InvalidSpec, problem);
            events.publish(&reference::<K>(object), &notice).await;
            Ok(Action::requeue(PAUSE_AFTER_REFUSAL))
        }
        Err(error) => Err(error),
    }
}

/// What events about the object refer to.
pub(super) fn reference<K>(object: &Unreadable<K::Status>) -> ObjectReference
where
    K: HasStatus<Status: Clone>,
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Stored::<K>::Unreadable(Box::new(object.clone())).object_ref(&())
}
