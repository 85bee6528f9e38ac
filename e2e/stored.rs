//! Objects that were stored under another definition: none of them keeps another from being worked on, each says
//! what is wrong with it, and all can be mended or deleted.

use serde_json::{Value, json};

use crate::harness::{Cluster, Mirror, Namespace, eventually, run, run_with_input, try_run};

/// A definition that takes everything, for as long as this lives.
struct LaxDefinition {
    name: &'static str,
    versions: Value,
}

impl LaxDefinition {
    fn install(name: &'static str) -> Self {
        let definition = run(&["kubectl", "get", "crd", name, "--output", "json"]);
        let definition: Value = serde_json::from_str(&definition).unwrap();
        let lax = Self {
            name,
            versions: definition["spec"]["versions"].clone(),
        };
        let mut versions = lax.versions.clone();
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = &mut versions[0]["schema"]["openAPIV3Schema"];
        schema["properties"] = json!({"spec": anything, "status": anything});
        schema["required"] = json!([]);
        lax.replace(&versions).unwrap();
        lax
    }

    fn replace(&self, versions: &Value) -> Result<String, String> {
        let patch = json!({"spec": {"versions": versions}}).to_string();
        try_run(&[
            "kubectl",
            "patch",
            "crd",
            self.name,
            "--type=merge",
            "--patch",
            &patch,
        ])
    }
}

impl Drop for LaxDefinition {
    fn drop(&mut self) {
        let replaced = self.replace(&self.versions);
        assert!(replaced.is_ok() || std::thread::panicking(), "{replaced:?}");
    }
}

/// The kind, the name, the spec, and the field that is named.
type Stored = (&'static str, &'static str, Value, &'static str);

fn mirror(name: &'static str, change: fn(&mut Value), field: &'static str) -> Stored {
    let mut spec = json!({
        "sources": [{"image": "docker.io/library/alpine:3"}],
        "destinations": [{"prefix": "nowhere.registry.test/mirror"}],
    });
    change(&mut spec);
    ("ImageMirror", name, spec, field)
}

fn build(name: &'static str, change: fn(&mut Value), field: &'static str) -> Stored {
    let mut spec = json!({
        "source": {"configMapRef": {"name": "absent"}},
        "output": {"repository": "nowhere.registry.test/app"},
    });
    change(&mut spec);
    ("ImageBuild", name, spec, field)
}

fn remove(spec: &mut Value, field: &str) {
    spec.as_object_mut().unwrap().remove(field);
}

/// What has a value of another type: the API server cannot evaluate its rules, and stores no status.
fn mistyped() -> Vec<Stored> {
    vec![
        mirror(
            "number-for-text",
            |spec| spec["interval"] = json!(3600),
            "spec.interval",
        ),
        mirror(
            "text-for-list",
            |spec| spec["destinations"] = json!("one.test"),
            "spec.destinations",
        ),
        build(
            "build-number-for-text",
            |spec| spec["timeout"] = json!(3600),
            "spec.timeout",
        ),
        build(
            "build-text-for-object",
            |spec| spec["output"] = json!("one.test/app"),
            "spec.output",
        ),
    ]
}

/// What no version of ours would store.
fn unreadable() -> Vec<Stored> {
    vec![
        mirror("no-sources", |spec| remove(spec, "sources"), "sources"),
        mirror("null-list", |spec| spec["sources"] = json!(null), "sources"),
        mirror(
            "unknown-choice",
            |spec| spec["drift"] = json!("Ignore"),
            "spec.drift",
        ),
        mirror(
            "no-prefix",
            |spec| spec["destinations"] = json!([{}]),
            "spec.destinations[0]",
        ),
        build("build-no-source", |spec| remove(spec, "source"), "source"),
        build(
            "build-unknown-choice",
            |spec| spec["builder"] = json!({"type": "Docker"}),
            "spec.builder.type",
        ),
        // These can be read, but mean nothing.
        mirror(
            "no-entries",
            |spec| spec["sources"] = json!([]),
            "spec.sources",
        ),
        mirror(
            "no-kind",
            |spec| spec["sources"] = json!([{}]),
            "spec.sources[0]",
        ),
        mirror(
            "no-duration",
            |spec| spec["interval"] = json!("hourly"),
            "spec.interval",
        ),
        build(
            "build-no-kind",
            |spec| spec["source"] = json!({}),
            "spec.source",
        ),
        build(
            "build-no-duration",
            |spec| spec["timeout"] = json!("hourly"),
            "spec.timeout",
        ),
    ]
}

fn object(namespace: &Namespace, kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": kind,
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

/// The object as it is stored: none of ours can be made of it.
fn stored(namespace: &Namespace, kind: &str, name: &str) -> Value {
    let object = namespace.kubectl(&["get", kind, name, "--output", "json"]);
    serde_json::from_str(&object).unwrap()
}

async fn assert_stalls(namespace: &Namespace, kind: &str, name: &str, reason: &str, field: &str) {
    eventually(name, || async {
        let object = stored(namespace, kind, name);
        let conditions = object["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let is_told = |type_: &str, status: &str| {
            conditions.iter().any(|condition| {
                condition["type"] == type_
                    && condition["status"] == status
                    && condition["reason"] == reason
                    && condition["message"]
                        .as_str()
                        .is_some_and(|text| text.contains(field))
            })
        };
        if is_told("Ready", "False") && is_told("Stalled", "True") {
            Ok(())
        } else {
            Err(object.to_string())
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
    let lax =
        ["imagemirrors.transship.dev", "imagebuilds.transship.dev"].map(LaxDefinition::install);
    for (kind, name, spec, _) in unreadable().into_iter().chain(mistyped()) {
        store(&object(&namespace, kind, name, &spec)).await;
    }
    let odd = json!({"drift": "Ignore"});
    let mut finalized = object(&namespace, "ImageMirror", "finalized", &odd);
    finalized["metadata"]["finalizers"] = json!(["transship.dev/remove-images"]);
    store(&finalized).await;
    // A spec that can be read, with a status that cannot.
    let good = good_spec(&cluster, &namespace, "odd-status");
    store(&object(&namespace, "ImageMirror", "odd-status", &good)).await;
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
        let mirror = stored(&namespace, "ImageMirror", "odd-status");
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
    for (kind, name, _, field) in unreadable() {
        assert_stalls(&namespace, kind, name, "InvalidSpec", field).await;
    }
    for (_, name, _, field) in mistyped() {
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

    // Some are mended, the others are deleted.
    let replace = ["kubectl", "replace", "--filename", "-"];
    let spec = good_spec(&cluster, &namespace, "mended");
    let mended = object(&namespace, "ImageMirror", "null-list", &spec).to_string();
    run_with_input(&replace, &mended).unwrap();
    Mirror::existing(&cluster, &namespace, "null-list")
        .wait_ready()
        .await;
    let (kind, _, spec, _) = build("", |_| {}, "");
    let name = "build-number-for-text";
    let mended = object(&namespace, kind, name, &spec).to_string();
    run_with_input(&replace, &mended).unwrap();
    // Now it is looked at what it asks for.
    let missing = "ConfigMap absent does not exist";
    assert_stalls(&namespace, kind, name, "SourceNotFound", missing).await;
    namespace.kubectl(&["delete", "imir,ibld", "--all", "--timeout=60s"]);
    let left = namespace.kubectl(&["get", "imir,ibld", "--output", "name"]);
    assert_eq!(left, "");
}
