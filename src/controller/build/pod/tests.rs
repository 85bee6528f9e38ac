//! What the containers of a build get, and what they do not.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::builder::{BuildArgument, BuilderType, Isolation};

fn object() -> ImageBuild {
    serde_json::from_value(json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageBuild",
        "metadata": {
            "name": "app", "namespace": "team", "uid": "1", "generation": 2,
            "labels": {"app.kubernetes.io/instance": "of-the-object"},
            "annotations": {"argocd.argoproj.io/tracking-id": "of-the-object"},
        },
        "spec": {
            "source": {"git": {"url": "https://git.test/app.git", "ref": {"branch": "main"}, "secretRef": {"name": "git"}}},
            "secrets": [{"id": "npmrc", "secretRef": {"name": "npm", "key": ".npmrc"}}],
            "pullSecretRef": {"name": "pull"}, "pullCertSecretRef": {"name": "pull-ca"},
            "output": {
                "repository": "corp.test/app", "tags": ["main"],
                "secretRef": {"name": "push"}, "certSecretRef": {"name": "push-ca"},
            },
        },
    }))
    .unwrap()
}

fn plan() -> BuildPlan {
    serde_json::from_value(json!({
        "version": 1,
        "source": {"git": {
            "url": "https://git.test/app.git", "commit": "a".repeat(40), "credentials": "git",
        }},
        "output": {
            "registry": "corp.test", "repository": "app", "tags": ["main"], "image": "layout",
            "access": {"credentials": "push", "certificates": "push-ca", "insecure": false},
        },
    }))
    .unwrap()
}

fn pod(builder: BuilderType, isolation: Isolation) -> Value {
    let (object, plan) = (object(), plan());
    let platform = "linux/amd64".parse().unwrap();
    let mut build = Build::new(build::CONTEXT_DIRECTORY, "Dockerfile", platform, isolation);
    build.arguments = vec![BuildArgument {
        name: "A".to_owned(),
        value: "$(HOME)".to_owned(),
    }];
    mount_secrets(&object.spec, &mut build);
    let container = builder.builder().container(&build).unwrap();
    let attempt = Attempt::new(&AttemptInput {
        object: &object,
        plan: &plan,
        files: &MountedFiles::None,
        number: 3,
        attempt: 1,
        record: "{}".to_owned(),
        spec_inputs: "sha256:0",
        timeout: Duration::from_mins(5),
        container: &container,
        builder_image: "builders.test/this:1",
        image: "ours.test/transship:1",
        pull_policy: "IfNotPresent",
    });
    serde_json::to_value(attempt.unwrap().pod).unwrap()
}

/// The Secrets that each container mounts.
fn secrets(pod: &Value, container: &str) -> Vec<String> {
    let spec = &pod["spec"];
    let containers = ["initContainers", "containers"].map(|kind| spec[kind].as_array().unwrap());
    let containers = containers.into_iter().flatten();
    let mounts = containers
        .filter(|found| found["name"] == container)
        .flat_map(|found| found["volumeMounts"].as_array().unwrap());
    let mut secrets: Vec<_> = mounts
        .filter_map(|mount| {
            let volumes = spec["volumes"].as_array().unwrap();
            let volume = volumes
                .iter()
                .find(|volume| volume["name"] == mount["name"]);
            Some(volume.unwrap()["secret"]["secretName"].as_str()?.to_owned())
        })
        .collect();
    secrets.sort();
    secrets
}

#[rstest]
#[case(BuilderType::BuildKit, Isolation::UserNamespace)]
#[case(BuilderType::BuildKit, Isolation::Rootless)]
#[case(BuilderType::Buildah, Isolation::UserNamespace)]
#[case(BuilderType::Buildah, Isolation::Rootless)]
fn each_container_has_its_own_secrets_and_none_has_a_token(
    #[case] builder: BuilderType,
    #[case] isolation: Isolation,
) {
    let pod = pod(builder, isolation);
    assert_eq!(secrets(&pod, FETCH), ["git"]);
    assert_eq!(secrets(&pod, BUILD), ["npm", "pull", "pull-ca"]);
    assert_eq!(secrets(&pod, PUBLISH), ["push", "push-ca"]);
    let spec = &pod["spec"];
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["restartPolicy"], "Never");
    let text = pod.to_string();
    assert!(
        !text.contains("privileged") && !text.contains("hostPath"),
        "{text}"
    );
    assert!(!text.contains("of-the-object"), "{text}");
}

/// Whoever is root in a pod without a user namespace is root on the node.
#[test]
fn nothing_is_done_without_the_user_namespace_that_was_asked_for() {
    let arguments = |isolation| {
        let pod = pod(BuilderType::BuildKit, isolation);
        let arguments = pod["spec"]["initContainers"][0]["args"].to_string();
        (
            pod["spec"]["hostUsers"].clone(),
            arguments.contains("--user-namespace"),
        )
    };
    assert_eq!(arguments(Isolation::UserNamespace), (json!(false), true));
    assert_eq!(arguments(Isolation::Rootless), (Value::Null, false));
}

#[test]
fn an_attempt_has_the_name_that_it_would_have_again() {
    let name = |number, attempt| attempt_name(&object(), number, attempt);
    assert_eq!(name(3, 1), name(3, 1));
    assert_ne!(name(3, 1), name(3, 2));
    assert!(name(3, 1).starts_with("app-3-"), "{}", name(3, 1));
    let mut long = object();
    long.metadata.name = Some("a".repeat(200));
    assert_eq!(attempt_name(&long, 3, 1).len(), MAX_NAME_LENGTH);
}
