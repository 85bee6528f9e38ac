//! Images of Docker's schema 1: refused as they are, and converted as skopeo converts them.

#![expect(
    clippy::indexing_slicing,
    reason = "what tests share fails like a test: by panicking"
)]

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rstest::rstest;
use serde_json::{Value, json};
use transship::oci::{Digest, MediaType};

use super::images::{gzip, skopeo, tar};
use super::layouts::{place, succeed, succeed_with, transship};
use crate::support::docker_daemon::DockerDaemon as RunningDaemon;
use crate::support::install_tls_provider;
use crate::support::registry::{Action, Endpoint, Registry, Rule};

/// A public key whose private one is 1, and what libtrust calls it.
const KEY_X: &str = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY";
const KEY_Y: &str = "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU";
const KEY_ID: &str = "LTJF:F6YM:5CJS:INX2:7DGN:CBAJ:QG4J:5ZFN:NOP6:TYVC:W7TR:VLFS";

fn id(number: usize) -> String {
    format!("{number:064x}")
}

/// A step as Docker wrote it, on top of the one before.
fn step(number: usize, command: &str, is_empty: bool) -> Value {
    let mut step = json!({
        "id": id(number),
        "created": format!("2016-01-02T03:04:0{number}.123456789Z"),
        "container_config": {"Cmd": ["/bin/sh", "-c", command]},
    });
    if number > 0 {
        step["parent"] = id(number - 1).into();
    }
    if is_empty {
        step["throwaway"] = true.into();
    }
    step
}

/// What was pushed: two layers of files, and between them a step that changed the configuration.
struct Old {
    layers: [Vec<u8>; 2],
    document: String,
}

impl Old {
    fn new() -> Self {
        Self::with(|_| ())
    }

    /// The image after `change` has been at its steps, from the last to the first.
    fn with(change: impl FnOnce(&mut Vec<Value>)) -> Self {
        let layers = ["the base", "on top"].map(|text| tar(&[("file", text.as_bytes())]));
        let mut last = step(2, "#(nop) ADD file:2 in /", false);
        last["architecture"] = "amd64".into();
        last["os"] = "linux".into();
        last["author"] = "somebody".into();
        last["docker_version"] = "1.12.6".into();
        last["config"] = json!({"Env": ["A=<b>&c"], "Cmd": ["/file"], "Labels": {"x": "y"}});
        let mut steps = vec![
            last,
            step(1, "#(nop) ENV A=b", true),
            step(0, "#(nop) ADD file:1 in /", false),
        ];
        change(&mut steps);
        let blob = |step: &Value| match step["id"].as_str().unwrap() {
            top if top == id(2) => gzip(&layers[1]),
            base if base == id(0) => gzip(&layers[0]),
            _ => gzip(&[0; 1024]),
        };
        let document = json!({
            "schemaVersion": 1, "name": "app", "tag": "v1", "architecture": "amd64",
            "fsLayers": steps.iter().map(|step| json!({"blobSum": Digest::sha256(&blob(step))})).collect::<Vec<_>>(),
            "history": steps.iter().map(|step| json!({"v1Compatibility": step.to_string()})).collect::<Vec<_>>(),
        });
        Self {
            document: document.to_string(),
            layers,
        }
    }

    fn diff_ids(&self) -> [String; 2] {
        self.layers
            .each_ref()
            .map(|layer| Digest::sha256(layer).to_string())
    }

    fn blobs(&self) -> [String; 2] {
        self.layers
            .each_ref()
            .map(|layer| Digest::sha256(&gzip(layer)).to_string())
    }

    /// Puts it into a registry as `app:v1`. Its digest is the same with and without a signature.
    fn seed(&self, registry: &Registry, is_signed: bool) -> Digest {
        for layer in &self.layers {
            registry.seed_blob("app", &gzip(layer));
        }
        registry.seed_blob("app", &gzip(&[0; 1024]));
        let digest = Digest::sha256(self.document.as_bytes());
        let (media_type, document) = if is_signed {
            (MediaType::DOCKER_SCHEMA_1_SIGNED, self.signed())
        } else {
            (MediaType::DOCKER_SCHEMA_1, self.document.clone())
        };
        registry.seed_document("app", Some("v1"), media_type, document, digest.clone());
        digest
    }

    /// As libtrust signs; nobody looks at the key.
    fn signed(&self) -> String {
        let protected = json!({
            "formatLength": self.document.len() - 1,
            "formatTail": URL_SAFE_NO_PAD.encode("}"),
            "time": "2016-01-02T03:04:05Z",
        });
        let signatures = json!([{
            "header": {"alg": "ES256", "jwk": {
                "crv": "P-256", "kty": "EC", "kid": KEY_ID, "x": KEY_X, "y": KEY_Y,
            }},
            "signature": URL_SAFE_NO_PAD.encode([3; 64]),
            "protected": URL_SAFE_NO_PAD.encode(protected.to_string()),
        }]);
        let start = self.document.strip_suffix('}').unwrap();
        format!(r#"{start},"signatures":{signatures}}}"#)
    }
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn source(registry: &Registry) -> String {
    format!("{}/app:v1", registry.host())
}

/// The message of a command that must fail.
fn refusal(arguments: &[&str]) -> String {
    let output = transship(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

// The registries answer while this thread waits for a command.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_it_is_it_goes_nowhere_and_the_message_says_what_helps(
    #[values(false, true)] is_signed: bool,
) {
    install_tls_provider();
    let (from, to) = (Registry::start().await, Registry::start().await);
    let digest = Old::new().seed(&from, is_signed);
    let message = refusal(&["copy", &source(&from), &source(&to)]);
    assert!(message.contains(digest.as_str()), "{message}");
    assert!(message.contains("schema 1"), "{message}");
    assert!(message.contains("convert it"), "{message}");
    assert!(to.manifest("app", "v1").is_none());
    assert_eq!(succeed(&["digest", &source(&from)]).trim(), digest.as_str());
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_becomes_what_skopeo_makes_of_it(#[values(false, true)] is_signed: bool) {
    install_tls_provider();
    let (from, to) = (Registry::start().await, Registry::start().await);
    let old = Old::new();
    old.seed(&from, is_signed);
    // A reading that breaks off is taken up again.
    from.add(Rule::on(Endpoint::Blob, Action::CutResponse(20)).times(1));
    succeed(&["copy", "--format", "docker", &source(&from), &source(&to)]);
    to.assert_never_incomplete();
    let ours = json_of(&to.manifest("app", "v1").unwrap().bytes);

    let directory = tempfile::tempdir().unwrap();
    let theirs = directory.path().join("skopeo");
    skopeo(&[
        "copy",
        "--format=v2s2",
        "--src-tls-verify=false",
        &format!("docker://{}", source(&from)),
        &format!("dir:{}", theirs.display()),
    ]);
    let manifest = json_of(&std::fs::read(theirs.join("manifest.json")).unwrap());
    let read_theirs = |digest: &Value| {
        let name = digest.as_str().unwrap().trim_start_matches("sha256:");
        json_of(&std::fs::read(theirs.join(name)).unwrap())
    };
    let read_ours = |digest: &Value| {
        let digest = digest.as_str().unwrap().parse().unwrap();
        json_of(&to.blob("app", &digest).unwrap())
    };
    let config = read_ours(&ours["config"]["digest"]);
    assert_eq!(config, read_theirs(&manifest["config"]["digest"]));
    assert_eq!(ours["layers"], manifest["layers"]);
    assert_eq!(ours["mediaType"], manifest["mediaType"]);
    assert_eq!(config["rootfs"]["diff_ids"], json!(old.diff_ids()));
    assert_eq!(ours["layers"][0]["digest"], old.blobs()[0]);
    assert_eq!(config["history"][1]["empty_layer"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_converted_and_compressed_to_the_same_image_again() {
    install_tls_provider();
    let (from, to) = (Registry::start().await, Registry::start().await);
    let old = Old::new();
    old.seed(&from, true);
    let mut runs = Vec::new();
    for _ in 0..2 {
        let convert = ["copy", "--json", "--format", "oci", "--compression", "zstd"];
        let output = succeed(&[&convert[..], &[&source(&from), &source(&to)]].concat());
        runs.push(json_of(output.lines().last().unwrap().as_bytes())["totals"].clone());
    }
    let image = to.manifest("app", "v1").unwrap();
    assert_eq!(image.media_type, MediaType::OCI_MANIFEST);
    let image = json_of(&image.bytes);
    for (layer, content) in image["layers"].as_array().unwrap().iter().zip(&old.layers) {
        assert_eq!(layer["mediaType"], MediaType::OCI_LAYER_ZSTD);
        let digest = layer["digest"].as_str().unwrap().parse().unwrap();
        let packed = to.blob("app", &digest).unwrap();
        assert_eq!(zstd::stream::decode_all(&packed[..]).unwrap(), *content);
    }
    assert_eq!(runs[0]["blobsSent"], 3);
    assert_eq!(runs[1]["blobsSent"], 0);
    assert_eq!(runs[1]["bytesRecompressed"], 0);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_to_every_transport(
    #[values("oci", "oci-archive", "dir", "docker-archive")] transport: &str,
) {
    install_tls_provider();
    let from = Registry::start().await;
    let old = Old::new();
    old.seed(&from, true);
    let directory = tempfile::tempdir().unwrap();
    let place = if transport == "docker-archive" {
        let path = directory.path().join("app.tar");
        format!("docker-archive:{}:corp.example/app:v1", path.display())
    } else {
        place(transport, directory.path())
    };
    // In a layout skopeo finds images in the OCI format only.
    let format = if transport.starts_with("oci") {
        "oci"
    } else {
        "docker"
    };
    succeed(&["copy", "--format", format, &source(&from), &place]);
    succeed(&["verify", &place]);
    assert_eq!(diff_ids(&place), json!(old.diff_ids()));
}

fn diff_ids(place: &str) -> Value {
    let config = json_of(&skopeo(&["inspect", "--raw", "--config", place]));
    config["rootfs"]["diff_ids"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_loads_it() {
    install_tls_provider();
    let from = Registry::start().await;
    let old = Old::new();
    old.seed(&from, true);
    let daemon = RunningDaemon::start().await;
    let host = daemon.host();
    let to = "docker-daemon:corp.example/app:v1";
    succeed_with(&host, &["copy", "--format", "docker", &source(&from), to]);
    let format = "{{json .RootFS.Layers}} {{.Author}}";
    let inspect = [
        "image",
        "inspect",
        "--format",
        format,
        "corp.example/app:v1",
    ];
    let expected = format!("{} somebody", json!(old.diff_ids()));
    assert_eq!(daemon.answer(&inspect), expected);
}

/// What skopeo wrote to a directory without converting it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_skopeo_is_read() {
    install_tls_provider();
    let from = Registry::start().await;
    let old = Old::new();
    let digest = old.seed(&from, true);
    let directory = tempfile::tempdir().unwrap();
    let copied = format!("dir:{}", directory.path().join("old").display());
    let image = format!("docker://{}", source(&from));
    skopeo(&[
        "copy",
        "--preserve-digests",
        "--src-tls-verify=false",
        &image,
        &copied,
    ]);
    assert_eq!(succeed(&["digest", &copied]).trim(), digest.as_str());
    let converted = place("oci", directory.path());
    succeed(&["copy", "--format", "oci", &copied, &converted]);
    assert_eq!(diff_ids(&converted), json!(old.diff_ids()));
}

#[rstest]
#[case::damaged_layer(Old::new(), |old: &Old, registry: &Registry| {
    let digest = old.blobs()[0].parse().unwrap();
    registry.lose_blob("app", &digest);
}, "does not say how long layer")]
#[case::no_chain(Old::with(|steps| steps[1]["parent"] = id(7).into()), |_: &Old, _: &Registry| (), "each the parent")]
#[case::no_start(Old::with(|steps| { steps.pop(); }), |_: &Old, _: &Registry| (), "each the parent")]
#[case::no_steps(Old::with(Vec::clear), |_: &Old, _: &Registry| (), "each the parent")]
#[case::malformed_step(Old::with(|steps| steps[1]["created"] = 7.into()), |_: &Old, _: &Registry| (), "history[1].v1Compatibility")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_contradicts_itself_is_refused(
    #[case] old: Old,
    #[case] change: impl Fn(&Old, &Registry),
    #[case] expected: &str,
) {
    install_tls_provider();
    let (from, to) = (Registry::start().await, Registry::start().await);
    old.seed(&from, false);
    change(&old, &from);
    let message = refusal(&["copy", "--format", "oci", &source(&from), &source(&to)]);
    assert!(message.contains(expected), "{message}");
    assert!(to.manifest("app", "v1").is_none());
}

/// A step that an old Docker wrote twice counts once, as its later entry says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_there_twice_is_one() {
    install_tls_provider();
    let (from, to) = (Registry::start().await, Registry::start().await);
    let old = Old::with(|steps| steps.insert(1, steps[0].clone()));
    old.seed(&from, false);
    succeed(&["copy", "--format", "docker", &source(&from), &source(&to)]);
    let image = json_of(&to.manifest("app", "v1").unwrap().bytes);
    assert_eq!(image["layers"].as_array().unwrap().len(), 2);
}

/// What it would become takes all of its layers to know, and does not matter if the tag stays.
#[tokio::test(flavor = "multi_thread")]
async fn its_layers_are_not_read_for_a_tag_that_is_kept() {
    let registry = Registry::start().await;
    Old::new().seed(&registry, true);
    let there = registry.seed_image("m/app", Some("v1"), &[b"there"]);
    let from = format!("{}/app:v1", registry.host());
    let to = format!("{}/m/app:v1", registry.host());
    let convert = ["convert", "--format", "oci", "--existing", "keep"];
    let said = succeed(&[&convert[..], &[&from, &to]].concat());
    assert_eq!(said, format!("{to}@{there}\n"));
    assert_eq!(registry.count(&Method::GET, Endpoint::Blob), 0);
    assert_eq!(registry.writes(), 0);
}
