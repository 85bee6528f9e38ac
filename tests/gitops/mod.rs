//! What Argo CD, Flux and the API server make of what we ship for them: each is asked through its own code, in the
//! programs of `tests/tools`.

#![expect(
    clippy::indexing_slicing,
    reason = "what tests share fails like a test: by panicking"
)]

mod actions;
mod builds;
mod examples;
mod health;
mod mirrors;

use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use transship::api::{self, GROUP};

use crate::support::tools::ask;

/// What is pasted into `argocd-cm`.
const ARGOCD: &str = include_str!("../../charts/transship/argocd/argocd-cm.yaml");

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The documents of a file.
pub(super) fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .map(|document| {
            serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}: {document}"))
        })
        .collect()
}

/// One of the keys that `argocd-cm` has for the kind of an object.
fn argocd_setting(name: &str, object: &Value) -> String {
    let config_map: Value = serde_saphyr::from_str(ARGOCD).unwrap();
    let kind = object["kind"].as_str().unwrap();
    let key = format!("resource.customizations.{name}.{GROUP}_{kind}");
    config_map["data"][&key].as_str().unwrap().to_owned()
}

/// What a script of `argocd-cm` returns for an object.
async fn run_in_argocd(script: &str, object: &Value) -> Result<Value, String> {
    let question = json!({"script": script, "object": object});
    let answer = ask("argocd", &[], &question.to_string()).await?;
    Ok(serde_json::from_str(&answer).unwrap())
}

/// The definition of the kind of an object.
fn definition(object: &Value) -> CustomResourceDefinition {
    let definitions = api::definitions().unwrap();
    definitions
        .into_iter()
        .find(|definition| definition.spec.names.kind == object["kind"])
        .unwrap()
}

/// The object with its defaults, if the API server would admit it.
async fn admit(object: &Value) -> Result<Value, String> {
    let definition = definition(object);
    let question = json!({"definition": definition, "objects": [object]});
    let answer = ask("apiserver", &[], &question.to_string()).await?;
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    match answer["refusal"].as_str() {
        Some(refusal) => Err(refusal.to_owned()),
        None => Ok(answer["object"].take()),
    }
}

/// A mirror as it is stored, of generation 2.
fn mirror() -> Value {
    json!({
        "apiVersion": "transship.dev/v1alpha1",
        "kind": "ImageMirror",
        "metadata": {
            "name": "web", "namespace": "team", "uid": "1", "generation": 2, "labels": {},
            "annotations": {"argocd.argoproj.io/tracking-id": "app:transship.dev/ImageMirror:team/web"},
        },
        "spec": {
            "interval": "1h", "timeout": "1h", "suspend": false, "drift": "Correct",
            "indexPolicy": "Preserve", "format": "Preserve", "compression": {"algorithm": "Preserve"},
            "limits": {"parallelImages": 48, "shards": 1}, "pod": {},
            "prune": {"mode": "None", "grace": "336h", "maxPercent": 10}, "deletionPolicy": "Orphan",
            "referrers": {"mode": "All", "cosignTags": true}, "failurePolicy": "BestEffort",
            "sources": [{"image": "docker.io/library/nginx:1.29", "insecure": false}],
            "destinations": [{
                "prefix": "registry.corp.example/mirror", "path": "{registry}/{repository}", "tag": "{tag}",
                "existing": "Overwrite", "insecure": false,
            }],
        },
        "status": {"observedGeneration": -1},
    })
}

/// A build as it is stored, of generation 2.
fn build() -> Value {
    json!({
        "apiVersion": "transship.dev/v1alpha1",
        "kind": "ImageBuild",
        "metadata": {
            "name": "app", "namespace": "team", "uid": "2", "generation": 2, "labels": {},
            "annotations": {"argocd.argoproj.io/tracking-id": "app:transship.dev/ImageBuild:team/app"},
        },
        "spec": {
            "suspend": false, "timeout": "1h", "dockerfile": "Dockerfile", "baseImages": "AsWritten",
            "builder": {"type": "BuildKit", "isolation": "Auto"}, "retry": {"limit": 2}, "triggers": {}, "pod": {},
            "history": {"successful": 3, "failed": 3}, "attest": {"provenance": true, "sbom": false},
            "source": {"inline": {"dockerfile": "FROM scratch", "files": {}}},
            "output": {
                "repository": "registry.corp.example/team/app", "format": "Preserve", "insecure": false,
                "compression": {"algorithm": "Preserve"},
            },
        },
        "status": {"observedGeneration": -1},
    })
}
