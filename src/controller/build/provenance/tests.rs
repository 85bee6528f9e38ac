//! What a provenance says, and what it does not.

use serde_json::{Value, json};

use super::*;
use crate::api::ImageBuild;

/// A build of a commit with everything that may be said.
fn object() -> Value {
    json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageBuild",
        "metadata": {"name": "app", "namespace": "team", "uid": "5d3f", "generation": 2},
        "spec": {
            "source": {"git": {
                "url": "https://git.test/another.git", "ref": {"branch": "another"}, "path": "services/app",
                "secretRef": {"name": "git-of-the-team"},
            }},
            "target": "runtime", "platforms": ["linux/amd64", "linux/arm64"],
            "buildArgs": [{"name": "VERSION", "value": "1.2"}],
            "secrets": [{"id": "npmrc", "secretRef": {"name": "npm-of-the-team", "key": "of-the-team"}}],
            "pullSecretRef": {"name": "pull-of-the-team"},
            "output": {
                "repository": "corp.test/team/app", "tags": ["main"],
                "secretRef": {"name": "push-of-the-team"}, "annotations": {"vendor": "Team A"},
            },
            "attest": {"keySecretRef": {"name": "signing-of-the-team", "key": "signing.pem"}},
        },
        "status": {
            "source": {
                "address": "https://git.test/app.git", "commit": "9fceb02d0ae598e95dc970b74767f19372d61af8",
                "ref": "refs/heads/main",
            },
            "builder": {"type": "BuildKit", "isolation": "UserNamespace", "image": "builders.test/buildkit:v0.26.0"},
            "build": {"number": 42, "attempt": 2, "pod": "app-42-2", "startTime": "2026-11-28T10:00:00Z"},
        },
    })
}

fn pod() -> Value {
    let ended = |name: &str, image: &str| {
        json!({
            "name": name, "image": "i", "imageID": image, "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "finishedAt": "2026-11-28T10:03:02Z"}},
        })
    };
    let digest = format!("sha256:{}", "b".repeat(64));
    json!({
        "metadata": {"name": "app-42-2", "creationTimestamp": "2026-11-28T10:01:00Z"},
        "status": {
            "initContainerStatuses": [ended("build", &format!("builders.test/buildkit@{digest}"))],
            "containerStatuses": [ended("publish", "ignored")],
        },
    })
}

fn statement(object: &Value, pod: &Value) -> Value {
    let object: ImageBuild = serde_json::from_value(object.clone()).unwrap();
    let base_images = [BaseImage {
        from: "alpine:3.22".to_owned(),
        digest: format!("sha256:{}", "a".repeat(64)),
    }];
    let provenance = of(&Built {
        uid: "5d3f",
        spec: &object.spec,
        wanted: &Wanted::new(&object.spec).unwrap(),
        status: object.status.as_ref().unwrap(),
        pods: &[&serde_json::from_value(pod.clone()).unwrap()],
        image: &format!("sha256:{}", "1".repeat(64)).parse().unwrap(),
        base_images: &base_images,
    });
    let statement = provenance.statement().unwrap();
    serde_json::from_slice(statement.document()).unwrap()
}

#[test]
fn a_build_of_a_commit_is_told_in_full() {
    let told = statement(&object(), &pod());
    insta::assert_snapshot!(serde_json::to_string_pretty(&told).unwrap());
}

#[test]
fn a_source_is_the_one_that_the_build_began_with() {
    let told = statement(&object(), &pod()).to_string();
    assert!(!told.contains("another"), "{told}");
}

#[test]
fn nothing_is_said_of_secrets_but_what_the_dockerfile_calls_them() {
    let told = statement(&object(), &pod()).to_string();
    assert!(
        told.contains("npmrc") && !told.contains("of-the-team"),
        "{told}"
    );
}

#[test]
fn the_same_build_makes_the_same_statement_and_another_attempt_another() {
    let first = statement(&object(), &pod());
    assert_eq!(first, statement(&object(), &pod()));
    let mut again = object();
    again["status"]["build"]["attempt"] = json!(3);
    assert_ne!(first, statement(&again, &pod()));
}

/// What was built, for each kind of source.
#[test]
fn each_source_has_its_digest() {
    let digest = format!("sha256:{}", "c".repeat(64));
    let sha256 = json!({"sha256": "c".repeat(64)});
    let cases = [
        (
            json!({"digest": digest}),
            json!({"name": "context", "digest": sha256}),
        ),
        (
            json!({"digest": digest, "address": "https://files.test/a.tgz"}),
            json!({"uri": "https://files.test/a.tgz", "digest": sha256}),
        ),
        (
            json!({"digest": digest, "address": "corp.test/team/context:main"}),
            json!({"uri": "pkg:oci/context?repository_url=corp.test/team/context&tag=main", "digest": sha256}),
        ),
        (
            json!({"commit": "d".repeat(40)}),
            json!({"digest": {"gitCommit": "d".repeat(40)}}),
        ),
    ];
    for (source, expected) in cases {
        let mut object = object();
        object["status"]["source"] = source;
        let told = statement(&object, &pod());
        let dependencies = &told["predicate"]["buildDefinition"]["resolvedDependencies"];
        assert_eq!(dependencies[0], expected);
    }
}

#[test]
fn a_builder_whose_digest_the_node_does_not_tell_is_the_pinned_one_or_none() {
    let mut pod = pod();
    pod["status"]["initContainerStatuses"][0]["imageID"] = json!("sha256:of-a-configuration");
    let dependencies = |image: &str| {
        let mut object = object();
        object["status"]["builder"]["image"] = json!(image);
        let told = statement(&object, &pod);
        told["predicate"]["runDetails"]["builder"]["builderDependencies"][0]["digest"].clone()
    };
    assert_eq!(dependencies("builders.test/buildkit:v1"), json!(null));
    let pinned = format!("builders.test/buildkit@sha256:{}", "e".repeat(64));
    assert_eq!(dependencies(&pinned), json!({"sha256": "e".repeat(64)}));
}
