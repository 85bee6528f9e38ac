//! The `CustomResourceDefinition` objects, generated from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use super::{ImageBuild, ImageMirror};

/// Every definition as it is installed, in the order in which it is installed.
pub fn definitions() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    Ok(vec![
        finish(&ImageMirror::crd(), &IMAGE_MIRROR_LISTS)?,
        finish(&ImageBuild::crd(), &IMAGE_BUILD_LISTS)?,
    ])
}

/// How lists are merged.
struct Lists {
    /// By the value of a field of their entries: lists and fields.
    by_key: &'static [(&'static str, &'static str)],
    /// Not at all. Why they have no key is said at their fields.
    atomic: &'static [&'static str],
}

const IMAGE_MIRROR_LISTS: Lists = Lists {
    by_key: &[
        ("/status/properties/conditions", "type"),
        ("/status/properties/images", "source"),
        (
            "/status/properties/images/items/properties/destinations",
            "reference",
        ),
        ("/status/properties/prune/properties/tags", "reference"),
    ],
    atomic: &[
        "/spec/properties/sources",
        "/spec/properties/sources/items/properties/tags/properties/include",
        "/spec/properties/sources/items/properties/tags/properties/exclude",
        "/spec/properties/destinations",
        "/spec/properties/platforms",
        "/spec/properties/pod/properties/tolerations",
        "/spec/properties/referrers/properties/artifactTypes",
        "/spec/properties/verify",
        "/spec/properties/verify/items/properties/matchOIDCIdentity",
        "/status/properties/imageReports",
        "/status/properties/history",
    ],
};

const IMAGE_BUILD_LISTS: Lists = Lists {
    by_key: &[
        ("/spec/properties/buildArgs", "name"),
        ("/spec/properties/secrets", "id"),
        ("/status/properties/conditions", "type"),
    ],
    atomic: &[
        "/spec/properties/output/properties/tags",
        "/spec/properties/platforms",
        "/spec/properties/pod/properties/tolerations",
        "/status/properties/baseImages",
        "/status/properties/image/properties/platforms",
        "/status/properties/image/properties/tags",
        "/status/properties/history",
    ],
};

/// Adds what cannot be said with derive macros.
fn finish(
    derived: &CustomResourceDefinition,
    lists: &Lists,
) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut definition = serde_json::to_value(derived)?;
    if let Some(versions) = definition
        .pointer_mut("/spec/versions")
        .and_then(Value::as_array_mut)
    {
        for version in versions {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema/properties") {
                finish_properties(schema, lists);
            }
        }
    }
    serde_json::from_value(definition)
}

fn finish_properties(properties: &mut Value, lists: &Lists) {
    if let Some(status) = properties.pointer_mut("/status/properties") {
        remove_defaults(status);
    }
    // A new object without a status would look ready to kstatus; with this default it is in progress.
    if let Some(status) = properties
        .pointer_mut("/status")
        .and_then(Value::as_object_mut)
    {
        status.insert("default".to_owned(), json!({"observedGeneration": -1}));
    }
    for (list, key) in lists.by_key {
        if let Some(list) = properties.pointer_mut(list).and_then(Value::as_object_mut) {
            list.insert("x-kubernetes-list-type".to_owned(), json!("map"));
            list.insert("x-kubernetes-list-map-keys".to_owned(), json!([key]));
        }
    }
    for list in lists.atomic {
        if let Some(list) = properties.pointer_mut(list).and_then(Value::as_object_mut) {
            list.insert("x-kubernetes-list-type".to_owned(), json!("atomic"));
        }
    }
}

/// Takes the defaults out of everything below `schema`: they are there for reading old objects, and
/// the API server would write zeros into the status of an object that nobody has looked at yet.
fn remove_defaults(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.remove("default");
            members.values_mut().for_each(remove_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_defaults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
