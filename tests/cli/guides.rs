//! The commands of the guides and of the help: each is taken from where people read it, and run.
//!
//! A host that a guide names stands for a registry of the test, which holds the images that the guide
//! takes for granted.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rstest::rstest;
use serde_json::json;
use tempfile::TempDir;
use transship::oci::{Digest, MediaType};

use super::transship;
use crate::support::docker_daemon::DockerDaemon;
use crate::support::registry::Registry;
use crate::transports::images::Image;
use crate::verify::scene::sign_by_referrer;
use crate::verify::signer::{Request, World};

const CLI: &str = include_str!("../../docs/cli.md");
const SKOPEO: &str = include_str!("../../docs/skopeo.md");
const KUBECTL: &str = include_str!("../../docs/kubectl.md");
const BUILDS: &str = include_str!("../../docs/guides/build.md");
const README: &str = include_str!("../../README.md");

/// Two registries, the files that guides speak of, and the programs that they call.
struct Scene {
    source: Registry,
    destination: Registry,
    /// The index that every tag of the source names.
    image: Digest,
    directory: TempDir,
    daemon: Option<DockerDaemon>,
}

impl Scene {
    async fn start(commands: &[String]) -> Self {
        let (source, destination) = (Registry::start().await, Registry::start().await);
        let mut image = None;
        for (repository, tags) in [
            ("app", &["1", "2"][..]),
            ("org/app", &["1"]),
            ("library/alpine", &["3.22"]),
        ] {
            image = Some(seed(&source, repository, tags));
        }
        seed(&destination, "app", &["1", "old"]);
        seed(&destination, "team/app", &["1"]);
        let needs_daemon = commands
            .iter()
            .any(|command| command.contains("docker-daemon:"));
        let scene = Self {
            source,
            destination,
            image: image.unwrap(),
            directory: tempfile::tempdir().unwrap(),
            daemon: if needs_daemon {
                Some(DockerDaemon::start().await)
            } else {
                None
            },
        };
        scene.write_files().await;
        let needs_signatures = commands
            .iter()
            .any(|command| command.contains("--verify-key"));
        if needs_signatures {
            scene.sign().await;
        }
        scene
    }

    /// Signs the images with the key and by the workflow that the guides name.
    async fn sign(&self) {
        let world = World::make(&[
            Request {
                log: "v1",
                ..Request::by_key(&self.image, "simple", "p256")
            },
            Request {
                issuer: "https://token.actions.githubusercontent.com",
                subject: "https://github.com/org/app/.github/workflows/release.yaml@refs/tags/v1",
                ..Request::by_identity(&self.image, "simple")
            },
        ])
        .await;
        for (registry, repository) in [
            (&self.source, "app"),
            (&self.source, "library/alpine"),
            (&self.destination, "app"),
        ] {
            for made in &world.signatures {
                sign_by_referrer(registry, repository, &self.image, made, &json!({}));
            }
        }
        std::fs::write(self.path("cosign.pub"), world.key("p256")).unwrap();
        let root = world.trusted_root.to_string();
        std::fs::write(self.path("trusted_root.json"), root).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn write_files(&self) {
        for directory in ["bin", "completions", ".config/fish/completions", "crds"] {
            std::fs::create_dir_all(self.path(directory)).unwrap();
        }
        let binary = assert_cmd::cargo::cargo_bin("transship");
        std::os::unix::fs::symlink(binary, self.path("bin/transship")).unwrap();
        // What a cluster would answer and take.
        let kubectl = self.path("bin/kubectl");
        let script = "#!/bin/sh\ncase $1 in get) cat mirror.yaml;; *) cat > applied;; esac\n";
        std::fs::write(&kubectl, script).unwrap();
        std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(self.path("user-and-password"), "user:password\n").unwrap();
        let mirror = json!({
            "apiVersion": "transship.dev/v1alpha1",
            "kind": "ImageMirror",
            "metadata": {"name": "base", "uid": "1", "managedFields": []},
            "spec": {
                "sources": [{"image": format!("{}/app:1", self.source.host())}],
                "destinations": [{"prefix": format!("{}/mirror", self.destination.host())}],
            },
            "status": {"observedGeneration": 1},
        });
        // JSON is YAML.
        std::fs::write(self.path("mirror.yaml"), mirror.to_string()).unwrap();
        for place in ["oci-archive:bundle.tar:v1", "oci:images:alpine-3.22"] {
            let command = format!("transship copy a.example/app:1 {place}");
            assert_success(&command, &self.run(&command).await);
        }
    }

    /// The command with the test's registries in place of those that the guide names.
    fn here(&self, command: &str) -> String {
        let (source, destination) = (self.source.host(), self.destination.host());
        let replaced = command
            .replace(" alpine", &format!(" {source}/library/alpine"))
            .replace("quay.io", source)
            .replace("a.example", source)
            .replace("b.example", destination)
            .replace("registry.example", destination)
            .replace("localhost:5000", destination)
            .replace("DIGEST", self.image.as_str());
        // What is in a shell's own directories.
        replaced
            .replace("/etc/bash_completion.d", "completions")
            .replace("${fpath[1]}", "completions")
    }

    async fn run(&self, command: &str) -> Output {
        let mut shell = tokio::process::Command::new("sh");
        shell
            .args(["-e", "-c", &self.here(command)])
            .current_dir(&self.directory)
            .env_clear()
            .env("HOME", self.directory.path())
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .stdin(Stdio::null());
        if let Some(daemon) = &self.daemon {
            shell.env("DOCKER_HOST", daemon.host());
        }
        shell.output().await.unwrap()
    }

    async fn run_all(&self, commands: &[String]) {
        for command in commands {
            assert_success(command, &self.run(command).await);
        }
        self.source.assert_never_incomplete();
        self.destination.assert_never_incomplete();
    }
}

fn assert_success(command: &str, output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
    // In a pipe, the shell does not tell.
    assert!(
        !errors.contains("Error:") && !errors.contains("not found"),
        "{command}: {errors}"
    );
}

/// Puts an index of two platforms, whose images share a layer, under each tag.
fn seed(registry: &Registry, repository: &str, tags: &[&str]) -> Digest {
    let entries: Vec<_> = ["amd64", "arm64"]
        .iter()
        .map(|architecture| {
            let image = Image::with_files(&["shared", architecture]);
            let digest = image.seed(registry, repository, architecture);
            let manifest = registry.manifest(repository, digest.as_str()).unwrap();
            json!({
                "mediaType": MediaType::OCI_MANIFEST, "digest": digest,
                "size": manifest.bytes.len(),
                "platform": {"os": "linux", "architecture": architecture},
            })
        })
        .collect();
    let index = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries,
    });
    let digests: Vec<_> = tags
        .iter()
        .map(|tag| registry.seed_manifest(repository, Some(tag), &index))
        .collect();
    digests.into_iter().next().unwrap()
}

/// The commands of the fenced blocks and of the indented ones.
fn commands_of_blocks(page: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut is_fenced = false;
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            is_fenced = !is_fenced && language == "sh";
            continue;
        }
        let code = if is_fenced {
            Some(line)
        } else {
            line.strip_prefix("    ")
        };
        let code = code.unwrap_or_default().trim();
        if code
            .split(['|', ';'])
            .any(|part| part.trim().starts_with("transship "))
        {
            commands.push(code.to_owned());
        }
    }
    commands
}

/// The last cells of the tables that are a command of ours.
fn commands_of_tables(page: &str) -> Vec<String> {
    page.lines()
        .filter_map(|line| line.strip_suffix("` |")?.rsplit_once("| `transship "))
        .map(|(_, command)| format!("transship {command}"))
        .collect()
}

/// The examples of a help text.
fn examples_of_help(command: &str) -> Vec<String> {
    let arguments: Vec<_> = [command, "--help"]
        .into_iter()
        .filter(|argument| !argument.is_empty())
        .collect();
    let output = transship(&arguments).output().unwrap();
    let help = super::stdout(&output);
    let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_default();
    examples
        .lines()
        .take_while(|line| line.starts_with("  "))
        .map(|line| line.trim().to_owned())
        .collect()
}

#[rstest]
#[case::cli(commands_of_blocks(CLI), 12)]
#[case::readme(commands_of_blocks(README), 4)]
#[case::skopeo(commands_of_tables(SKOPEO), 18)]
#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_a_guide_works(#[case] commands: Vec<String>, #[case] at_least: usize) {
    assert!(commands.len() >= at_least, "{commands:?}");
    Scene::start(&commands).await.run_all(&commands).await;
}

#[rstest]
#[case("")]
#[case("copy")]
#[case("convert")]
#[case("sync")]
#[case("inspect")]
#[case("list-tags")]
#[case("digest")]
#[case("verify")]
#[case("delete")]
#[case("completion")]
#[case("crds")]
#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_help_works(#[case] command: &str) {
    let commands = examples_of_help(command);
    assert!(commands.len() > 1, "{command}: {commands:?}");
    Scene::start(&commands).await.run_all(&commands).await;
}

/// A command that is not in the table of the page, or of which no example is given, is not found.
#[test]
fn the_page_names_every_command_and_shows_each() {
    let shown = commands_of_blocks(CLI).join("\n");
    for name in commands(&["--help"]) {
        assert!(CLI.contains(&format!("| `{name}")), "{name}");
        // The guide to the plugin shows its commands, and an end-to-end test runs them.
        let is_shown = name == "kubectl" || shown.contains(&format!("transship {name}"));
        assert!(is_shown, "{name}");
    }
    for name in commands(&["kubectl", "--help"]) {
        assert!(KUBECTL.contains(&format!("`{name} ")), "{name}");
        let shown = format!("kubectl transship {name} ");
        let is_shown = KUBECTL.contains(&format!("\n{shown}")) || BUILDS.contains(&shown);
        assert!(is_shown, "{name}");
    }
}

/// The commands for people that a help text lists.
fn commands(arguments: &[&str]) -> Vec<String> {
    let help = super::stdout(&transship(arguments).output().unwrap());
    let (_, list) = help.split_once("Commands:\n").unwrap();
    list.lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| {
            ![
                "help",
                "controller",
                "worker",
                "build-fetch",
                "build-publish",
            ]
            .contains(name)
        })
        .map(str::to_owned)
        .collect()
}

/// Where the first-time reader's path of a guide leads is what the guide says.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_a_guide_leaves_what_it_promises() {
    let command = commands_of_tables(SKOPEO)
        .into_iter()
        .find(|command| command.starts_with("transship copy a.example/app:1 b.example"))
        .unwrap();
    let scene = Scene::start(&[]).await;
    scene.run_all(&[command]).await;
    let copied = scene.destination.manifest("app", "1").unwrap();
    assert_eq!(Digest::sha256(&copied.bytes), scene.image);
    assert!(Path::new(&scene.path("images/oci-layout")).exists());
}
