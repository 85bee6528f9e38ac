//! No field of a spec reaches the Job outside the closed list: random specs with a canary in every text, of which
//! the Job may hold those of Secrets and of `spec.pod`, each in its place only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::api::ImageMirror;
use crate::controller::mirror::decide::{Situation, decide};
use crate::controller::mirror::fence::Fences;
use crate::controller::mirror::job::{Run, RunInput};
use crate::controller::mirror::pod::WorkerPods;
use crate::controller::mirror::scan::{ImageScan, Scan};
use crate::controller::mirror::step::Trigger;
use crate::controller::mirror::wanted::Wanted;
use crate::oci::{Digest, MediaType};
use crate::registry::ManifestHead;

/// Where in the template of the pods canaries may be, and which.
const ALLOWED: [(&str, &str); 8] = [
    ("/volumes/*/secret/secretName", "canary-secret"),
    ("/containers/*/volumeMounts/*/mountPath", "canary-secret"),
    ("/serviceAccountName", "canary-pod"),
    ("/priorityClassName", "canary-pod"),
    ("/nodeSelector", "canary-pod"),
    ("/nodeSelector/canary-pod-key", "canary-pod"),
    ("/tolerations/*/key", "canary-pod"),
    ("/tolerations/*/value", "canary-pod"),
];

/// Choices of a random spec, one after the other.
struct Choices<'a>(std::slice::Iter<'a, bool>);

impl Choices<'_> {
    fn next(&mut self) -> bool {
        self.0.next().copied().unwrap_or(true)
    }

    /// Adds some of the fields.
    fn add(&mut self, to: &mut Value, fields: &Value) {
        for (name, value) in fields.as_object().unwrap() {
            if self.next() {
                to[name] = value.clone();
            }
        }
    }
}

/// What a place that images come from or go to may have.
fn access(place: usize) -> Value {
    json!({
        "secretRef": {"name": format!("canary-secret-login-{place}")},
        "certSecretRef": {"name": format!("canary-secret-authority-{place}")},
        "insecure": true,
    })
}

fn spec(sources: usize, destinations: usize, choices: &[bool]) -> Value {
    let mut choices = Choices(choices.iter());
    let mut spec = json!({"sources": [], "destinations": []});
    for index in 0..sources {
        let mut source = if choices.next() {
            json!({"image": format!("canary-{index}.test/canary/canary:canary-{index}")})
        } else {
            json!({"repository": format!("canary-{index}.test/canary/canary")})
        };
        choices.add(&mut source, &access(index));
        if source["repository"].is_string() {
            source["tags"] = json!({});
            choices.add(&mut source["tags"], &json!({
                "include": ["*", "canary*"], "exclude": ["*.canary"], "regex": "^|canary", "prerelease": true,
                "limit": 7,
            }));
        }
        spec["sources"].as_array_mut().unwrap().push(source);
    }
    for index in 0..destinations {
        let mut destination = json!({"prefix": format!("canary-to-{index}.test/canary")});
        choices.add(&mut destination, &access(10 + index));
        choices.add(
            &mut destination,
            &json!({
                "path": "canary/{registry}/{repository}", "tag": "canary-{tag}", "existing": "Keep",
            }),
        );
        spec["destinations"]
            .as_array_mut()
            .unwrap()
            .push(destination);
    }
    choices.add(&mut spec, &json!({
        "format": "OCI", "drift": "Report", "failurePolicy": "BestEffort", "deletionPolicy": "Delete",
        "compression": {"algorithm": "Zstd", "level": 7},
        "prune": {"mode": "Delete", "grace": "1h", "maxPercent": 7},
        "limits": {"parallelImages": 7, "shards": 3, "bandwidth": "7Mi"},
        "referrers": {"mode": "All", "artifactTypes": ["application/canary"], "cosignTags": true},
        "verify": [
            {
                "match": "canary**", "secretRef": {"name": "canary-secret-keys"},
                "trustedRootSecretRef": {"name": "canary-secret-root"},
            },
            {
                "match": "**canary", "trustedRootSecretRef": {"name": "canary-secret-root"},
                "matchOIDCIdentity": [{"issuer": "canary", "subject": "canary"}],
            },
        ],
    }));
    if choices.next() {
        spec["platforms"] = json!(["linux/canary", "linux/amd64"]);
        spec["indexPolicy"] = json!("Rewrite");
    }
    spec["pod"] = json!({});
    choices.add(&mut spec["pod"], &json!({
        "serviceAccountName": "canary-pod-account", "priorityClassName": "canary-pod-class",
        "nodeSelector": {"canary-pod-key": "canary-pod-value"},
        "tolerations": [{
            "key": "canary-pod-taint", "operator": "Equal", "value": "canary-pod-value", "effect": "NoExecute",
            "tolerationSeconds": 7,
        }],
        "resources": {"requests": {"cpu": "777m"}, "limits": {"memory": "777Mi", "ephemeralStorage": "7Gi"}},
    }));
    spec
}

/// The Job of a mirror of which nothing is in place yet, and the names of the Secrets that its plan names.
fn job(spec: &Value) -> (Value, BTreeSet<String>) {
    let mirror: ImageMirror = serde_json::from_value(json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
        "metadata": {
            "name": "web", "namespace": "team", "uid": "1", "generation": 2,
            "labels": {"canary": "canary"}, "annotations": {"canary": "canary"}, "finalizers": ["canary/canary"],
        },
        "spec": spec,
    }))
    .unwrap();
    let wanted = Wanted::new(&mirror.spec).unwrap();
    let tags = wanted
        .repositories()
        .map(|_| Ok(vec!["canary".parse().unwrap()]));
    let images = wanted.expand(tags.collect::<Vec<_>>()).unwrap().images;
    let head = ManifestHead {
        digest: Digest::sha256(b"an image"),
        media_type: MediaType::new(MediaType::OCI_INDEX),
        size: None,
    };
    let scan = Scan {
        unlisted: Vec::new(),
        images: images
            .into_iter()
            .map(|wanted| ImageScan {
                destinations: wanted.destinations.iter().map(|_| Ok(None)).collect(),
                source: Ok(head.clone()),
                wanted,
            })
            .collect(),
    };
    let decision = decide(&Situation {
        trigger: Trigger::SpecChanged,
        scan: &scan,
        ended_run: None,
        previous: &[],
        drift: mirror.spec.drift,
        form: &wanted.form,
        shards: wanted.shards,
        owners: &BTreeMap::new(),
        fences: &Fences::default(),
    });
    let plan = decision.plan.unwrap();
    let run = Run::new(&RunInput {
        mirror: &mirror,
        plan: &plan,
        timeout: Duration::from_hours(1),
        worker: &WorkerPods {
            image: "registry.test/transship:1".to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
            restart_rules: true,
        },
        now: Timestamp::UNIX_EPOCH,
    })
    .unwrap()
    .unwrap();
    let text = spec.to_string();
    let words = text
        .split('"')
        .filter(|word| word.starts_with("canary-secret"));
    (
        serde_json::to_value(run.job).unwrap(),
        words.map(str::to_owned).collect(),
    )
}

/// Every text with a canary, keys included, and where it is; the place of an entry of a list is `*`.
fn canaries(value: &Value, place: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name.contains("canary") {
                    found.push((place.to_owned(), name.clone()));
                }
                canaries(member, &format!("{place}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for item in items {
                canaries(item, &format!("{place}/*"), found);
            }
        }
        Value::String(text) if text.contains("canary") => {
            found.push((place.to_owned(), text.clone()));
        }
        _ => {}
    }
}

/// The template of the pods without what may differ between mirrors.
fn hardened(job: &Value) -> Value {
    let mut template = job["spec"]["template"].clone();
    let of_secret = |entry: &Value| {
        let name = entry["name"].as_str().unwrap();
        name == "temporary"
            || ["credentials-", "certificates-", "verification-"]
                .iter()
                .any(|kind| name.starts_with(kind))
    };
    let spec = template["spec"].as_object_mut().unwrap();
    for chosen in [
        "serviceAccountName",
        "priorityClassName",
        "nodeSelector",
        "tolerations",
        "topologySpreadConstraints",
    ] {
        spec.remove(chosen);
    }
    spec["volumes"]
        .as_array_mut()
        .unwrap()
        .retain(|volume| !of_secret(volume));
    let container = spec["containers"][0].as_object_mut().unwrap();
    container.remove("resources");
    container["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !of_secret(mount));
    // Named after the plan.
    spec["volumes"][0]["configMap"] = Value::Object(Map::new());
    template
}

proptest! {
    #[test]
    fn nothing_reaches_the_job_but_by_the_closed_list(
        sources in 1_usize..4,
        destinations in 1_usize..3,
        choices in proptest::collection::vec(any::<bool>(), 64),
    ) {
        let (job, secrets) = job(&spec(sources, destinations, &choices));
        let mut found = Vec::new();
        canaries(&job, "", &mut found);
        for (place, text) in &found {
            let allowed = ALLOWED.iter().any(|(allowed, kind)| {
                *place == format!("/spec/template/spec{allowed}") && text.contains(kind)
            });
            prop_assert!(allowed, "{text} at {place}");
        }
        // Secrets are mounted by the name that the spec gives, and no others.
        let mounted: BTreeSet<String> = found
            .iter()
            .filter(|(place, _)| place.ends_with("/secretName"))
            .map(|(_, name)| name.clone())
            .collect();
        prop_assert_eq!(mounted, secrets);
        let (plain, _) = self::job(&json!({"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]}));
        prop_assert_eq!(hardened(&job), hardened(&plain));
    }
}
