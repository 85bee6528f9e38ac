//! What admission refuses, and that it names the field.

use serde_json::{Value, json};

use crate::harness::{Cluster, run_with_input};

/// Applies a mirror with the given spec; returns what kubectl says of the refusal.
fn refusal(namespace: &str, spec: &Value) -> String {
    let object = json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
        "metadata": {"name": "bad", "namespace": namespace}, "spec": spec,
    });
    let applied = run_with_input(
        &["kubectl", "apply", "--filename", "-"],
        &object.to_string(),
    );
    applied.expect_err(&format!("admitted: {spec}"))
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "sources": [{"image": "docker.io/library/alpine:3"}],
        "destinations": [{"prefix": "registry.corp.example/mirror"}],
    });
    change(&mut spec);
    spec
}

#[tokio::test]
async fn bad_manifests_are_refused_with_the_field_named() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("admission");
    let too_many = json!(
        (0..17)
            .map(|index| json!({"prefix": format!("r{index}.example/m")}))
            .collect::<Vec<_>>()
    );
    let cases: [(&[&str], Value); 18] = [
        (
            &["unknown field \"spec.tags\""],
            changed(|spec| spec["tags"] = json!(["1"])),
        ),
        (
            &["spec.sources[0]", "exactly one of image and repository"],
            changed(|spec| spec["sources"][0]["repository"] = json!("docker.io/library/nginx")),
        ),
        (
            &["spec.sources[0].repository", "should match"],
            changed(|spec| spec["sources"] = json!([{"repository": "docker.io/library/nginx:1"}])),
        ),
        (
            &["spec.sources[0]", "tags selects from a repository"],
            changed(|spec| spec["sources"][0]["tags"] = json!({"include": ["3*"]})),
        ),
        (
            &["spec.sources[0].tags.limit", "greater than or equal to 1"],
            changed(|spec| {
                spec["sources"] = json!([{"repository": "nginx", "tags": {"limit": 0}}]);
            }),
        ),
        (
            &["spec.sources[0].tags.latest.by", "Unsupported value"],
            changed(|spec| {
                let tags = json!({"latest": {"count": 1, "by": "Size"}});
                spec["sources"] = json!([{"repository": "nginx", "tags": tags}]);
            }),
        ),
        (
            &["spec.sources[0].image", "should match"],
            changed(|spec| spec["sources"][0]["image"] = json!("docker.io/library/Alpine:3")),
        ),
        (
            &["spec.sources[0].image", "should match"],
            changed(|spec| spec["sources"][0]["image"] = json!("https://docker.io/library/alpine")),
        ),
        (
            &["spec.sources[0].image", "should match"],
            changed(|spec| spec["sources"][0]["image"] = json!("alpine@sha256:123")),
        ),
        (
            &["spec.sources[0]", "exactly one of image and repository"],
            changed(|spec| spec["sources"] = json!([{}])),
        ),
        (
            &["spec.sources", "should have at least 1 items"],
            changed(|spec| spec["sources"] = json!([])),
        ),
        (
            &["spec.sources", "sources must not name the same image twice"],
            changed(|spec| {
                spec["sources"] = json!([{"image": "a.example/b:1"}, {"image": "a.example/b:1"}]);
            }),
        ),
        (
            &["spec.interval", "interval must be between 10s and 8760h"],
            changed(|spec| spec["interval"] = json!("5s")),
        ),
        (
            &["spec.interval", "should match"],
            changed(|spec| spec["interval"] = json!("hourly")),
        ),
        (
            &["spec.destinations[0].prefix", "should match"],
            changed(|spec| {
                spec["destinations"][0]["prefix"] = json!("https://registry.corp.example");
            }),
        ),
        (
            &["spec.destinations[0].tag", "should match"],
            changed(|spec| spec["destinations"][0]["tag"] = json!("{version}")),
        ),
        (
            &["spec.destinations[0].secretRef.name", "should match"],
            changed(|spec| spec["destinations"][0]["secretRef"] = json!({"name": "Push_Secret"})),
        ),
        (
            &["spec.destinations: Too many: 17: must have at most 16 items"],
            changed(|spec| spec["destinations"] = too_many),
        ),
    ];
    for (expected, spec) in cases {
        let message = refusal(&namespace.name, &spec);
        for text in expected {
            assert!(message.contains(text), "{text:?} is not in: {message}");
        }
    }
    assert_eq!(namespace.kubectl(&["get", "imir", "--output", "name"]), "");
}

#[tokio::test]
async fn what_admission_cannot_say_stalls_with_the_field_named() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("invalid-spec");
    let spec = changed(|spec| {
        spec["sources"] = json!([{"image": "a.example/x/tool:1"}, {"image": "b.example/y/tool:1"}]);
        spec["destinations"][0]["path"] = json!("tool");
    });
    let mirror = crate::harness::Mirror::apply(&cluster, &namespace, "collision", &spec);
    let stalled = mirror.wait_failed("InvalidSpec", true).await;
    let message = crate::harness::conditions(&stalled)[0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message
            .starts_with("spec.destinations: a.example/x/tool:1 and b.example/y/tool:1 would both"),
        "{message}"
    );
    assert_eq!(namespace.jobs(), Vec::<String>::new());
}
