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

/// What there is of a name, with the media types of all layers of its images.
fn media_types(cluster: &Cluster, name: &str) -> (Value, Vec<String>) {
    let read = |name: &str| -> Value {
        serde_json::from_str(&cluster.plain.manifest(name).unwrap()).unwrap()
    };
    let (repository, _) = name.split_once(':').unwrap();
    let top = read(name);
    let children = top["manifests"].as_array().into_iter().flatten();
    let children = children.map(|child| {
        read(&format!(
            "{repository}@{}",
            child["digest"].as_str().unwrap()
        ))
    });
    let images = children.chain([top.clone()]);
    let layers = images.flat_map(|image| image["layers"].as_array().cloned().unwrap_or_default());
    let layers = layers.map(|layer| layer["mediaType"].as_str().unwrap().to_owned());
    (top["mediaType"].clone(), layers.collect())
}

#[tokio::test]
async fn an_image_becomes_one_of_docker() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("docker");
    let fields = json!({"format": "Docker"});
    let mirror = apply(&cluster, &namespace, "library/debian:12", &fields);
    let status = mirror.wait_ready().await.status.unwrap();
    let conversion = status.images[0].destinations[0].conversion.clone().unwrap();
    assert_eq!(conversion.options, "format=Docker");
    let name = format!("{}/debian:1", namespace.name);
    let (top, layers) = media_types(&cluster, &name);
    assert_eq!(
        top,
        "application/vnd.docker.distribution.manifest.list.v2+json"
    );
    assert_eq!(
        layers,
        ["application/vnd.docker.image.rootfs.diff.tar.gzip"; 6]
    );
    cluster.plain.read_completely(&name);
}

#[tokio::test]
async fn zstd_becomes_gzip_again() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("gzip");
    let zstd = json!({"format": "OCI", "compression": {"algorithm": "Zstd"}});
    apply(&cluster, &namespace, "library/busybox:1", &zstd)
        .wait_ready()
        .await;
    let host = &cluster.plain.host;
    let spec = json!({
        "compression": {"algorithm": "Gzip", "level": 9},
        "sources": [{"image": format!("{host}/{}/debian:1", namespace.name), "insecure": true}],
        "destinations": [{
            "prefix": format!("{host}/{}", namespace.name), "path": "gzip", "insecure": true,
        }],
    });
    let mirror = Mirror::apply(&cluster, &namespace, "gzip", &spec);
    let status = mirror.wait_ready().await.status.unwrap();
    let conversion = status.images[0].destinations[0].conversion.clone().unwrap();
    assert_eq!(conversion.options, "compression=gzip:9");
    let name = format!("{}/gzip:1", namespace.name);
    let (_, layers) = media_types(&cluster, &name);
    assert_eq!(layers, ["application/vnd.oci.image.layer.v1.tar+gzip"; 2]);
    cluster.plain.read_completely(&name);
}
