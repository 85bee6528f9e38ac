//! The same policies for builds.

use serde_json::{Value, json};

use super::{apply_object, assert_refused};
use crate::harness::{Namespace, eventually};

/// A build of an administrator, from before there was a policy.
const BEFORE: &str = "before";

fn apply_build(namespace: &Namespace, user: &[&str], spec: &Value) -> Result<String, String> {
    apply_object(namespace, user, "ImageBuild", "app", spec)
}

/// A build that rests, to this repository.
fn spec(repository: &str) -> Value {
    json!({
        "suspend": true,
        "source": {"inline": {"dockerfile": "FROM scratch"}},
        "output": {"repository": repository},
    })
}

/// The spec with these fields instead of its own.
fn with(mut spec: Value, changes: &Value) -> Value {
    for (field, value) in changes.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

fn context(reference: &str) -> Value {
    json!({"source": {"image": {"reference": reference}}})
}

pub(super) fn apply_one_that_is_not_allowed_yet(namespace: &Namespace) {
    let spec = spec("old.example/app");
    apply_object(namespace, &[], "ImageBuild", BEFORE, &spec).unwrap();
}

/// What mirrors may not name, builds may not name either: the registries that the guide shows.
pub(super) async fn what_is_not_allowed_is_refused(namespace: &Namespace) {
    let own = format!("registry.corp.example/{}/app", namespace.name);
    eventually("the policy of builds", || async {
        match apply_build(namespace, &[], &spec("evil.example/app")) {
            Err(message) if message.contains("spec.output.repository: evil.example/app is not") => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let only_sources = "allowed are: docker.io/library, quay.io/prometheus";
    for (change, refusal) in [
        (
            context("ghcr.io/org/context:1"),
            "spec.source.image.reference: ghcr.io/org/context is",
        ),
        (
            context(
                "org/context@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            "spec.source.image.reference: docker.io/org/context is",
        ),
        (
            json!({"builder": {"image": "docker.io/moby/buildkit:rootless"}}),
            "spec.builder.image: docker.io/moby/buildkit is",
        ),
    ] {
        let refused = apply_build(namespace, &[], &with(spec(&own), &change));
        assert_refused(refused, &[refusal, only_sources]);
    }
    for (repository, cache) in [
        ("registry.corp.example/other/app", None),
        (
            &format!("registry.corp.example/{}-2/app", namespace.name),
            None,
        ),
        (&own, Some("registry.corp.example/other/cache")),
        (&own, Some("docker.io/library/cache")),
    ] {
        let mut spec = spec(repository);
        if let Some(cache) = cache {
            spec["cache"] = json!({"repository": cache});
        }
        let (field, name) = cache.map_or(("output", repository), |cache| ("cache", cache));
        let refusal = format!("spec.{field}.repository: {name} is not allowed");
        let allowed = format!("allowed are: registry.corp.example/{}", namespace.name);
        assert_refused(apply_build(namespace, &[], &spec), &[&refusal, &allowed]);
    }
    for change in [
        json!({}),
        json!({"cache": {"repository": format!("REGISTRY.corp.example/{}/cache", namespace.name)}}),
        json!({"builder": {"image": "quay.io/prometheus/busybox:latest"}}),
        context("alpine"),
        context("docker.io/alpine:3"),
        context(
            "quay.io/prometheus/prometheus:v3@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        // Neither is an image.
        json!({"source": {"git": {"url": "https://git.evil.example/app", "ref": {"branch": "main"}}}}),
        json!({"source": {"http": {
            "url": "https://evil.example/context.tar.gz",
            "checksum": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        }}}),
    ] {
        apply_build(namespace, &[], &with(spec(&own), &change)).unwrap();
    }

    // What was there before can be changed, but not to something else that is not allowed.
    let change = |changes| {
        let spec = with(spec("old.example/app"), &changes);
        apply_object(namespace, &[], "ImageBuild", BEFORE, &spec)
    };
    change(json!({"timeout": "2h"})).unwrap();
    assert_refused(
        change(json!({"output": {"repository": "old.example/other"}})),
        &["spec.output.repository: old.example/other is not allowed"],
    );
}

/// Specs of builds that name the Secret `name`, each in another field.
fn builds_naming(name: &str) -> Vec<Value> {
    let reference = json!({"name": name});
    let keyed = json!({"name": name, "key": "key"});
    let changes = [
        json!({"source": {"git": {"url": "https://git.test/app", "ref": {"branch": "main"}, "secretRef": reference}}}),
        json!({"source": {"image": {"reference": "nowhere.registry.test/app:1", "secretRef": reference}}}),
        json!({"source": {"image": {"reference": "nowhere.registry.test/app:1", "certSecretRef": reference}}}),
        json!({"pullSecretRef": reference}),
        json!({"pullCertSecretRef": reference}),
        json!({"secrets": [{"id": "one", "secretRef": keyed}]}),
        json!({"attest": {"keySecretRef": keyed}}),
        json!({"output": {"repository": "nowhere.registry.test/app", "secretRef": reference}}),
        json!({"output": {"repository": "nowhere.registry.test/app", "certSecretRef": reference}}),
    ];
    let specs = changes
        .iter()
        .map(|change| with(spec("nowhere.registry.test/app"), change));
    specs.collect()
}

/// The same holds for builds, whose Dockerfiles can read some of their Secrets.
pub(super) async fn nobody_uses_a_secret_they_may_not_get(namespace: &Namespace, user: &[&str]) {
    let forbidden =
        "you may not let a build use Secret forbidden, because you are not allowed to get it";
    eventually("the policy of builds", || async {
        match apply_build(namespace, user, &builds_naming("forbidden")[0]) {
            Err(error) if error.contains(forbidden) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    for spec in builds_naming("forbidden") {
        assert_refused(apply_build(namespace, user, &spec), &[forbidden]);
    }
    for spec in builds_naming("allowed") {
        apply_build(namespace, user, &spec).unwrap();
    }
    namespace.kubectl(&["delete", "ibld", "app"]);
    // What an administrator has made may be suspended, but not made to do something else with the Secret.
    let mut spec = builds_naming("forbidden")[5].clone();
    apply_build(namespace, &["--namespace", &namespace.name], &spec).unwrap();
    spec["timeout"] = json!("2h");
    apply_build(namespace, user, &spec).unwrap();
    spec["source"]["inline"]["dockerfile"] = json!("FROM scratch\nRUN cat /run/secrets/one\n");
    assert_refused(apply_build(namespace, user, &spec), &[forbidden]);
}
