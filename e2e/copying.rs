//! The main job: images arrive as they are, and what is in place costs nothing.

use serde_json::{Value, json};
use transship::oci::Digest;

use crate::harness::{
    Cluster, Mirror, Namespace, OneLayerImage, Registry, conditions, destination_states,
};

const SAMPLES: [(&str, &str); 3] = [
    (
        "library/debian:12",
        "application/vnd.oci.image.index.v1+json",
    ),
    (
        "library/debian:12-docker",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ),
    (
        "library/busybox:1",
        "application/vnd.docker.distribution.manifest.v2+json",
    ),
];

/// A spec that mirrors images of the plain registry into the secure one, below the namespace's name.
fn spec(cluster: &Cluster, namespace: &Namespace, images: &[&str]) -> Value {
    let sources: Vec<_> = images
        .iter()
        .map(|image| json!({"image": format!("{}/{image}", cluster.plain.host), "insecure": true}))
        .collect();
    json!({
        "sources": sources,
        "destinations": [{
            "prefix": format!("{}/{}", cluster.secure.host, namespace.name),
            "path": "{repository}",
            "secretRef": {"name": "registry-push"},
            "certSecretRef": {"name": "registry-ca"},
        }],
    })
}

/// The digests of an index's children.
fn children(manifest: &str) -> Vec<String> {
    let manifest: Value = serde_json::from_str(manifest).unwrap();
    let children = manifest["manifests"].as_array().into_iter().flatten();
    children
        .map(|child| child["digest"].as_str().unwrap().to_owned())
        .collect()
}

/// Both sides have the same bytes for the image and every platform, and the destination can be read
/// to the last blob.
fn assert_same(source: &Registry, destination: &Registry, from: &str, to: &str) {
    let expected = source.manifest(from).unwrap();
    assert_eq!(destination.manifest(to).as_ref(), Some(&expected), "{to}");
    let repository = |name: &str| name.split_once(':').unwrap().0.to_owned();
    for child in children(&expected) {
        let of = |registry: &Registry, name: &str| {
            registry.manifest(&format!("{}@{child}", repository(name)))
        };
        assert_eq!(of(destination, to), of(source, from), "{child}");
        assert!(of(source, from).is_some());
    }
    destination.read_completely(to);
}

#[tokio::test]
async fn both_formats_and_both_platforms_arrive_byte_for_byte() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("copying");
    let spec = spec(&cluster, &namespace, &SAMPLES.map(|(name, _)| name));
    let mirror = Mirror::apply(&cluster, &namespace, "samples", &spec);
    let ready = mirror.wait_ready().await;

    let status = ready.status.unwrap();
    assert_eq!(status.summary, "3/3");
    assert!(
        status.last_sync_time.is_some()
            && status.last_scan_time.is_some()
            && status.next_scan_time.is_some()
    );
    let run = status.run.unwrap();
    assert!(
        run.bytes > 0 && run.blobs_copied > 0 && run.completion_time.is_some(),
        "{run:?}"
    );
    for (name, media_type) in SAMPLES {
        let to = format!("{}/{name}", namespace.name);
        assert_same(&cluster.plain, &cluster.secure, name, &to);
        let source = format!("{}/{name}", cluster.plain.host);
        let image = status
            .images
            .iter()
            .find(|image| image.source == source)
            .unwrap();
        let digest = Digest::sha256(cluster.plain.manifest(name).unwrap().as_bytes()).to_string();
        assert_eq!(image.source_digest.as_ref(), Some(&digest));
        assert_eq!(image.media_type.as_deref(), Some(media_type));
        assert_eq!(image.destinations[0].digest.as_ref(), Some(&digest));
        assert_eq!(
            image.destinations[0].reference,
            format!("{}/{to}", cluster.secure.host)
        );
    }
    assert_eq!(
        children(&cluster.plain.manifest("library/debian:12").unwrap()).len(),
        2
    );
    assert!(mirror.has_event("Succeeded"));
    let printed = namespace.kubectl(&["get", "imir", "samples", "--output", "wide"]);
    assert!(
        printed.contains("3/3") && printed.contains("3 images in place in every destination"),
        "{printed}"
    );
}

#[tokio::test]
async fn a_second_scan_transfers_nothing_and_starts_no_job() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("idle");
    let spec = spec(&cluster, &namespace, &["library/debian:12"]);
    let mirror = Mirror::apply(&cluster, &namespace, "idle", &spec);
    let before = mirror.wait_ready().await;
    let (jobs, log) = (namespace.jobs(), cluster.secure.access_log());

    let after = mirror.scan().await;

    assert_eq!(namespace.jobs(), jobs);
    assert_eq!(conditions(&after), conditions(&before));
    let requests = log.lines_with(&[&format!("/v2/{}/", namespace.name)]);
    assert!(!requests.is_empty());
    let other: Vec<_> = requests
        .iter()
        .filter(|line| !line.contains("\"HEAD /v2/"))
        .collect();
    assert_eq!(other, Vec::<&String>::new());
}

#[tokio::test]
async fn one_image_goes_to_every_destination() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("fan-out");
    let mut spec = spec(&cluster, &namespace, &["library/busybox:1"]);
    let second = json!({"prefix": format!("{}/{}", cluster.plain.host, namespace.name), "insecure": true, "tag": "{tag}-copy"});
    spec["destinations"].as_array_mut().unwrap().push(second);
    let mirror = Mirror::apply(&cluster, &namespace, "fan-out", &spec);
    let ready = mirror.wait_ready().await;

    let (secure, plain) = (&cluster.secure, &cluster.plain);
    let host_component = plain.host.replace(':', "_");
    let copy = format!("{}/{host_component}/library/busybox:1-copy", namespace.name);
    assert_eq!(
        destination_states(&ready),
        [
            (
                format!("{}/{}/library/busybox:1", secure.host, namespace.name),
                "Present".to_owned()
            ),
            (format!("{}/{copy}", plain.host), "Present".to_owned()),
        ]
    );
    assert_same(
        plain,
        secure,
        "library/busybox:1",
        &format!("{}/library/busybox:1", namespace.name),
    );
    assert_same(plain, plain, "library/busybox:1", &copy);
}

#[tokio::test]
async fn an_image_that_is_pinned_is_pulled_with_credentials_and_not_followed() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("pinned");
    let (secure, plain) = (&cluster.secure, &cluster.plain);
    let source = format!("{}/source", namespace.name);
    let (first, second) = (OneLayerImage::new("first"), OneLayerImage::new("second"));
    secure.push_image(&first, &source, "1").await;
    let image = |digest: &Digest| {
        json!({
            "image": format!("{}/{source}:1@{digest}", secure.host),
            "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
        })
    };
    let mut spec = json!({
        "sources": [image(&first.digest())],
        "destinations": [{
            "prefix": format!("{}/{}", plain.host, namespace.name), "path": "pinned", "insecure": true,
        }],
    });
    let destination = format!("{}/pinned", namespace.name);
    let mirror = Mirror::apply(&cluster, &namespace, "pinned", &spec);
    mirror.wait_ready().await;
    let at_destination =
        |image: &OneLayerImage| [("1".to_owned(), image.digest().to_string())].into();
    assert_eq!(plain.digests(&destination).await, at_destination(&first));

    secure.push_image(&second, &source, "1").await;
    mirror.scan().await;
    mirror.wait_ready().await;
    assert_eq!(plain.digests(&destination).await, at_destination(&first));
    assert_eq!(namespace.jobs().len(), 1);

    spec["sources"] = json!([image(&second.digest())]);
    let mirror = Mirror::apply(&cluster, &namespace, "pinned", &spec);
    mirror.wait_ready().await;
    assert_eq!(plain.digests(&destination).await, at_destination(&second));
}
