//! The manifests of the guide to builds, and its example.

use serde_json::Value;
use transship::api::ImageBuild;

use super::admit;

const GUIDE: &str = include_str!("../../docs/guides/build.md");
const README: &str = include_str!("../../README.md");
const EXAMPLE: &str = include_str!("../../examples/build.yaml");
const CHAIN: &str = include_str!("../../examples/mirror-build-mirror.yaml");

/// What is built is what is mirrored, and what it builds upon is mirrored before.
#[tokio::test]
async fn the_chain_of_the_example_hangs_together() {
    let mut objects = Vec::new();
    for manifest in CHAIN.split("---\n") {
        let mut written: Value = serde_saphyr::from_str(manifest).unwrap();
        written["metadata"]["namespace"] = "team-a".into();
        objects.push(admit(&written).await.unwrap());
    }
    let [before, build, after] = &objects[..] else {
        panic!("{} objects", objects.len());
    };
    assert_eq!(build["spec"]["baseImages"], "Mirrored");
    let output = &build["spec"]["output"];
    let image = format!(
        "{}:{}",
        output["repository"].as_str().unwrap(),
        output["tags"][0].as_str().unwrap()
    );
    assert_eq!(after["spec"]["sources"][0]["image"], image);
    let base = before["spec"]["sources"][0]["image"].as_str().unwrap();
    assert!(CHAIN.contains(&format!("FROM {}", base.rsplit('/').next().unwrap())));
}

#[tokio::test]
async fn every_manifest_is_admitted_as_it_stands() {
    let between = |text: &'static str, begin: &'static str, end: &'static str| {
        let blocks = text.split(begin).skip(1);
        blocks.map(move |rest| rest.split(end).next().unwrap())
    };
    let manifests: Vec<&str> = between(GUIDE, "```yaml\n", "```")
        .chain(between(GUIDE, "<<'YAML'\n", "YAML\n"))
        .chain(between(README, "```yaml\n", "```"))
        .chain([EXAMPLE])
        .chain(CHAIN.split("---\n"))
        .filter(|manifest| manifest.contains("kind: ImageBuild"))
        .collect();
    assert_eq!(manifests.len(), 6);
    for manifest in manifests {
        let mut written: Value = serde_saphyr::from_str(manifest).unwrap();
        written["metadata"]["namespace"] = "team-a".into();
        let admitted = admit(&written)
            .await
            .unwrap_or_else(|refusal| panic!("{refusal}: {manifest}"));
        let build: ImageBuild = serde_json::from_value(admitted).unwrap();
        assert_eq!(build.spec.dockerfile, "Dockerfile");
    }
}
