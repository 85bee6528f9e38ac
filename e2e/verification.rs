//! Only what is signed by the right key or identity is copied, and the status says why the rest is not.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use transship::oci::{Digest, MediaType};

use crate::harness::{Cluster, Mirror, Namespace, Registry, run_with_input};

const ISSUER: &str = "https://issuer.test";
const SUBJECT: &str = "https://forge.test/org/app/release.yaml@refs/tags/v1";

/// Signs an image of the plain registry, as cosign does; gives keys and trusted root.
fn sign(registry: &Registry, repository: &str, request: &Value) -> Value {
    let image = registry.manifest(&format!("{repository}:1")).unwrap();
    let digest = Digest::sha256(image.as_bytes()).to_string();
    let mut request = request.clone();
    request["digest"] = json!(digest);
    request["form"] = json!("simple");
    let signer = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/signer");
    let answer = run_with_input(&[signer.to_str().unwrap()], &json!([request]).to_string());
    let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
    let layout = tempfile::tempdir().unwrap();
    write_signature(layout.path(), &answer["signatures"][0]);
    let tag = format!("{}.sig", digest.replace(':', "-"));
    registry.push(layout.path(), &format!("{repository}:{tag}"));
    answer
}

/// A layout of one image whose layer is the signed document.
fn write_signature(layout: &Path, signature: &Value) {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let write = |media_type: &str, content: &[u8]| {
        let digest = Digest::sha256(content);
        let name = digest.as_str().trim_start_matches("sha256:");
        std::fs::write(blobs.join(name), content).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    };
    let document = STANDARD
        .decode(signature["document"].as_str().unwrap())
        .unwrap();
    let mut layer = write(
        "application/vnd.dev.cosign.simplesigning.v1+json",
        &document,
    );
    layer["annotations"] = signature["annotations"].clone();
    let diff_ids = [layer["digest"].clone()];
    let config =
        json!({"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = write(
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    );
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": config, "layers": [layer],
    });
    let mut descriptor = write(MediaType::OCI_MANIFEST, manifest.to_string().as_bytes());
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
    let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let version = json!({"imageLayoutVersion": "1.0.0"});
    std::fs::write(layout.join("oci-layout"), version.to_string()).unwrap();
}

fn secret(namespace: &Namespace, name: &str, entry: &str, content: &str) {
    namespace.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace.name},
        "stringData": {entry: content},
    }));
}

fn spec(cluster: &Cluster, namespace: &Namespace, verify: &Value) -> Value {
    let host = &cluster.plain.host;
    json!({
        "sources": [{"image": format!("{host}/{}/source:1", namespace.name), "insecure": true}],
        "destinations": [{
            "prefix": format!("{host}/{}", namespace.name), "path": "verified", "insecure": true,
        }],
        "verify": [verify],
    })
}

#[tokio::test]
async fn an_image_is_copied_only_when_the_right_key_has_signed_it() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("verify-key");
    let source = format!("{}/source", namespace.name);
    cluster
        .plain
        .copy("library/busybox:1", &format!("{source}:1"));
    let verify = json!({"match": format!("{}/{}/**", cluster.plain.host, namespace.name), "secretRef": {"name": "keys"}});
    let wanted = spec(&cluster, &namespace, &verify);

    let mirror = Mirror::apply(&cluster, &namespace, "verified", &wanted);
    mirror.wait_failed("SecretNotFound", true).await;
    let answer = sign(&cluster.plain, &source, &json!({"key": "p256"}));
    secret(
        &namespace,
        "keys",
        "cosign.pub",
        answer["keys"]["ed25519"].as_str().unwrap(),
    );
    mirror.scan().await;
    mirror.wait_failed("VerificationFailed", true).await;
    let name = format!("{}/verified:1", namespace.name);
    assert_eq!(cluster.plain.manifest(&name), None);

    secret(
        &namespace,
        "keys",
        "cosign.pub",
        answer["keys"]["p256"].as_str().unwrap(),
    );
    mirror.scan().await;
    mirror.wait_ready().await;
    assert_eq!(
        cluster.plain.manifest(&name),
        cluster.plain.manifest("library/busybox:1")
    );
}

#[tokio::test]
async fn an_identity_without_a_key_is_verified_by_the_trusted_root() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("verify-identity");
    let source = format!("{}/source", namespace.name);
    cluster
        .plain
        .copy("library/busybox:1", &format!("{source}:1"));
    let request = json!({"issuer": ISSUER, "subject": SUBJECT, "log": "v1"});
    let answer = sign(&cluster.plain, &source, &request);
    secret(
        &namespace,
        "root",
        "trusted_root.json",
        &answer["trustedRoot"].to_string(),
    );
    let verify = |subject: &str| {
        json!({
            "matchOIDCIdentity": [{"issuer": r"https://issuer\.test", "subject": subject}],
            "trustedRootSecretRef": {"name": "root"},
        })
    };
    let other = spec(&cluster, &namespace, &verify("https://forge.test/other/.*"));
    let mirror = Mirror::apply(&cluster, &namespace, "verified", &other);
    mirror.wait_failed("VerificationFailed", true).await;

    let right = spec(
        &cluster,
        &namespace,
        &verify("https://forge.test/org/app/.*"),
    );
    let mirror = Mirror::apply(&cluster, &namespace, "verified", &right);
    mirror.wait_ready().await;
    let name = format!("{}/verified:1", namespace.name);
    assert_eq!(
        cluster.plain.manifest(&name),
        cluster.plain.manifest("library/busybox:1")
    );
}
