//! In which form images arrive: platforms, index, format and compression, and what the status says of them.

use serde_json::{Value, json};
use transship::api::ImageState;
use transship::oci::Digest;

use crate::harness::{Cluster, Mirror, Namespace};

/// A mirror of debian, which has two platforms, with these fields.
fn apply<'a>(
    cluster: &Cluster,
    namespace: &'a Namespace,
    image: &str,
    fields: &Value,
) -> Mirror<'a> {
    let host = &cluster.plain.host;
    let mut spec = json!({
        "sources": [{"image": format!("{host}/{image}"), "insecure": true}],
        "destinations": [{
            "prefix": format!("{host}/{}", namespace.name), "path": "debian", "tag": "1", "insecure": true,
        }],
    });
    for (name, value) in fields.as_object().unwrap() {
        spec[name] = value.clone();
    }
    Mirror::apply(cluster, namespace, "form", &spec)
}

fn destination(cluster: &Cluster, namespace: &Namespace) -> Value {
    let manifest = cluster
        .plain
        .manifest(&format!("{}/debian:1", namespace.name));
    serde_json::from_str(&manifest.unwrap()).unwrap()
}

#[tokio::test]
async fn one_platform_as_zstd_in_the_other_format_corresponds_to_its_source() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("converted");
    let fields = json!({
        "platforms": ["linux/amd64"], "indexPolicy": "Rewrite",
        "format": "OCI", "compression": {"algorithm": "Zstd", "level": 1},
    });
    let mirror = apply(&cluster, &namespace, "library/debian:12-docker", &fields);
    let status = mirror.wait_ready().await.status.unwrap();

    let index = destination(&cluster, &namespace);
    assert_eq!(
        index["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    let children = index["manifests"].as_array().unwrap();
    assert_eq!(children.len(), 1);
    assert_eq!(children[0]["platform"]["architecture"], "amd64");
    let child = format!(
        "{}/debian@{}",
        namespace.name,
        children[0]["digest"].as_str().unwrap()
    );
    let child: Value = serde_json::from_str(&cluster.plain.manifest(&child).unwrap()).unwrap();
    for layer in child["layers"].as_array().unwrap() {
        assert_eq!(
            layer["mediaType"],
            "application/vnd.oci.image.layer.v1.tar+zstd"
        );
    }
    let name = format!("{}/debian:1", namespace.name);
    cluster.plain.read_completely(&name);

    let image = &status.images[0];
    let conversion = image.destinations[0].conversion.clone().unwrap();
    let there = cluster.plain.manifest(&name).unwrap();
    let there = Digest::sha256(there.as_bytes()).to_string();
    let source = cluster.plain.manifest("library/debian:12-docker").unwrap();
    let source = Digest::sha256(source.as_bytes()).to_string();
    assert_eq!(image.source_digest.as_deref(), Some(source.as_str()));
    assert_eq!(
        image.destinations[0].digest.as_deref(),
        Some(there.as_str())
    );
    assert_eq!(
        (conversion.source_digest, conversion.digest),
        (source, there)
    );
    assert_eq!(
        conversion.options,
        "platforms=linux/amd64 indexPolicy=Rewrite format=OCI compression=zstd:1"
    );

    // A second scan finds it in place, without another run.
    let again = mirror.scan().await.status.unwrap();
    assert_eq!(again.summary, "1/1");
    assert_eq!(namespace.jobs().len(), 1);

    // And somebody who moves it is noticed, although its digest is not the source's anyway.
    cluster.plain.copy("library/busybox:1", &name);
    mirror.scan().await;
    mirror.wait_ready().await;
    assert_eq!(destination(&cluster, &namespace), index);
    assert!(mirror.has_event("DriftDetected"));
}

#[tokio::test]
async fn more_platforms_of_a_sparse_index_follow_when_they_are_asked_for() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("sparse");
    let fields = |platforms: &[&str]| json!({"platforms": platforms, "indexPolicy": "Sparse"});
    let image = "library/debian:12";
    // This registry takes no index with images missing, and the status says so.
    let mirror = apply(&cluster, &namespace, image, &fields(&["linux/amd64"]));
    mirror.wait_failed("DestinationUnsupported", true).await;
    // With all of them there is nothing missing, and the index is the source's.
    let all = fields(&["linux/amd64", "linux/arm64"]);
    let mirror = apply(&cluster, &namespace, image, &all);
    let status = mirror.wait_ready().await.status.unwrap();
    let name = format!("{}/debian:1", namespace.name);
    assert_eq!(cluster.plain.manifest(&name), cluster.plain.manifest(image));
    assert_eq!(status.images[0].destinations[0].state, ImageState::Present);
}

#[tokio::test]
async fn zstd_becomes_gzip_in_the_format_of_docker() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("docker");
    let fields = json!({"format": "OCI", "compression": {"algorithm": "Zstd"}});
    apply(&cluster, &namespace, "library/busybox:1", &fields)
        .wait_ready()
        .await;
    let host = &cluster.plain.host;
    let zstd = format!("{}/debian:1", namespace.name);
    let spec = json!({
        "format": "Docker", "compression": {"algorithm": "Gzip", "level": 9},
        "sources": [{"image": format!("{host}/{zstd}"), "insecure": true}],
        "destinations": [{
            "prefix": format!("{host}/{}", namespace.name), "path": "docker", "insecure": true,
        }],
    });
    let mirror = Mirror::apply(&cluster, &namespace, "docker", &spec);
    let status = mirror.wait_ready().await.status.unwrap();
    let conversion = status.images[0].destinations[0].conversion.clone().unwrap();
    assert_eq!(conversion.options, "format=Docker compression=gzip:9");

    let name = format!("{}/docker:1", namespace.name);
    let manifest = |name: &str| -> Value {
        serde_json::from_str(&cluster.plain.manifest(name).unwrap()).unwrap()
    };
    let there = manifest(&name);
    assert_eq!(
        there["mediaType"],
        "application/vnd.docker.distribution.manifest.v2+json"
    );
    let layers = there["layers"].as_array().unwrap();
    assert_eq!(
        layers.len(),
        manifest(&zstd)["layers"].as_array().unwrap().len()
    );
    for layer in layers {
        assert_eq!(
            layer["mediaType"],
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
        );
    }
    cluster.plain.read_completely(&name);
}
