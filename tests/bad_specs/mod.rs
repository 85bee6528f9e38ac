//! Specs that mean nothing: each is refused at admission, by the code of the API server, or by the checks of the
//! operator, and what is said names the field. None is accepted by both.
//!
//! The checks of the operator are asked through `transship sync`, which reads mirrors as the operator does, and
//! ends before it asks a registry when it refuses one.

#![expect(
    clippy::indexing_slicing,
    reason = "what tests share fails like a test: by panicking"
)]

mod generator;
mod table;

use serde_json::{Value, json};
use transship::api;

use crate::cli::transship;
use crate::support::tools::ask;

/// A spec that must be refused.
pub(super) struct BadSpec {
    /// What is wrong, for people who read a failure.
    what: String,
    /// What the message must name.
    field: String,
    spec: Value,
}

/// A spec with every field, of which each bad one is a variation.
fn good() -> Value {
    let access = json!({
        "secretRef": {"name": "login"}, "certSecretRef": {"name": "authority"}, "insecure": false,
    });
    let mut spec = json!({
        "interval": "1h", "timeout": "1h", "suspend": false, "drift": "Correct",
        "platforms": ["linux/amd64", "linux/arm64/v8"], "indexPolicy": "Rewrite", "format": "OCI",
        "compression": {"algorithm": "Gzip", "level": 6},
        "referrers": {"mode": "All", "artifactTypes": ["application/spdx+json"], "cosignTags": true},
        "failurePolicy": "BestEffort", "deletionPolicy": "Orphan",
        "prune": {"mode": "Plan", "grace": "336h", "maxPercent": 10},
        "limits": {"parallelImages": 48, "shards": 2, "bandwidth": "20Mi"},
        "pod": {
            "serviceAccountName": "mirror", "nodeSelector": {"zone": "a"}, "priorityClassName": "low",
            "tolerations": [{
                "key": "dedicated", "operator": "Equal", "value": "mirrors", "effect": "NoExecute",
                "tolerationSeconds": 300,
            }],
            "resources": {
                "requests": {"cpu": "100m", "memory": "64Mi", "ephemeralStorage": "1Gi"},
                "limits": {"cpu": "1", "memory": "128Mi", "ephemeralStorage": "2Gi"},
            },
        },
        "verify": [
            {
                "match": "one.test/**", "provider": "cosign", "secretRef": {"name": "keys"},
                "trustedRootSecretRef": {"name": "root"},
            },
            {
                "match": "**", "provider": "cosign", "trustedRootSecretRef": {"name": "root"},
                "matchOIDCIdentity": [{"issuer": "https://issuer\\.test", "subject": ".*@one\\.test"}],
            },
        ],
        "sources": [
            {
                "repository": "one.test/library/nginx",
                "tags": {
                    "include": ["1.29*"], "exclude": ["*-perl*"], "regex": "^1", "semver": ">=1.27",
                    "prerelease": false, "latest": {"count": 5, "by": "Semver"}, "limit": 1000,
                },
            },
            {"image": "two.test/library/alpine:3", "insecure": false},
        ],
        "destinations": [{
            "prefix": "three.test/mirror", "path": "{registry}/{repository}", "tag": "{tag}",
            "existing": "Overwrite",
        }],
    });
    for place in ["/sources/0", "/destinations/0"] {
        let place = spec.pointer_mut(place).unwrap().as_object_mut().unwrap();
        place.extend(access.as_object().unwrap().clone());
    }
    spec
}

fn object(spec: &Value) -> Value {
    json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
        "metadata": {"name": "bad", "namespace": "team"}, "spec": spec,
    })
}

/// What the API server says of each spec.
async fn admissions(specs: impl Iterator<Item = &Value>) -> Vec<Value> {
    let definition = api::definitions().unwrap().into_iter().next().unwrap();
    let objects: Vec<Value> = specs.map(object).collect();
    let question = json!({"definition": definition, "objects": objects});
    let answers = ask("apiserver", &[], &question.to_string()).await.unwrap();
    let answers = answers.lines().map(serde_json::from_str);
    answers.collect::<Result<_, _>>().unwrap()
}

/// What the checks of the operator say of an object that admission lets pass.
fn complaint(admitted: &Value) -> String {
    let checked = transship(&["sync", "--dry-run", "--file", "-"])
        .write_stdin(admitted.to_string())
        .output()
        .unwrap();
    String::from_utf8(checked.stderr).unwrap()
}

/// Those that are accepted, or refused without their field being named.
async fn wrongly_judged(specs: &[BadSpec]) -> Vec<String> {
    let admissions = admissions(specs.iter().map(|bad| &bad.spec)).await;
    assert_eq!(admissions.len(), specs.len());
    let judged = specs
        .iter()
        .zip(&admissions)
        .filter_map(|(bad, admission)| {
            let said = match admission["refusal"].as_str() {
                Some(refusal) => refusal.to_owned(),
                None => complaint(&admission["object"]),
            };
            (!said.contains(&bad.field)).then(|| {
                format!(
                    "{}: {} is not named in: {said}\n{}",
                    bad.what, bad.field, bad.spec
                )
            })
        });
    judged.collect()
}

#[tokio::test]
async fn what_all_bad_specs_are_variations_of_is_admitted() {
    let good = good();
    let admission = admissions([&good].into_iter()).await.swap_remove(0);
    assert_eq!(admission["object"]["spec"], good);
    // Nothing is wrong but that there is no such registry. The keys of signers are in a cluster.
    let mut object = admission["object"].clone();
    object["spec"].as_object_mut().unwrap().remove("verify");
    let complaint = complaint(&object);
    assert!(!complaint.contains("spec."), "{complaint}");
}

#[tokio::test]
async fn every_bad_spec_is_refused_with_its_field_named() {
    let mut specs = generator::variations(&good());
    specs.extend(table::specs(&good()));
    assert!(specs.len() >= 500, "{}", specs.len());
    let wrong = wrongly_judged(&specs).await;
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        specs.len(),
        wrong.join("\n\n")
    );
}
