//! The worker as its pod runs it: files in, exit code and report out.

mod interruption;
mod log;
mod sharing;

use std::path::Path;
use std::process::{Child, Stdio};

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;
use transship::copy::{Plan, PlannedOptions};
use transship::packed;
use transship::registry::CHUNK_BYTES;
use transship::worker::{EXIT_COPIES_FAILED, EXIT_INTERRUPTED, PLAN_FILE};

use crate::support::docker_registry::{DockerRegistry, Settings};
use crate::support::registry::{Endpoint, Registry};
use crate::support::tls::Authority;
use crate::support::{blob, client, image, plain, push_blob, repository};

const PASSWORD: &str = "canary-5f21-password";

/// What a pod of a run has mounted.
struct Pod {
    directory: TempDir,
}

impl Pod {
    fn new(plan: &Value) -> Self {
        let pod = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        std::fs::write(pod.path(PLAN_FILE), packed::pack(plan).unwrap()).unwrap();
        pod
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Mounts a Secret with one key.
    fn mount(&self, kind: &str, secret: &str, key: &str, value: &str) {
        let directory = self.path(kind).join(secret);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(key), value).unwrap();
    }

    fn arguments(&self) -> Vec<String> {
        let argument = |name: &str, path: &Path| format!("--{name}={}", path.display());
        std::fs::create_dir_all(self.path("state")).unwrap();
        vec![
            "worker".to_owned(),
            argument("plan", &self.path(PLAN_FILE)),
            argument("credentials", &self.path("credentials")),
            argument("certificates", &self.path("certificates")),
            argument("termination-log", &self.path("report")),
            argument("state-directory", &self.path("state")),
            "--log-format=json".to_owned(),
            "--log-level=trace".to_owned(),
        ]
    }

    /// Starts the worker and does not wait for it.
    fn start(&self) -> Child {
        std::process::Command::new(env!("CARGO_BIN_EXE_transship"))
            .args(self.arguments())
            .env_clear()
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Runs the worker; returns exit code, report and log.
    fn run(&self) -> (Option<i32>, Value, String) {
        self.run_with(&[])
    }

    fn run_with(&self, arguments: &[&str]) -> (Option<i32>, Value, String) {
        let output = Command::cargo_bin("transship")
            .unwrap()
            .args(self.arguments())
            .args(arguments)
            .env_clear()
            .output()
            .unwrap();
        let report =
            std::fs::read_to_string(self.path("report")).unwrap_or_else(|_| "null".to_owned());
        let log = String::from_utf8(output.stderr).unwrap();
        // Neither as it is nor as a Basic authorization has it, not even at the level `trace`.
        let authorization = STANDARD.encode(format!("transship:{PASSWORD}"));
        for secret in [PASSWORD, &authorization] {
            assert!(!log.contains(secret) && !report.contains(secret), "{log}");
        }
        (
            output.status.code(),
            serde_json::from_str(&report).unwrap(),
            log,
        )
    }
}

/// The plan of one worker that copies these images as they are.
fn plan_of(images: &Value) -> Value {
    json!({
        "version": Plan::VERSION,
        "options": PlannedOptions::default(),
        "shards": 1,
        "images": images,
    })
}

/// A source with an image, a destination with TLS and a password, and the plan between them.
async fn setting() -> (DockerRegistry, DockerRegistry, Authority, Value) {
    let authority = Authority::new();
    let issued = authority.issue("127.0.0.1");
    let source = DockerRegistry::plain();
    let destination = DockerRegistry::start(&Settings {
        tls: Some(&issued),
        login: Some(("transship", PASSWORD)),
        ..Settings::default()
    });
    let (pushing, app) = (client(source.host(), &plain()), repository("team/app"));
    push_blob(&pushing, &app, b"{}").await.unwrap();
    push_blob(&pushing, &app, b"layer").await.unwrap();
    let manifest = image(&blob(b"{}"), &blob(b"layer"));
    pushing
        .put_manifest(&app, &manifest, Some(&"v1".parse().unwrap()))
        .await
        .unwrap();
    let plan = plan_of(&json!([{
        "source": format!("{}/team/app:v1", source.host()),
        "access": {"insecure": true},
        "digest": manifest.digest(),
        "destinations": [{
            "reference": format!("{}/mirror/app:v1", destination.host()),
            "access": {"credentials": "push", "certificates": "ca"},
        }],
    }]));
    (source, destination, authority, plan)
}

fn docker_config(host: &str, password: &str) -> String {
    json!({"auths": {host: {"username": "transship", "password": password}}}).to_string()
}

#[tokio::test]
async fn a_plan_is_carried_out_with_mounted_secrets_and_reported() {
    let (_source, destination, authority, plan) = setting().await;
    let pod = Pod::new(&plan);
    pod.mount(
        "credentials",
        "push",
        ".dockerconfigjson",
        &docker_config(destination.host(), PASSWORD),
    );
    pod.mount("certificates", "ca", "ca.crt", &authority.certificate());

    let (code, report, log) = pod.run();

    assert_eq!(code, Some(0), "{log}");
    assert_eq!(
        (&report["imagesCopied"], &report["blobsCopied"]),
        (&json!(1), &json!(2)),
        "{report}"
    );
    assert_eq!(report["failures"], json!([]));
}

#[tokio::test]
async fn failures_are_reported_and_another_pod_is_not_worth_it() {
    let (_source, destination, authority, plan) = setting().await;
    let pod = Pod::new(&plan);
    pod.mount(
        "credentials",
        "push",
        ".dockerconfigjson",
        &docker_config(destination.host(), "wrong"),
    );
    pod.mount("certificates", "ca", "ca.crt", &authority.certificate());

    let (code, report, log) = pod.run();

    assert_eq!(code, Some(i32::from(EXIT_COPIES_FAILED)), "{log}");
    assert_eq!(report["failures"][0]["reason"], "AuthenticationFailed");
    assert_eq!(
        report["failures"][0]["destination"],
        format!("{}/mirror/app:v1", destination.host())
    );
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let (_source, destination, _authority, mut plan) = setting().await;
    let pod = Pod::new(&plan);
    pod.mount(
        "credentials",
        "push",
        "config.json",
        &docker_config(destination.host(), PASSWORD),
    );
    let (code, report, log) = pod.run();
    assert_eq!((code, report), (Some(1), Value::Null));
    assert!(
        log.contains("Secret push: key .dockerconfigjson is missing"),
        "{log}"
    );

    plan["version"] = json!(1);
    let (code, _, log) = Pod::new(&plan).run();
    assert_eq!(code, Some(1));
    assert!(
        log.contains("the plan has version 1, this worker reads version 2"),
        "{log}"
    );
}

/// Sends a signal to a process.
fn send(signal: &str, process: &Child) {
    let status = std::process::Command::new("kill")
        .args([format!("-{signal}"), process.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[rstest]
#[case::killed("KILL", None)]
#[case::told_to_stop("TERM", Some(i32::from(EXIT_INTERRUPTED)))]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_in_a_large_layer_goes_on_when_it_is_started_again(
    #[case] signal: &str,
    #[case] exit_code: Option<i32>,
) {
    const LAYER_BYTES: u64 = 4 * CHUNK_BYTES;
    let (source, destination) = (Registry::start().await, Registry::start().await);
    let layer: Vec<u8> = (0..=250)
        .cycle()
        .take(usize::try_from(LAYER_BYTES).unwrap())
        .collect();
    let digest = source.seed_image("app", Some("v1"), &[&layer]);
    let plan = plan_of(&json!([{
        "source": format!("{}/app:v1", source.host()),
        "access": {"insecure": true},
        "digest": digest,
        "destinations": [{
            "reference": format!("{}/app:v1", destination.host()),
            "access": {"insecure": true},
        }],
    }]));
    let pod = Pod::new(&plan);
    // The third chunk waits in the middle of the blob, where the worker is killed.
    let third = destination.hold_up(Endpoint::Session, |asked| {
        asked
            .header("content-range")
            .is_some_and(|range| range.starts_with("33554432-"))
    });
    let mut worker = pod.start();
    third.wait_for(1).await;
    send(signal, &worker);
    assert_eq!(worker.wait().unwrap().code(), exit_code);
    destination.clear_rules();
    assert_eq!(destination.manifest("app", "v1"), None);

    let started_again = tokio::task::spawn_blocking(move || pod.run());
    let (code, report, log) = started_again.await.unwrap();

    assert_eq!((code, &report["failures"]), (Some(0), &json!([])), "{log}");
    assert!(destination.manifest("app", "v1").is_some());
    // What was acknowledged is sent once. Beside that there is only the chunk that waited: nobody
    // has read it, and it has 16 MiB.
    let chunks = destination.requests().into_iter();
    let chunks = chunks.filter(|asked| asked.header("content-range").is_some());
    let ranges: Vec<_> = chunks
        .map(|asked| {
            (
                asked.header("content-range").unwrap().to_owned(),
                asked.body_bytes,
            )
        })
        .collect();
    let chunk = |first: u64| {
        let begin = first * CHUNK_BYTES;
        (format!("{begin}-{}", begin + CHUNK_BYTES - 1), CHUNK_BYTES)
    };
    assert_eq!(ranges, [chunk(0), chunk(1), chunk(2), chunk(3)]);
    assert_eq!(destination.open_sessions("app"), 0);
    destination.assert_never_incomplete();
}
