//! An object as the API server has it stored.
//!
//! An object that was stored under another version of the definition may be none that this version can read, and
//! one such object must not keep the others of the same list from being seen. It knows nothing of what is done
//! about that.

use std::borrow::Cow;
use std::fmt::Debug;

use kube::Resource;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::request::{RequestError, request};
use crate::api::{FIELD_MANAGER, ImageBuild, ImageMirror, ImageMirrorStatus};

/// An object that could be read, or what is known of one that could not.
#[derive(Clone, Debug)]
pub(crate) enum Stored<K: HasStatus> {
    /// As this version understands it. A status that it does not understand is left out: it is made again.
    Readable(Box<K>),
    /// Its spec means nothing to this version.
    Unreadable(Box<Unreadable<K::Status>>),
}

/// A mirror that could be read, or what is known of one that could not.
pub(crate) type StoredMirror = Stored<ImageMirror>;
/// What is known of a mirror whose spec cannot be read.
pub(crate) type UnreadableMirror = Unreadable<ImageMirrorStatus>;
/// A build that could be read, or what is known of one that could not.
pub(crate) type StoredBuild = Stored<ImageBuild>;

/// What is known of an object whose spec cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable<S> {
    pub(crate) metadata: ObjectMeta,
    /// The status, if at least that can be read.
    pub(crate) status: Option<S>,
    /// The field that cannot be read, and why: `spec.drift: unknown variant …`.
    pub(crate) problem: String,
}

impl<K: HasStatus> Stored<K> {
    /// The object, if it could be read.
    pub(crate) fn readable(&self) -> Option<&K> {
        match self {
            Self::Readable(object) => Some(object),
            Self::Unreadable(_) => None,
        }
    }
}

impl<'de, K> Deserialize<'de> for Stored<K>
where
    K: HasStatus<Status: DeserializeOwned> + DeserializeOwned,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        if let Ok(object) = read(&object) {
            return Ok(Self::Readable(Box::new(object)));
        }
        let members = object.as_object_mut();
        let status = members.and_then(|members| members.remove("status"));
        let problem = match read(&object) {
            Ok(object) => return Ok(Self::Readable(Box::new(object))),
            Err(problem) => problem,
        };
        let metadata = object
            .get_mut("metadata")
            .map(Value::take)
            .unwrap_or_default();
        Ok(Self::Unreadable(Box::new(Unreadable {
            metadata: serde_json::from_value(metadata).map_err(D::Error::custom)?,
            status: status.and_then(|status| serde_json::from_value(status).ok()),
            problem,
        })))
    }
}

/// Reads an object; the error begins with the path of the field.
fn read<K: DeserializeOwned>(object: &Value) -> Result<K, String> {
    serde_path_to_error::deserialize(object).map_err(|error| error.to_string())
}

impl<K> Resource for Stored<K>
where
    K: HasStatus + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Readable(object) => object.meta(),
            Self::Unreadable(object) => &object.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Readable(object) => object.meta_mut(),
            Self::Unreadable(object) => &mut object.metadata,
        }
    }
}

/// Writes a status by server-side apply with one field manager for all: what it leaves out is gone.
pub(crate) async fn write_status<K>(
    api: &Api<Stored<K>>,
    name: &str,
    status: &K::Status,
) -> Result<(), RequestError>
where
    K: HasStatus<Status: DeserializeOwned + Serialize> + DeserializeOwned + Clone + Debug,
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name},
        "status": status,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    request(api.patch_status(name, &parameters, &Patch::Apply(&patch))).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use kube::core::ObjectList;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn object(change: impl FnOnce(&mut Value)) -> Value {
        let mut object = json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {"name": "web", "namespace": "team", "uid": "1", "generation": 2},
            "spec": {"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]},
            "status": {"observedGeneration": 1, "present": 7},
        });
        change(&mut object);
        object
    }

    fn stored(change: impl FnOnce(&mut Value)) -> StoredMirror {
        serde_json::from_value(object(change)).unwrap()
    }

    #[rstest]
    #[case::missing(|mirror: &mut Value| { mirror["spec"].as_object_mut().unwrap().remove("sources"); }, "spec: missing field `sources`")]
    #[case::no_spec(|mirror: &mut Value| { mirror.as_object_mut().unwrap().remove("spec"); }, "missing field `spec`")]
    #[case::unknown(|mirror: &mut Value| mirror["spec"]["drift"] = json!("Ignore"), "spec.drift: unknown variant `Ignore`")]
    #[case::null(|mirror: &mut Value| mirror["spec"]["sources"] = json!(null), "spec.sources: invalid type: null")]
    #[case::nested(|mirror: &mut Value| mirror["spec"]["destinations"][0]["prefix"] = json!(7), "spec.destinations[0].prefix: invalid type")]
    #[case::number(|mirror: &mut Value| mirror["spec"]["limits"] = json!({"shards": "many"}), "spec.limits.shards: invalid type")]
    fn a_spec_that_cannot_be_read_names_its_field(
        #[case] change: fn(&mut Value),
        #[case] problem: &str,
    ) {
        let StoredMirror::Unreadable(mirror) = stored(change) else {
            panic!("it was read");
        };
        assert!(mirror.problem.starts_with(problem), "{}", mirror.problem);
        assert_eq!(mirror.metadata.name.as_deref(), Some("web"));
        assert_eq!(mirror.status.unwrap().present, 7);
    }

    #[test]
    fn a_status_that_cannot_be_read_is_made_again() {
        let mirror = stored(|mirror| mirror["status"]["run"] = json!({"job": 7}));
        let mirror = mirror.readable().unwrap();
        assert_eq!(mirror.status, None);
        assert_eq!(mirror.spec.sources.len(), 1);
    }

    #[test]
    fn one_object_that_cannot_be_read_hides_no_other() {
        let list = json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirrorList", "metadata": {},
            "items": [
                object(|mirror| mirror["spec"] = json!("none")),
                object(|mirror| mirror["metadata"]["name"] = json!("good")),
            ],
        });
        let list: ObjectList<StoredMirror> = serde_json::from_value(list).unwrap();
        let names: Vec<_> = list.items.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["web", "good"]);
        assert!(list.items[0].readable().is_none());
        assert!(list.items[1].readable().is_some());
    }
}
