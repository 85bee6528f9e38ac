//! What is built: images that run, by every builder in every isolation.

use rstest::rstest;
use serde_json::{Value, json};
use transship::oci::MediaType;

use super::pod_security::PodSecurity;
use super::workshop::Workshop;
use crate::harness::{ANSWERING_DOCKERFILE, Build, answer};
use crate::seccomp_profile::PROFILE;

/// What each builder has is told there, one row for each case below.
const BUILDERS: &str = include_str!("../../docs/builders.md");

#[rstest]
#[case::buildkit("BuildKit", "Auto", "UserNamespace")]
#[case::buildkit_rootless("BuildKit", "Rootless", "Rootless")]
#[case::buildah("Buildah", "Auto", "UserNamespace")]
#[case::buildah_rootless("Buildah", "Rootless", "Rootless")]
#[case::kaniko("Kaniko", "Auto", "UserNamespace")]
#[case::kaniko_rootless("Kaniko", "Rootless", "Rootless")]
#[case::img("Img", "Auto", "UserNamespace")]
#[case::img_rootless("Img", "Rootless", "Rootless")]
#[tokio::test]
async fn an_image_is_built_and_answers(
    #[case] builder: &str,
    #[case] wanted: &str,
    #[case] used: &str,
) {
    let workshop = Workshop::open("building").await;
    let levels = PodSecurity::open(&workshop.cluster);
    let mut spec = workshop.spec("app", ANSWERING_DOCKERFILE);
    spec["source"]["inline"]["files"] = json!({"answer.txt": "42\n"});
    spec["target"] = json!("runtime");
    spec["builder"] = json!({"type": builder, "isolation": wanted});
    spec["buildArgs"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "VERSION", "value": "--v='$(HOME)' $$"}));
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let status = build.wait_ready().await;

    let registry = &workshop.cluster.plain;
    let image = status.image.unwrap();
    let name = workshop.image("app");
    assert_eq!(
        registry.digest(&format!("{name}:main")),
        Some(image.digest.clone())
    );
    assert_eq!(image.tags, ["main"]);
    assert!(
        image
            .reference
            .ends_with(&format!("/{name}@{}", image.digest))
    );
    let used_isolation = serde_json::to_value(status.builder.unwrap().isolation).unwrap();
    assert_eq!(used_isolation, used);
    registry.read_completely(&format!("{name}:main"));
    let pod = status.build.unwrap().pod;
    let pod = workshop
        .namespace
        .kubectl(&["get", "pod", &pod, "--output", "json"]);
    let pod = serde_json::from_str(&pod).unwrap();
    assert_is_in_table(&row(&levels, &pod, builder, used));
    let expected = "42\n--v='$(HOME)' $$\n";
    assert_eq!(
        answer(
            &workshop.cluster,
            &workshop.namespace,
            &format!("{name}:main")
        )
        .await,
        expected
    );
}

/// What the pod of a build had, as a row of the table of builders.
fn row(levels: &PodSecurity, pod: &Value, builder: &str, isolation: &str) -> String {
    let mut unfiltered = pod.clone();
    let security = &mut build_container(&mut unfiltered)["securityContext"];
    let added = security["capabilities"]["add"].as_array().unwrap();
    let added: Vec<_> = added.iter().map(|name| name.as_str().unwrap()).collect();
    let user = match (&security["runAsUser"], &pod["spec"]["hostUsers"]) {
        (user, Value::Bool(false)) => format!("{user} of the pod, nobody on the node"),
        (user, _) => format!("{user} of the node"),
    };
    let needs = format!(
        "{user} | {} | {}",
        added.join(", "),
        security["allowPrivilegeEscalation"]
    );
    let level = levels.strictest(pod);
    let fixed = security["seccompProfile"]["type"].as_str();
    let seccomp = fixed.unwrap_or("builderSeccomp").to_owned();
    if fixed.is_none() {
        // As they are with the other values of `builderSeccomp`.
        let mut filtered = pod.clone();
        build_container(&mut filtered)["securityContext"]["seccompProfile"] =
            json!({"type": "Localhost", "localhostProfile": PROFILE});
        assert_eq!(levels.strictest(&filtered), level);
        security["seccompProfile"] = json!({"type": "Unconfined"});
    }
    let unconfined = levels.strictest(&unfiltered);
    format!("| {builder} | `{isolation}` | {needs} | `{seccomp}` | `{level}` | `{unconfined}` |")
}

fn build_container(pod: &mut Value) -> &mut Value {
    let containers = pod["spec"]["initContainers"].as_array_mut().unwrap();
    let mut containers = containers.iter_mut();
    let container = containers.find(|container| container["name"] == "build");
    container.unwrap()
}

fn assert_is_in_table(row: &str) {
    assert!(
        BUILDERS.lines().any(|line| line == row),
        "docs/builders.md has no such row:\n{row}"
    );
}

#[tokio::test]
async fn nothing_is_built_when_nothing_has_changed_and_a_tag_alone_is_moved() {
    let workshop = Workshop::open("building-again").await;
    let mut spec = workshop.spec("app", "ARG BASE\nFROM ${BASE}\nRUN touch /done\n");
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let first = build.wait_ready().await;
    spec["output"]["tags"] = json!(["main", "v{build.number}"]);
    build.change(&spec);
    let second = build.wait_ready().await;
    assert_eq!(second.build.as_ref().unwrap().number, 1);
    assert_eq!(second.image.as_ref().unwrap().tags, ["main", "v1"]);
    let digest = &first.image.as_ref().unwrap().digest;
    let tagged = format!("{}:v1", workshop.image("app"));
    assert_eq!(
        workshop.cluster.plain.digest(&tagged).as_ref(),
        Some(digest)
    );

    // On request it is built, although nothing has changed.
    let asked = build.request();
    let third = build
        .wait_until("the requested build", |status| {
            let handled = status.last_handled_reconcile_at.as_deref() == Some(&asked);
            let build = status.build.as_ref().ok_or("no build")?;
            let ended = build.completion_time.is_some();
            if handled && build.number == 2 && ended {
                Ok(())
            } else {
                Err("not yet".to_owned())
            }
        })
        .await;
    let numbers: Vec<_> = third.history.iter().map(|record| record.number).collect();
    assert_eq!(numbers, [2, 1]);
}

/// Larger than what a pod has in memory for files.
#[rstest]
#[case::layout("BuildKit")]
#[case::archive("Img")]
#[tokio::test]
async fn a_large_image_is_converted_on_its_way(#[case] builder: &str) {
    let workshop = Workshop::open("building-converted").await;
    let dockerfile = "ARG BASE\nFROM ${BASE}\nRUN head -c 50331648 /dev/urandom >/random\n";
    let mut spec = workshop.spec("app", dockerfile);
    spec["builder"] = json!({"type": builder});
    spec["output"]["format"] = json!("OCI");
    spec["output"]["compression"] = json!({"algorithm": "Zstd", "level": 1});
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let image = build.wait_ready().await.image.unwrap();
    let registry = &workshop.cluster.plain;
    let name = format!("{}@{}", workshop.image("app"), image.digest);
    let manifest: Value = serde_json::from_str(&registry.manifest(&name).unwrap()).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        assert_eq!(layer["mediaType"], MediaType::OCI_LAYER_ZSTD);
    }
    registry.read_completely(&name);
}
