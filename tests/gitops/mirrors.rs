//! The manifests of the guide to mirrors.

use serde_json::Value;
use transship::api::ImageMirror;

use super::admit;

const GUIDE: &str = include_str!("../../docs/mirrors.md");

#[tokio::test]
async fn every_manifest_of_the_guide_is_admitted_as_it_stands() {
    let blocks: Vec<&str> = GUIDE
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        let written: Value = serde_saphyr::from_str(block).unwrap();
        let admitted = admit(&written)
            .await
            .unwrap_or_else(|refusal| panic!("{refusal}: {block}"));
        let mirror: ImageMirror = serde_json::from_value(admitted).unwrap();
        assert!(!mirror.spec.sources.is_empty());
    }
}
