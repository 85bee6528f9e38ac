//! Images of several platforms: a pod for each, and an index of them.

use rstest::rstest;
use serde_json::{Value, json};

use super::workshop::Workshop;
use crate::harness::{Build, Namespace, link_plugin, run};

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// No step of it runs: nodes of one kind can build it for all.
const DOCKERFILE: &str = "FROM scratch\nARG TARGETARCH\nCOPY ${TARGETARCH}.txt /answer.txt\n";

fn spec(workshop: &Workshop, builder: &str, files: &Value) -> Value {
    let mut spec = workshop.spec("app", DOCKERFILE);
    spec["source"]["inline"]["files"] = files.clone();
    spec["platforms"] = json!(PLATFORMS);
    spec["builder"] = json!({"type": builder});
    // Kaniko makes images of Docker's format, which has no annotations.
    spec["output"]["format"] = json!("OCI");
    spec["output"]["annotations"] = json!({"team": "a"});
    spec
}

/// The platforms that have a pod.
fn pods(namespace: &Namespace) -> Vec<String> {
    let platform =
        r#"jsonpath={range .items[*]}{.metadata.annotations.transship\.dev/platform}{"\n"}{end}"#;
    let pods = namespace.kubectl(&["get", "pods", "--output", platform]);
    let mut pods: Vec<_> = pods.lines().map(str::to_owned).collect();
    pods.sort();
    pods
}

#[rstest]
#[case::buildkit("BuildKit")]
#[case::buildah("Buildah")]
#[case::kaniko("Kaniko")]
#[case::img("Img")]
#[tokio::test]
async fn several_platforms_make_an_index(#[case] builder: &str) {
    let workshop = Workshop::open("building-platforms").await;
    let files = json!({"amd64.txt": "of amd64\n", "arm64.txt": "of arm64\n"});
    let spec = spec(&workshop, builder, &files);
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let image = build.wait_ready().await.image.unwrap();

    let registry = &workshop.cluster.plain;
    let name = workshop.image("app");
    let index = registry.manifest(&format!("{name}:main")).unwrap();
    assert_eq!(
        registry.digest(&format!("{name}:main")),
        Some(image.digest.clone())
    );
    let index: Value = serde_json::from_str(&index).unwrap();
    assert_eq!(index["mediaType"], image.media_type);
    assert_eq!(index["annotations"]["team"], "a");
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), PLATFORMS.len());
    for ((entry, shown), platform) in entries.iter().zip(&image.platforms).zip(PLATFORMS) {
        assert_eq!(shown.platform, platform);
        assert_eq!(entry["digest"], shown.digest);
        let architecture = platform.strip_prefix("linux/").unwrap();
        assert_eq!(entry["platform"]["architecture"], architecture);
        let manifest = registry.manifest(&format!("{name}@{}", shown.digest));
        let manifest: Value = serde_json::from_str(&manifest.unwrap()).unwrap();
        assert_eq!(manifest["annotations"]["team"], "a");
    }
    assert_ne!(image.platforms[0].digest, image.platforms[1].digest);
    registry.read_completely(&format!("{name}:main"));
    assert_eq!(pods(&workshop.namespace), PLATFORMS);

    let directory = tempfile::tempdir().unwrap();
    link_plugin(directory.path());
    let plugin = format!("{}/kubectl-transship", directory.path().display());
    let logs = |options: &[&str]| {
        let namespace = ["--namespace", &workshop.namespace.name];
        run(&[&[&plugin, "logs", "app"], &namespace[..], options].concat())
    };
    let (one, both) = (logs(&["--platform", PLATFORMS[1]]), logs(&[]));
    assert!(!one.is_empty() && both.len() > one.len(), "{both}");
}

#[tokio::test]
async fn a_platform_that_fails_is_named_and_no_tag_is_moved() {
    let workshop = Workshop::open("building-platform-failure").await;
    let mut spec = spec(&workshop, "BuildKit", &json!({"amd64.txt": "of amd64\n"}));
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let failure = build.wait_failed("CopySourceNotFound").await.last_failure;
    let failure = failure.unwrap();
    assert!(failure.message.starts_with("linux/arm64: "), "{failure:?}");
    let tagged = format!("{}:main", workshop.image("app"));
    assert_eq!(workshop.cluster.plain.digest(&tagged), None);

    spec["source"]["inline"]["files"]["arm64.txt"] = json!("of arm64\n");
    build.change(&spec);
    let image = build.wait_ready().await.image.unwrap();
    assert_eq!(image.platforms.len(), 2);
    assert_eq!(workshop.cluster.plain.digest(&tagged), Some(image.digest));
}
