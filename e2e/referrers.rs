//! What refers to an image comes with it, as far as that is wanted.

use serde_json::{Value, json};

use crate::harness::{Cluster, Mirror, OneLayerImage};

const SBOM: &str = "application/spdx+json";
const ATTESTATION: &str = "application/vnd.in-toto+json";

#[tokio::test]
async fn those_referrers_come_along_that_are_wanted() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("referrers");
    let plain = &cluster.plain;
    let source = format!("{}/source", namespace.name);
    let image = OneLayerImage::new("an image that others refer to");
    plain.push_image(&image, &source, "1").await;
    let referrers = [SBOM, ATTESTATION].map(|type_| OneLayerImage::referrer(type_, &image));
    plain.push_referrers(&referrers, &image, &source).await;
    let list_tag = image.digest().to_string().replace(':', "-");
    let signature = OneLayerImage::new("what cosign would make");
    let signature_tag = format!("{list_tag}.sig");
    plain.push_image(&signature, &source, &signature_tag).await;

    for (name, wanted, types, has_signature) in [
        ("all", json!({}), &[SBOM, ATTESTATION][..], true),
        (
            "chosen",
            json!({"artifactTypes": [SBOM], "cosignTags": false}),
            &[SBOM],
            false,
        ),
        ("none", json!({"mode": "None"}), &[], false),
    ] {
        let spec = json!({
            "referrers": wanted,
            "sources": [{"image": format!("{}/{source}:1", plain.host), "insecure": true}],
            "destinations": [{
                "prefix": format!("{}/{}", plain.host, namespace.name), "path": name, "insecure": true,
            }],
        });
        Mirror::apply(&cluster, &namespace, name, &spec)
            .wait_ready()
            .await;
        let there =
            |reference: &str| plain.manifest(&format!("{}/{name}{reference}", namespace.name));
        assert!(there(":1").is_some());
        let listed: Value = there(&format!(":{list_tag}"))
            .map(|list| serde_json::from_str(&list).unwrap())
            .unwrap_or_default();
        let listed = listed["manifests"].as_array().into_iter().flatten();
        let mut listed: Vec<_> = listed
            .map(|referrer| referrer["artifactType"].as_str().unwrap())
            .collect();
        listed.sort_unstable();
        assert_eq!(listed, types, "{name}");
        for (type_, referrer) in [SBOM, ATTESTATION].into_iter().zip(&referrers) {
            let is_there = there(&format!("@{}", referrer.digest())).is_some();
            assert_eq!(is_there, types.contains(&type_), "{name}: {type_}");
        }
        let is_signed = there(&format!(":{signature_tag}")).is_some();
        assert_eq!(is_signed, has_signature, "{name}");
    }
}
