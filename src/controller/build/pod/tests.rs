//! What the containers of a build get, and what they do not.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::build::ImageForm;
use crate::builder::{BuildArgument, BuilderType, Isolation, Output};

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
    pod_of(&object(), builder, isolation)
}

fn pod_of(object: &ImageBuild, builder: BuilderType, isolation: Isolation) -> Value {
    let attempt = attempt(object, builder, isolation, (3, 1), "linux/amd64");
    serde_json::to_value(attempt.pod).unwrap()
}

fn attempt(
    object: &ImageBuild,
    builder: BuilderType,
    isolation: Isolation,
    (number, attempt): (i64, i64),
    platform: &str,
) -> Attempt {
    let mut plan = plan();
    let platforms = ["linux/amd64", "linux/arm64"].map(|platform| platform.parse().unwrap());
    let platform: Platform = platform.parse().unwrap();
    let context = build::CONTEXT_DIRECTORY;
    let mut build = Build::new(context, "Dockerfile", platform.clone(), isolation);
    build.arguments = vec![BuildArgument {
        name: "A".to_owned(),
        value: "$(HOME)".to_owned(),
    }];
    mount_secrets(&object.spec, &mut build);
    let container = builder.builder().container(&build).unwrap();
    if let Output::Archive(_) = container.output {
        plan.output.image = ImageForm::Archive;
    }
    let sbom = object.spec.attest.sbom;
    let attempt = Attempt::new(&AttemptInput {
        object,
        plan: &plan,
        files: &MountedFiles::None,
        number,
        attempt,
        platform: &platform,
        platforms: &platforms,
        record: "{}".to_owned(),
        started_for: "sha256:0",
        timeout: Duration::from_mins(5),
        container: &container,
        builder_image: "builders.test/this:1",
        scanner_image: sbom.then_some("scanners.test/syft:1"),
        image: "ours.test/transship:1",
        pull_policy: "IfNotPresent",
    });
    attempt.unwrap()
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

#[rstest]
#[case::layout(BuilderType::BuildKit, "oci-dir:/out/layout")]
#[case::archive(BuilderType::Img, "oci-archive:/out/image.tar")]
fn the_scanner_has_the_image_and_nothing_else(#[case] builder: BuilderType, #[case] source: &str) {
    let mut object = object();
    // Of which img knows none.
    object.spec.secrets.clear();
    let without = pod_of(&object, builder, Isolation::Rootless);
    assert_eq!(
        without["spec"]["initContainers"].as_array().unwrap().len(),
        2
    );
    object.spec.attest.sbom = true;
    let pod = pod_of(&object, builder, Isolation::Rootless);
    let stages = pod["spec"]["initContainers"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|stage| &stage["name"]).collect();
    assert_eq!(names, [FETCH, BUILD, SCAN]);
    let scan = &stages[2];
    assert_eq!(scan["image"], "scanners.test/syft:1");
    assert_eq!(scan["args"][1], source);
    assert!(secrets(&pod, SCAN).is_empty());
    let publish = &pod["spec"]["containers"][0];
    // Whoever may read the image publishes it as well.
    assert_eq!(scan["securityContext"], publish["securityContext"]);
    let mounts = |container: &Value| -> Vec<(String, bool)> {
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        let mounts = mounts.map(|mount| {
            let read_only = mount["readOnly"].as_bool().unwrap();
            (mount["mountPath"].as_str().unwrap().to_owned(), read_only)
        });
        mounts.collect()
    };
    let expected = [("/out", true), ("/sbom", false), ("/tmp", false)];
    assert_eq!(
        mounts(scan),
        expected.map(|(path, read_only)| (path.to_owned(), read_only))
    );
    assert!(mounts(publish).contains(&("/sbom".to_owned(), true)));
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
    let of = |object: &ImageBuild, order, platform| {
        attempt(
            object,
            BuilderType::BuildKit,
            Isolation::Rootless,
            order,
            platform,
        )
        .name()
    };
    let name = |number, attempt| of(&object(), (number, attempt), "linux/amd64");
    assert_eq!(name(3, 1), name(3, 1));
    assert_ne!(name(3, 1), name(3, 2));
    assert_ne!(name(3, 1), of(&object(), (3, 1), "linux/arm64"));
    assert!(name(3, 1).starts_with("app-3-"), "{}", name(3, 1));
    // What was left of a start that failed belongs to its own plan.
    let mut object = object();
    object.spec.secrets.clear();
    let of_builder = |builder| {
        let isolation = Isolation::Rootless;
        attempt(&object, builder, isolation, (3, 1), "linux/amd64").name()
    };
    assert_ne!(
        of_builder(BuilderType::BuildKit),
        of_builder(BuilderType::Img)
    );
    let mut long = object.clone();
    long.metadata.name = Some("a".repeat(200));
    assert_eq!(of(&long, (3, 1), "linux/amd64").len(), MAX_NAME_LENGTH);
}

#[test]
fn a_pod_of_several_says_which_it_is_and_prefers_its_own_kind_of_node() {
    let attempt = attempt(
        &object(),
        BuilderType::BuildKit,
        Isolation::Rootless,
        (3, 1),
        "linux/arm64",
    );
    let pod = serde_json::to_value(attempt.pod).unwrap();
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations[BUILD_PLATFORM_ANNOTATION], "linux/arm64");
    assert_eq!(annotations[PLATFORMS_ANNOTATION], "linux/amd64,linux/arm64");
    let affinity = pod["spec"]["affinity"]["nodeAffinity"].as_object().unwrap();
    assert_eq!(affinity.len(), 1);
    let preferred = affinity["preferredDuringSchedulingIgnoredDuringExecution"].to_string();
    assert!(preferred.contains("arm64"), "{preferred}");
}
