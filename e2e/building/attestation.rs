//! What is attached to an image: its provenance, which says what it was built from, and who says so; and its bill of
//! materials, which says what is in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rstest::rstest;
use serde_json::{Value, json};
use transship::api::{AttachedProvenance, ImageBuildStatus};
use transship::attestation::SBOM_PREDICATE_TYPE;

use super::workshop::Workshop;
use crate::harness::{Build, run, try_run};

const DOCKERFILE: &str = "ARG BASE\nFROM ${BASE}\nRUN touch /done\n";

/// The layer of the attestation of an image, after a look at whether it is listed beside the image.
async fn read(workshop: &Workshop, image: &str, attached: &str) -> Value {
    let (registry, name) = (&workshop.cluster.plain, workshop.image("app"));
    let manifest = |reference: &str| -> Value {
        serde_json::from_str(&registry.manifest(reference).unwrap()).unwrap()
    };
    // This registry has no referrers API.
    let list = manifest(&format!("{name}:{}", image.replace(':', "-")));
    let mut listed = list["manifests"].as_array().unwrap().iter();
    let count = listed.clone().count();
    let entry = listed.find(|entry| entry["digest"] == attached);
    assert!(entry.is_some() && count == 1, "{list}");
    let attestation = manifest(&format!("{name}@{attached}"));
    assert_eq!(attestation["subject"]["digest"], image);
    let layer = attestation["layers"][0]["digest"].as_str().unwrap();
    let content = registry.blob(&name, layer).await;
    serde_json::from_slice(&content).unwrap()
}

fn attached(status: &ImageBuildStatus) -> (String, AttachedProvenance) {
    let image = status.image.clone().unwrap();
    (image.digest, image.provenance.unwrap())
}

#[tokio::test]
async fn an_image_says_what_it_was_built_from() {
    let workshop = Workshop::open("building-provenance").await;
    let spec = workshop.spec("app", DOCKERFILE);
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let status = build.wait_ready().await;
    let (image, attached) = attached(&status);
    assert!(!attached.signed);
    let statement = read(&workshop, &image, &attached.digest).await;
    let (_, encoded) = image.split_once(':').unwrap();
    assert_eq!(statement["subject"][0]["digest"]["sha256"], encoded);
    let predicate = &statement["predicate"];
    let definition = &predicate["buildDefinition"];
    assert_eq!(
        definition["externalParameters"]["buildArgs"]["BASE"],
        workshop.base()
    );
    let base = workshop.cluster.secure.digest("bases/busybox:1").unwrap();
    let (_, base) = base.split_once(':').unwrap();
    let dependencies = definition["resolvedDependencies"].as_array().unwrap();
    let has_base = dependencies
        .iter()
        .any(|dependency| dependency["digest"]["sha256"] == base);
    assert!(has_base, "{definition}");
    // The node tells which image the builder really was.
    let builder = &predicate["runDetails"]["builder"]["builderDependencies"][0];
    assert!(builder["digest"]["sha256"].is_string(), "{predicate}");
}

#[tokio::test]
async fn a_key_signs_and_nothing_is_built_before_it_is_there() {
    let workshop = Workshop::open("building-signed").await;
    let mut spec = workshop.spec("app", DOCKERFILE);
    spec["attest"] = json!({"keySecretRef": {"name": "signing", "key": "signing.pem"}});
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    assert_eq!(build.wait_failed("SecretNotFound").await.build, None);
    let secret = |pem: &str| {
        workshop.namespace.apply(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "signing", "namespace": workshop.namespace.name},
            "stringData": {"signing.pem": pem},
        }));
        build.request();
    };
    secret("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nc2VjcmV0\n");
    assert_eq!(build.wait_failed("SecretInvalid").await.build, None);
    let curve = "ec_paramgen_curve:P-256";
    let key = run(&["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", curve]);
    secret(&key);

    let status = build.wait_ready().await;
    let (image, attached) = attached(&status);
    assert!(attached.signed);
    let bundle = read(&workshop, &image, &attached.digest).await;
    let envelope = &bundle["dsseEnvelope"];
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let payload = bytes(&envelope["payload"]);
    let mut message = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len());
    message.push_str(std::str::from_utf8(&payload).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let key = file("key", key.as_bytes());
    let public = run(&["openssl", "pkey", "-in", &key, "-pubout"]);
    let public = file("key.pub", public.as_bytes());
    let signature = file("signature", &bytes(&envelope["signatures"][0]["sig"]));
    let message = file("message", message.as_bytes());
    let command = ["openssl", "dgst", "-sha256", "-verify"];
    let verified =
        try_run(&[&command[..], &[&public, "-signature", &signature, &message]].concat());
    assert_eq!(verified.unwrap().trim(), "Verified OK");
}

/// A package of Python, in a layer above the base.
const WITH_PACKAGE: &str = "ARG BASE\nFROM ${BASE}\n\
    COPY METADATA /usr/lib/python3/dist-packages/spline-4.2.1.dist-info/METADATA\n";

#[rstest]
#[case::buildkit("BuildKit")]
#[case::buildah("Buildah")]
#[case::kaniko("Kaniko")]
#[case::img("Img")]
#[tokio::test]
async fn an_image_says_what_is_in_it(#[case] builder: &str) {
    let workshop = Workshop::open("building-sbom").await;
    let mut spec = workshop.spec("app", WITH_PACKAGE);
    let metadata = "Metadata-Version: 2.1\nName: spline\nVersion: 4.2.1\n";
    spec["source"]["inline"]["files"] = json!({"METADATA": metadata});
    spec["builder"] = json!({"type": builder});
    spec["attest"] = json!({"sbom": true, "provenance": false});
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let image = build.wait_ready().await.image.unwrap();
    assert_eq!(image.provenance, None);
    let sbom = image.sbom.unwrap().digest;
    let statement = read(&workshop, &image.digest, &sbom).await;
    let (_, encoded) = image.digest.split_once(':').unwrap();
    assert_eq!(statement["subject"][0]["digest"]["sha256"], encoded);
    assert_eq!(statement["predicateType"], SBOM_PREDICATE_TYPE);
    let packages = statement["predicate"]["packages"].as_array().unwrap();
    let found = packages.iter().find(|package| package["name"] == "spline");
    assert_eq!(found.unwrap()["versionInfo"], "4.2.1");
}
