//! Objects that were stored under another definition: none of them keeps another from being worked on, each says
//! what is wrong with it, and all can be mended or deleted.

use serde_json::{Value, json};

use crate::harness::{Cluster, Mirror, Namespace, eventually, run, run_with_input, try_run};

const DEFINITION: &str = "imagemirrors.transship.dev";

/// A definition that takes everything, for as long as this lives.
struct LaxDefinition {
    versions: Value,
}

impl LaxDefinition {
    fn install() -> Self {
        let definition = run(&["kubectl", "get", "crd", DEFINITION, "--output", "json"]);
        let definition: Value = serde_json::from_str(&definition).unwrap();
        let lax = Self {
            versions: definition["spec"]["versions"].clone(),
        };
        let mut versions = lax.versions.clone();
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = &mut versions[0]["schema"]["openAPIV3Schema"];
        schema["properties"] = json!({"spec": anything, "status": anything});
        schema["required"] = json!([]);
        Self::replace(&versions).unwrap();
        lax
    }

    fn replace(versions: &Value) -> Result<String, String> {
        let patch = json!({"spec": {"versions": versions}}).to_string();
        try_run(&[
            "kubectl",
            "patch",
            "crd",
            DEFINITION,
            "--type=merge",
            "--patch",
            &patch,
        ])
    }
}

impl Drop for LaxDefinition {
    fn drop(&mut self) {
        let replaced = Self::replace(&self.versions);
        assert!(replaced.is_ok() || std::thread::panicking(), "{replaced:?}");
    }
}

/// The name, the spec, and the field that is named.
type Stored = (&'static str, Value, &'static str);

fn spec(change: fn(&mut Value)) -> Value {
    let mut spec = json!({
        "sources": [{"image": "docker.io/library/alpine:3"}],
        "destinations": [{"prefix": "nowhere.registry.test/mirror"}],
    });
    change(&mut spec);
    spec
}

/// What has a value of another type: the API server cannot evaluate its rules, and stores no status.
fn mistyped() -> Vec<Stored> {
    vec![
        (
            "number-for-text",
            spec(|spec| spec["interval"] = json!(3600)),
            "spec.interval",
        ),
        (
            "text-for-list",
            spec(|spec| spec["destinations"] = json!("one.test")),
            "spec.destinations",
        ),
    ]
}

/// What no version of ours would store.
fn unreadable() -> Vec<Stored> {
    vec![
        (
            "no-sources",
            spec(|spec| {
                spec.as_object_mut().unwrap().remove("sources");
            }),
            "sources",
        ),
        (
            "null-list",
            spec(|spec| spec["sources"] = json!(null)),
            "sources",
        ),
        (
            "unknown-choice",
            spec(|spec| spec["drift"] = json!("Ignore")),
            "spec.drift",
        ),
        (
            "no-prefix",
            spec(|spec| spec["destinations"] = json!([{}])),
            "spec.destinations[0]",
        ),
        // These can be read, but mean nothing.
        (
            "no-entries",
            spec(|spec| spec["sources"] = json!([])),
            "spec.sources",
        ),
        (
            "no-kind",
            spec(|spec| spec["sources"] = json!([{}])),
            "spec.sources[0]",
        ),
        (
            "no-duration",
            spec(|spec| spec["interval"] = json!("hourly")),
            "spec.interval",
        ),
    ]
}

fn object(namespace: &Namespace, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
        "metadata": {"name": name, "namespace": namespace.name}, "spec": spec,
    })
}

async fn store(object: &Value) {
    // The API server takes a moment to notice that its definition has changed.
    eventually("an object that only the lax definition takes", || async {
        let command = ["kubectl", "create", "--validate=false", "--filename", "-"];
        match run_with_input(&command, &object.to_string()) {
            Err(error) if !error.contains("AlreadyExists") => Err(error),
            _ => Ok(()),
        }
    })
    .await;
}

/// The mirror as it is stored: none of ours can be made of it.
fn stored(namespace: &Namespace, name: &str) -> Value {
    let mirror = namespace.kubectl(&["get", "imir", name, "--output", "json"]);
    serde_json::from_str(&mirror).unwrap()
}

async fn assert_stalls(namespace: &Namespace, name: &str, field: &str) {
    eventually(name, || async {
        let mirror = stored(namespace, name);
        let conditions = mirror["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let is_told = |type_: &str, status: &str| {
            conditions.iter().any(|condition| {
                condition["type"] == type_
                    && condition["status"] == status
                    && condition["reason"] == "InvalidSpec"
                    && condition["message"]
                        .as_str()
                        .is_some_and(|text| text.contains(field))
            })
        };
        if is_told("Ready", "False") && is_told("Stalled", "True") {
            Ok(())
        } else {
            Err(mirror.to_string())
        }
    })
    .await;
}

fn good_spec(cluster: &Cluster, namespace: &Namespace, path: &str) -> Value {
    json!({
        "sources": [{"image": format!("{}/library/busybox:1", cluster.plain.host), "insecure": true}],
        "destinations": [{
            "prefix": format!("{}/{}", cluster.plain.host, namespace.name), "path": path, "insecure": true,
        }],
    })
}

#[tokio::test]
async fn objects_of_another_definition_stop_nobody() {
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("stored");
    // They are there when the operator comes.
    Cluster::scale(0);
    let lax = LaxDefinition::install();
    for (name, spec, _) in unreadable().into_iter().chain(mistyped()) {
        store(&object(&namespace, name, &spec)).await;
    }
    let mut finalized = object(&namespace, "finalized", &json!({"drift": "Ignore"}));
    finalized["metadata"]["finalizers"] = json!(["transship.dev/remove-images"]);
    store(&finalized).await;
    // A spec that can be read, with a status that cannot.
    let good = good_spec(&cluster, &namespace, "odd-status");
    store(&object(&namespace, "odd-status", &good)).await;
    let status =
        json!({"status": {"observedGeneration": 1, "run": {"result": "Exploded"}, "images": null}});
    let patch = status.to_string();
    namespace.kubectl(&[
        "patch",
        "imir",
        "odd-status",
        "--subresource=status",
        "--type=merge",
        "--patch",
        &patch,
    ]);
    drop(lax);

    Cluster::scale(2);
    let spec = good_spec(&cluster, &namespace, "good");
    Mirror::apply(&cluster, &namespace, "good", &spec)
        .wait_ready()
        .await;
    // Until the operator has written its own, no reader of ours understands the status.
    eventually("a status of ours instead of the odd one", || async {
        let mirror = stored(&namespace, "odd-status");
        if mirror["status"]["run"]["result"] == "Exploded" {
            Err(mirror.to_string())
        } else {
            Ok(())
        }
    })
    .await;
    Mirror::existing(&cluster, &namespace, "odd-status")
        .wait_ready()
        .await;
    for (name, _, field) in unreadable() {
        assert_stalls(&namespace, name, field).await;
    }
    for (name, _, field) in mistyped() {
        eventually(name, || async {
            let selector = format!("involvedObject.name={name},reason=InvalidSpec");
            let message = "jsonpath={.items[*].message}";
            let told = [
                "get",
                "events",
                "--field-selector",
                &selector,
                "--output",
                message,
            ];
            let told = namespace.kubectl(&told);
            if told.starts_with(field) {
                Ok(())
            } else {
                Err(told)
            }
        })
        .await;
    }

    // One is mended, the others are deleted.
    let spec = good_spec(&cluster, &namespace, "mended");
    let mended = object(&namespace, "null-list", &spec).to_string();
    run_with_input(&["kubectl", "replace", "--filename", "-"], &mended).unwrap();
    Mirror::existing(&cluster, &namespace, "null-list")
        .wait_ready()
        .await;
    namespace.kubectl(&["delete", "imir", "--all", "--timeout=60s"]);
    assert_eq!(namespace.kubectl(&["get", "imir", "--output", "name"]), "");
}
