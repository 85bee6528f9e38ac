//! The two stages of a build as its pod runs them: files in, exit code and report out.

#![expect(
    clippy::indexing_slicing,
    reason = "what tests share fails like a test: by panicking"
)]

mod contexts;
mod hostile;
mod images;
mod memory;
mod output;
mod publishing;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;
use transship::build::{BuildPlan, PLAN_FILE};
use transship::packed;
use transship::worker::EXIT_COPIES_FAILED;

/// What must be found nowhere but where it was put.
const PASSWORD: &str = "canary-91c4-password";

/// The volumes and mounts of a pod.
struct Pod {
    directory: TempDir,
}

/// How a stage ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    report: Value,
    log: String,
}

impl Ended {
    /// What the stage did.
    fn succeeded(self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.log);
        self.report["succeeded"].clone()
    }

    /// Why it did not.
    fn failed(self) -> Value {
        assert_eq!(
            self.code,
            Some(i32::from(EXIT_COPIES_FAILED)),
            "{}",
            self.log
        );
        self.report["failed"].clone()
    }
}

impl Pod {
    fn new(plan: &Value) -> Self {
        let pod = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        std::fs::write(pod.path(PLAN_FILE), packed::pack(plan).unwrap()).unwrap();
        for name in ["workspace", "scratch", "out", "sbom"] {
            std::fs::create_dir(pod.path(name)).unwrap();
        }
        pod
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn context(&self, name: &str) -> PathBuf {
        self.path("workspace/context").join(name)
    }

    /// Mounts a Secret with some keys.
    fn mount(&self, kind: &str, secret: &str, entries: &[(&str, &str)]) {
        let directory = self.path(kind).join(secret);
        std::fs::create_dir_all(&directory).unwrap();
        for (key, value) in entries {
            std::fs::write(directory.join(key), value).unwrap();
        }
    }

    async fn fetch(&self) -> Ended {
        let ended = self
            .run("build-fetch", &["workspace", "files", "scratch"])
            .await;
        // Of what was needed meanwhile, nothing is left for whoever comes next.
        assert_eq!(std::fs::read_dir(self.path("scratch")).unwrap().count(), 0);
        let left = std::fs::read_dir(self.path("workspace")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        let is_expected = |name: &OsString| name == "context" || name == "source-date-epoch";
        assert!(left.iter().all(is_expected), "{left:?}");
        ended
    }

    async fn publish(&self) -> Ended {
        self.run("build-publish", &["output", "sbom"]).await
    }

    /// Writes a file, in the place of another container.
    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Runs a stage with the directories of the pod. It does not hold up the servers of the test.
    async fn run(&self, stage: &str, directories: &[&str]) -> Ended {
        let argument = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut arguments = vec![
            stage.to_owned(),
            argument("plan", &self.path(PLAN_FILE)),
            argument("credentials", &self.path("credentials")),
            argument("certificates", &self.path("certificates")),
            argument("termination-log", &self.path("report")),
            "--log-format=json".to_owned(),
            "--log-level=trace".to_owned(),
        ];
        for name in directories {
            let path = self.path(if *name == "output" { "out" } else { name });
            arguments.push(argument(name, &path));
        }
        if stage == "build-fetch" {
            arguments.push(argument("context", &self.context("")));
            let file = self.path("workspace/source-date-epoch");
            arguments.push(argument("source-date-epoch", &file));
        }
        let report = self.path("report");
        let running = tokio::task::spawn_blocking(move || {
            let mut command = Command::cargo_bin("transship").unwrap();
            let output = command.args(arguments).env_clear().output().unwrap();
            let log = String::from_utf8(output.stderr).unwrap();
            let report = std::fs::read_to_string(report).unwrap_or_else(|_| "null".to_owned());
            assert!(
                !log.contains(PASSWORD) && !report.contains(PASSWORD),
                "{log}"
            );
            Ended {
                code: output.status.code(),
                report: serde_json::from_str(&report).unwrap(),
                log,
            }
        });
        running.await.unwrap()
    }
}

/// A plan; what is not said is not used.
fn plan(source: &Value, output: &Value) -> Value {
    json!({"version": BuildPlan::VERSION, "source": source, "output": output})
}

/// The plan of a test that publishes nothing.
fn plan_to_fetch(source: &Value) -> Value {
    plan(source, &output_to("registry.test", &json!({})))
}

/// The plan of a test that fetches nothing.
fn plan_to_publish(host: &str, changes: &Value) -> Value {
    plan(&json!("files"), &output_to(host, changes))
}

/// An output at a registry, with other members as in `changes`.
fn output_to(host: &str, changes: &Value) -> Value {
    let mut output = json!({
        "registry": host,
        "repository": "team/app",
        "tags": ["main", "v1"],
        "access": {"insecure": true},
        "image": "layout",
    });
    for (name, value) in changes.as_object().unwrap() {
        output[name] = value.clone();
    }
    output
}
