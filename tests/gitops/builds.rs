//! The manifests of the guide to builds, and its example.

use serde_json::Value;
use transship::api::ImageBuild;

use super::admit;

const GUIDE: &str = include_str!("../../docs/guides/build.md");
const README: &str = include_str!("../../README.md");
const EXAMPLE: &str = include_str!("../../examples/build.yaml");

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
        .filter(|manifest| manifest.contains("kind: ImageBuild"))
        .collect();
    assert_eq!(manifests.len(), 4);
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
