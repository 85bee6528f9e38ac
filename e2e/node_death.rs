//! A node dies with a worker on it: nobody can tell whether that has stopped, and the images arrive all the same.

use serde_json::{Value, json};
use transship::api::{ImageMirror, ImageState};

use crate::harness::{
    Cluster, Mirror, Namespace, OneLayerImage, eventually, incomplete_tag, run, try_run,
};

const NODE: &str = "node2";
const LAYER_BYTES: usize = 32 << 20;

/// A second node, as long as this lives; it stays if it was there before.
struct SecondNode<'a> {
    script: &'a str,
    was_there: bool,
}

impl<'a> SecondNode<'a> {
    fn start(script: &'a str) -> Self {
        let was_there = try_run(&["kubectl", "get", "node", NODE]).is_ok();
        run(&[script, "up", "--nodes", "2"]);
        Self { script, was_there }
    }

    /// All its processes are gone at once, and it cannot be reached any more.
    fn die(&self) {
        run(&[self.script, "node-kill", NODE]);
    }
}

impl Drop for SecondNode<'_> {
    fn drop(&mut self) {
        let mut commands = vec![vec!["kubectl", "uncordon", "node1"]];
        if self.was_there {
            commands.push(vec![self.script, "node-start", NODE]);
        } else {
            commands.push(vec![self.script, "node-kill", NODE]);
            commands.push(vec!["kubectl", "delete", "node", NODE]);
            // `up` does not start it again.
            commands.push(vec![self.script, "up", "--nodes", "1"]);
        }
        for command in commands {
            // A panic within another one would hide that.
            if let Err(message) = try_run(&command) {
                eprintln!("{command:?}: {message}");
            }
        }
    }
}

/// A slow mirror of two images, `large` and `small`.
fn apply<'a>(cluster: &Cluster, namespace: &'a Namespace) -> Mirror<'a> {
    let source = format!("{}/{}", cluster.plain.host, namespace.name);
    let spec = json!({
        "interval": "15s", "timeout": "40s", "limits": {"bandwidth": "2Mi"},
        "sources": [
            {"image": format!("{source}/large:1"), "insecure": true},
            {"image": format!("{source}/small:1"), "insecure": true},
        ],
        "destinations": [{
            "prefix": format!("{}/{}", cluster.secure.host, namespace.name), "path": "to/{repository}",
            "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
        }],
    });
    Mirror::apply(cluster, namespace, "dying", &spec)
}

fn destination(namespace: &Namespace, name: &str) -> String {
    format!("{}/to/{}/{name}", namespace.name, namespace.name)
}

/// State and message of an image.
fn standing(mirror: &ImageMirror, name: &str) -> Option<(ImageState, String)> {
    let images = &mirror.status.as_ref()?.images;
    let mut destinations = images.iter().flat_map(|image| &image.destinations);
    let of_image = destinations.find(|found| found.reference.ends_with(&format!("/{name}:1")))?;
    Some((of_image.state, of_image.message.clone().unwrap_or_default()))
}

fn object(namespace: &Namespace, kind: &str, name: &str) -> Value {
    let text = namespace.kubectl(&["get", kind, name, "--output", "json"]);
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn images_arrive_although_a_worker_died_with_its_node() {
    let cluster = Cluster::alone().await;
    let node = SecondNode::start(&cluster.script);
    let namespace = cluster.namespace("node-death");
    let plain = &cluster.plain;
    let source = |name: &str| format!("{}/{name}", namespace.name);
    let (old, new) = (OneLayerImage::new("old"), OneLayerImage::new("new"));
    let large = OneLayerImage::new(vec![1; LAYER_BYTES]);
    plain.push_image(&large, &source("large"), "1").await;
    plain.push_image(&old, &source("small"), "1").await;

    run(&["kubectl", "cordon", "node1"]);
    let mirror = apply(&cluster, &namespace);
    let story = async {
        let (pod, _) = mirror.worker_pod().await;
        run(&["kubectl", "uncordon", "node1"]);
        eventually("a layer on its way", || async {
            let bytes = cluster
                .secure
                .uploading_bytes(&destination(&namespace, "large"));
            (bytes > 0)
                .then_some(())
                .ok_or_else(|| "nothing yet".to_owned())
        })
        .await;
        let first = object(&namespace, "pod", &pod);
        assert_eq!(first["spec"]["nodeName"], NODE);
        node.die();
        plain.push_image(&new, &source("small"), "1").await;

        // What the dead worker may still write, too, is copied at once if it is the same, and later if not.
        mirror
            .wait_until("the large image", |mirror| {
                match (standing(mirror, "large"), standing(mirror, "small")) {
                    (Some((ImageState::Present, _)), Some((ImageState::Pending, why)))
                        if why.contains("a worker on a node that does not answer") =>
                    {
                        Ok(())
                    }
                    found => Err(format!("{found:?}")),
                }
            })
            .await;
        let small = cluster
            .secure
            .digests(&destination(&namespace, "small"))
            .await;
        assert_ne!(small.get("1"), Some(&new.digest().to_string()));
        mirror.wait_ready().await;
        first
    };
    let repository = destination(&namespace, "large");
    let first = tokio::select! {
        first = story => first,
        missing = incomplete_tag(&cluster.secure, &repository, "1") => {
            panic!("the tag pointed at an image without {missing}");
        }
    };

    for (name, image) in [("large", &large), ("small", &new)] {
        let there = cluster.secure.digests(&destination(&namespace, name)).await;
        assert_eq!(there.get("1"), Some(&image.digest().to_string()), "{name}");
    }
    // Nobody has waited for the node: its pod is still there, and its Job has not come to an end.
    let pod = object(
        &namespace,
        "pod",
        first["metadata"]["name"].as_str().unwrap(),
    );
    assert!(pod["metadata"]["deletionTimestamp"].is_string(), "{pod}");
    let job = first["metadata"]["labels"]["batch.kubernetes.io/job-name"].as_str();
    let job = object(&namespace, "job", job.unwrap());
    let conditions = job["status"]["conditions"].as_array().unwrap();
    let types: Vec<_> = conditions
        .iter()
        .map(|condition| &condition["type"])
        .collect();
    assert_eq!(types, ["FailureTarget"]);
}
