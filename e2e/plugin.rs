//! `kubectl transship` as people use it: by kubectl, on mirrors of the cluster.

use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Cluster, Mirror, Namespace, eventually, link_plugin, run, try_run};

const GUIDE: &str = include_str!("../docs/kubectl.md");

/// A namespace that the kubeconfig names, and the plugin on `PATH`.
struct Setting {
    cluster: Cluster,
    namespace: Namespace,
    directory: TempDir,
}

impl Setting {
    async fn new(purpose: &str) -> Self {
        let cluster = Cluster::shared().await;
        let namespace = cluster.namespace(purpose);
        let directory = tempfile::tempdir().unwrap();
        link_plugin(directory.path());
        let setting = Self {
            cluster,
            namespace,
            directory,
        };
        let config = run(&["kubectl", "config", "view", "--raw", "--flatten"]);
        std::fs::write(setting.kubeconfig(), config).unwrap();
        let kubeconfig = format!("--kubeconfig={}", setting.kubeconfig().display());
        let namespace = format!("--namespace={}", setting.namespace.name);
        let set = ["kubectl", &kubeconfig, "config", "set-context", "--current"];
        run(&[&set[..], &[&namespace]].concat());
        setting
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    /// Runs a command in a shell.
    fn shell(&self, command: &str) -> Output {
        let path = std::env::var("PATH").unwrap();
        let output = std::process::Command::new("sh")
            .args(["-e", "-c", command])
            .env("KUBECONFIG", self.kubeconfig())
            .env(
                "PATH",
                format!("{}:{path}", self.directory.path().display()),
            )
            .output()
            .unwrap();
        let kubeconfig = std::fs::read_to_string(self.kubeconfig()).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains(secret_of(&kubeconfig)), "{command}");
        output
    }

    fn succeed(&self, command: &str) -> String {
        let output = self.shell(command);
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A mirror of one image of the plain registry, into it.
    fn mirror(&self, name: &str, tag: &str) -> Mirror<'_> {
        let host = &self.cluster.plain.host;
        let spec = json!({
            "sources": [{"image": format!("{host}/{}", self.source(tag)), "insecure": true}],
            "destinations": [{
                "prefix": format!("{host}/{}", self.namespace.name), "path": "copy", "insecure": true,
            }],
        });
        Mirror::apply(&self.cluster, &self.namespace, name, &spec)
    }

    fn source(&self, tag: &str) -> String {
        format!("{}/source:{tag}", self.namespace.name)
    }

    fn copied(&self, tag: &str) -> Option<String> {
        let name = format!("{}/copy:{tag}", self.namespace.name);
        self.cluster.plain.manifest(&name)
    }

    fn push(&self, image: &str, tag: &str) {
        self.cluster.plain.copy(image, &self.source(tag));
    }
}

/// The key of the administrator, which nothing may print.
fn secret_of(kubeconfig: &str) -> &str {
    let (_, rest) = kubeconfig.split_once("client-key-data: ").unwrap();
    rest.lines().next().unwrap()
}

/// The commands of the fenced blocks.
fn commands_of_guide() -> Vec<&'static str> {
    let lines = GUIDE.lines();
    lines
        .filter(|line| line.starts_with("kubectl transship "))
        .collect()
}

/// The examples of the help of each command.
fn examples(setting: &Setting, command: &str) -> Vec<String> {
    let help = setting.succeed(&format!("kubectl transship {command} --help"));
    let (_, examples) = help.split_once("\nExamples:\n").unwrap();
    examples
        .lines()
        .map_while(|line| line.strip_prefix("  "))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_command_of_the_guide_and_of_the_help_works() {
    let setting = Setting::new("plugin-guide").await;
    setting.push("library/busybox:1", "1");
    setting.mirror("alpine", "1");
    setting.succeed("kubectl transship wait alpine --timeout 2m");
    let guide = commands_of_guide();
    assert!(guide.len() >= 10, "{guide:?}");
    for command in guide {
        setting.succeed(command);
    }
    for command in ["", "get", "images", "sync", "wait", "suspend", "resume"] {
        let examples = examples(&setting, command);
        assert!(examples.len() > 1, "{command}: {examples:?}");
        for example in examples {
            setting.succeed(&example.replace("platform", &setting.namespace.name));
        }
    }
}

#[tokio::test]
async fn sync_waits_until_what_was_asked_for_is_there() {
    let setting = Setting::new("plugin-sync").await;
    setting.push("library/busybox:1", "1");
    setting.mirror("base", "1").wait_ready().await;
    setting.push("library/debian:12", "1");
    let output = setting.shell("kubectl transship sync base --wait --timeout 2m");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"");
    let source = setting.cluster.plain.manifest(&setting.source("1"));
    assert!(source.is_some());
    assert_eq!(setting.copied("1"), source);

    // Flux's way of asking, with a value that is greater than any time.
    setting.namespace.kubectl(&[
        "annotate",
        "imir/base",
        "reconcile.fluxcd.io/requestedAt=zzz",
    ]);
    setting.push("library/busybox:1", "1");
    setting.succeed("kubectl transship sync base --wait --timeout 2m");
    assert_eq!(
        setting.copied("1"),
        setting.cluster.plain.manifest("library/busybox:1")
    );
}

#[tokio::test]
async fn a_mirror_that_needs_somebody_ends_the_wait_and_is_explained() {
    let setting = Setting::new("plugin-stalled").await;
    setting.push("library/busybox:1", "1");
    let mirror = setting.mirror("base", "none");
    let waited = setting.shell("kubectl transship wait base --timeout 2m");
    assert_eq!(waited.status.code(), Some(10), "{waited:?}");
    let said = String::from_utf8(waited.stderr).unwrap();
    assert!(said.contains("failed: SourceNotFound"), "{said}");
    mirror.wait_failed("SourceNotFound", true).await;

    let table = setting.succeed("kubectl transship get");
    assert!(
        table.contains("base   False   0/1      SourceNotFound"),
        "{table}"
    );
    assert!(
        table.contains("/base has stalled until somebody mends it"),
        "{table}"
    );
    let images = setting.succeed("kubectl transship images base --state failed -o json");
    let images: Value = serde_json::from_str(&images).unwrap();
    assert_eq!(images["images"][0]["reason"], "SourceNotFound");
    let synced = setting.shell("kubectl transship sync base --wait --timeout 2m");
    assert_eq!(synced.status.code(), Some(10), "{synced:?}");

    // Mended: the scan that was asked for says so, although the mirror has stalled before.
    setting.push("library/busybox:1", "none");
    setting.succeed("kubectl transship sync base --wait --timeout 2m");
    let table = setting.succeed("kubectl transship get base");
    assert!(
        table.contains("base   True    1/1      Succeeded"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 2, "{table}");
}

#[tokio::test]
async fn a_suspension_is_a_field_of_its_own_manager_and_git_is_named() {
    let setting = Setting::new("plugin-suspend").await;
    setting.push("library/busybox:1", "1");
    let mirror = setting.mirror("base", "1");
    mirror.wait_ready().await;
    setting.namespace.kubectl(&[
        "annotate",
        "imir/base",
        "argocd.argoproj.io/tracking-id=shop:transship.dev/ImageMirror:x/base",
    ]);
    let suspended = setting.shell("kubectl transship suspend base");
    assert!(suspended.status.success(), "{suspended:?}");
    let said = String::from_utf8(suspended.stderr).unwrap();
    assert!(
        said.contains("Argo CD (Application shop) manages"),
        "{said}"
    );
    let object = mirror.get().await;
    assert!(object.spec.suspend);
    let fields = object.metadata.managed_fields.unwrap();
    let ours = fields
        .iter()
        .find(|entry| entry.manager.as_deref() == Some("kubectl-transship"))
        .unwrap();
    let owned = serde_json::to_value(ours.fields_v1.as_ref().unwrap()).unwrap();
    assert_eq!(owned, json!({"f:spec": {"f:suspend": {}}}));

    let waited = setting.shell("kubectl transship wait base --timeout 2m");
    assert_eq!(waited.status.code(), Some(1), "{waited:?}");
    assert!(
        setting
            .succeed("kubectl transship get")
            .contains("suspended")
    );
    setting.push("library/debian:12", "1");
    setting.succeed("kubectl transship resume base");
    setting.succeed("kubectl transship wait base --timeout 2m");
    setting.succeed("kubectl transship sync base --wait --timeout 2m");
    assert_eq!(
        setting.copied("1"),
        setting.cluster.plain.manifest("library/debian:12")
    );
}

#[tokio::test]
async fn somebody_without_rights_is_told_what_is_missing() {
    let setting = Setting::new("plugin-rights").await;
    let namespace = format!("--namespace={}", setting.namespace.name);
    // Its account is made soon after the namespace.
    let token = eventually("a token", || async {
        try_run(&["kubectl", "create", "token", "default", &namespace])
    })
    .await;
    let token = token.trim();
    let kubeconfig = setting.kubeconfig();
    let config = format!("--kubeconfig={}", kubeconfig.display());
    let token_argument = format!("--token={token}");
    run(&[
        "kubectl",
        &config,
        "config",
        "set-credentials",
        "nobody",
        &token_argument,
    ]);
    let user = ["kubectl", &config, "config", "set-context", "--current"];
    run(&[&user[..], &["--user=nobody"]].concat());
    let output = setting.shell("kubectl transship get");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("the API server refused: imagemirrors.transship.dev is forbidden"),
        "{said}"
    );
    assert!(!said.contains(token), "{said}");
}
