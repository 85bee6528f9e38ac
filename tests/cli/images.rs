//! The commands that copy and look, against real registries, with skopeo's reading beside ours.

use serde_json::{Value, json};
use tempfile::TempDir;
use transship::registry::ManifestReference;

use super::{publish, run, skopeo, stderr, stdout, transship};
use crate::support::docker_registry::DockerRegistry;
use crate::support::{client, plain, repository};

#[tokio::test]
async fn a_copy_is_the_same_for_skopeo_and_costs_nothing_the_second_time() {
    let (source, destination) = (DockerRegistry::plain(), DockerRegistry::plain());
    let published = publish(&client(source.host(), &plain()), "app").await;
    let from = format!("{}/app:1", source.host());
    let to = format!("docker://{}/mirror/app:1", destination.host());

    let first = run(&["copy", &from, &to]);
    let expected = format!(
        "{}/mirror/app:1@{}\n",
        destination.host(),
        published.index.digest()
    );
    assert_eq!(stdout(&first), expected);
    let read = skopeo(&["inspect", "--tls-verify=false", "--raw", &to]);
    assert_eq!(read, published.index.bytes().to_vec());

    let second = run(&["copy", "--json", &from, &to]);
    let lines: Vec<Value> = stdout(&second)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["unchanged"], json!(true));
    assert_eq!(lines[0]["digest"], json!(published.index.digest()));
    assert_eq!(
        lines[1]["totals"],
        json!({
            "copied": 0, "unchanged": 1, "kept": 0, "failed": 0,
            "blobsSent": 0, "blobsMounted": 0, "blobsExisting": 0, "bytesSent": 0,
            "bytesRecompressed": 0,
        })
    );
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_sent_and_sends_nothing() {
    let (source, destination) = (DockerRegistry::plain(), DockerRegistry::plain());
    let published = publish(&client(source.host(), &plain()), "app").await;
    let from = format!("{}/app:1", source.host());
    let to = format!("{}/app:1", destination.host());
    let plan = || {
        let output = stdout(&run(&["copy", "--dry-run", "--json", &from, &to]));
        let line: Value = serde_json::from_str(output.lines().next().unwrap()).unwrap();
        line["missing"].clone()
    };
    let planned = plan();
    assert_eq!(planned["inPlace"], json!(false));
    assert_eq!(planned["blobs"], json!(5));
    let there = client(destination.host(), &plain())
        .head_manifest(
            &repository("app"),
            ManifestReference::Digest(published.index.digest()),
        )
        .await
        .unwrap();
    assert_eq!(there, None);

    let copied = stdout(&run(&["copy", "--json", &from, &to]));
    let totals: Value = serde_json::from_str(copied.lines().last().unwrap()).unwrap();
    assert_eq!(totals["totals"]["bytesSent"], planned["bytes"]);
    assert_eq!(totals["totals"]["blobsSent"], planned["blobs"]);
    assert_eq!(plan(), json!({"inPlace": true, "blobs": 0, "bytes": 0}));
}

#[tokio::test]
async fn a_plan_for_one_platform_is_what_the_copy_does() {
    let (source, destination) = (DockerRegistry::plain(), DockerRegistry::plain());
    publish(&client(source.host(), &plain()), "app").await;
    let from = format!("{}/app:1", source.host());
    let to = format!("{}/app:1", destination.host());
    let lines = |options: &[&str]| -> Vec<Value> {
        let mut command = transship(&["copy", "--json", "--platform", "linux/arm64"]);
        let output = command.args(options).args([&from, &to]).output().unwrap();
        stdout(&output)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let planned = lines(&["--dry-run"]);
    assert_eq!(planned[0]["missing"]["blobs"], json!(3));
    assert_ne!(planned[0]["digest"], planned[0]["sourceDigest"]);
    let copied = lines(&[]);
    assert_eq!(copied[0]["digest"], planned[0]["digest"]);
    for total in ["copied", "blobsSent", "bytesSent"] {
        assert_eq!(copied[1]["totals"][total], planned[1]["totals"][total]);
    }
    assert_eq!(lines(&["--dry-run"])[0]["missing"]["inPlace"], json!(true));
    let index = stdout(&run(&["inspect", "--raw", &to]));
    assert!(
        !index.contains("amd64") && index.contains("arm64"),
        "{index}"
    );
}

#[tokio::test]
async fn one_failure_does_not_stop_the_rest() {
    let (source, destination) = (DockerRegistry::plain(), DockerRegistry::plain());
    publish(&client(source.host(), &plain()), "app").await;
    let directory = tempfile::tempdir().unwrap();
    let file = mirror_file(
        &directory,
        &[
            &format!("{}/app:1", source.host()),
            &format!("{}/app:absent", source.host()),
        ],
        &format!("{}/mirror", destination.host()),
    );
    let output = run(&["sync", "-f", &file, "--json"]);
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let totals: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(totals["totals"]["copied"], json!(1));
    assert_eq!(totals["totals"]["failed"], json!(1));
    assert!(text.contains("\"reason\":\"SourceNotFound\""), "{text}");
    assert!(stderr(&output).contains("app:absent"), "{output:?}");
    let path = source.host().replace(':', "_");
    let copied = format!("{}/mirror/{path}/app:1", destination.host());
    assert!(run(&["digest", &copied]).status.success());
}

/// A file with an `ImageMirror` of these images; its name.
pub(super) fn mirror_file(directory: &TempDir, images: &[&str], prefix: &str) -> String {
    let sources: Vec<_> = images.iter().map(|image| json!({"image": image})).collect();
    let mirror = json!({
        "apiVersion": "transship.dev/v1alpha1",
        "kind": "ImageMirror",
        "metadata": {"name": "base"},
        "spec": {"sources": sources, "destinations": [{"prefix": prefix}]},
    });
    let path = directory.path().join("mirror.yaml");
    // JSON is YAML.
    std::fs::write(&path, mirror.to_string()).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn an_image_is_shown_as_it_is() {
    let registry = DockerRegistry::plain();
    let published = publish(&client(registry.host(), &plain()), "app").await;
    let image = format!("{}/app:1", registry.host());
    let drawn = stdout(&run(&["inspect", &image]));
    let mut lines = drawn.lines();
    assert_eq!(lines.next(), Some(image.as_str()));
    assert!(drawn.contains("├─ linux/amd64 image"), "{drawn}");
    assert!(drawn.contains("│  ├─ config"), "{drawn}");
    assert!(drawn.contains("   └─ layer tar"), "{drawn}");
    assert!(drawn.contains(published.amd64.digest().as_str()), "{drawn}");
    assert!(
        lines.last().unwrap().starts_with("total: 3 manifests, "),
        "{drawn}"
    );
    assert!(drawn.ends_with("in 5 different blobs\n"), "{drawn}");

    let raw = run(&["inspect", "--raw", &image]);
    assert_eq!(raw.stdout, published.index.bytes().to_vec());
    let one = run(&["inspect", "--raw", "--platform", "linux/amd64", &image]);
    assert_eq!(one.stdout, published.amd64.bytes().to_vec());
    let config = stdout(&run(&[
        "inspect",
        "--config",
        "--platform",
        "linux/arm64",
        &image,
    ]));
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["architecture"], json!("arm64"));
    let tree: Value = serde_json::from_str(&stdout(&run(&["inspect", "--json", &image]))).unwrap();
    assert_eq!(tree["digest"], json!(published.index.digest()));
    assert_eq!(
        tree["manifests"][0]["layers"][0]["digest"],
        json!(published.shared_layer)
    );
    let other = run(&["inspect", "--config", "--platform", "linux/s390x", &image]);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        stderr(&other).contains("linux/amd64, linux/arm64"),
        "{other:?}"
    );
}

#[tokio::test]
async fn every_damaged_object_is_named() {
    let registry = DockerRegistry::plain();
    let published = publish(&client(registry.host(), &plain()), "app").await;
    let image = format!("{}/app:1", registry.host());
    let sound = run(&["verify", &image]);
    assert_eq!(stdout(&sound), "");
    assert!(stderr(&sound).contains("8 objects"), "{sound:?}");

    registry.corrupt(&published.shared_layer);
    registry.lose(published.amd64.digest());
    let damaged = run(&["verify", &image]);
    assert_eq!(damaged.status.code(), Some(1));
    let text = String::from_utf8(damaged.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    for digest in [published.amd64.digest(), &published.shared_layer] {
        assert!(text.contains(&format!("{digest}: ")), "{text}");
    }
}

#[tokio::test]
async fn exactly_what_is_named_is_deleted() {
    let registry = DockerRegistry::plain();
    let client = client(registry.host(), &plain());
    let published = publish(&client, "app").await;
    let image = format!("{}/app", registry.host());

    let unnamed = run(&["delete", &image]);
    assert_eq!(unnamed.status.code(), Some(1));
    // This registry cannot delete a tag, and the manifest is not what was named.
    let tag = run(&["delete", &format!("{image}:1")]);
    assert_eq!(tag.status.code(), Some(1), "{tag:?}");
    assert!(stderr(&tag).contains("name the digest"), "{tag:?}");
    assert!(run(&["digest", &format!("{image}:1")]).status.success());

    let by_digest = format!("{image}@{}", published.index.digest());
    assert!(run(&["delete", &by_digest]).status.success());
    assert_eq!(
        run(&["digest", &format!("{image}:1")]).status.code(),
        Some(1)
    );
    let child = format!("{image}@{}", published.amd64.digest());
    assert!(run(&["digest", &child]).status.success());
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_not_one_without_tags() {
    let registry = DockerRegistry::plain();
    publish(&client(registry.host(), &plain()), "app").await;
    let absent = format!("{}/absent", registry.host());
    let copy = format!("{}/copy", registry.host());
    for arguments in [
        &["list-tags", &absent][..],
        &["copy", "--all-tags", &absent, &copy],
        &["verify", "--all-tags", &absent],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            stderr(&output).contains("has no repository absent"),
            "{output:?}"
        );
    }
    let tags = run(&["list-tags", &format!("{}/app", registry.host())]);
    assert_eq!(stdout(&tags), "1\n");
}

#[tokio::test]
async fn a_layout_is_verified_with_every_image_in_it_and_one_failure_does_not_hide_the_rest() {
    let registry = DockerRegistry::plain();
    let published = publish(&client(registry.host(), &plain()), "app").await;
    let directory = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}", directory.path().join("layout").display());
    for (platform, place) in [
        ("linux/amd64", format!("{layout}:one")),
        // Without a name.
        ("linux/arm64", layout.clone()),
    ] {
        let from = format!("{}/app:1", registry.host());
        let options = ["--index-policy", "none", "--platform", platform];
        let mut command = transship(&["copy", &from, &place]);
        stdout(&command.args(options).output().unwrap());
    }
    let sound = run(&["verify", &layout]);
    assert_eq!(stdout(&sound), "");
    assert!(stderr(&sound).contains("7 objects"), "{sound:?}");

    let hex = published
        .shared_layer
        .as_str()
        .strip_prefix("sha256:")
        .unwrap();
    let file = directory.path().join("layout/blobs/sha256").join(hex);
    std::fs::write(&file, "another layer..").unwrap();
    let output = run(&["verify", "--json", "oci:/nowhere", &layout]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines[0]["error"].as_str().unwrap().contains("oci:/nowhere"));
    assert_eq!(
        lines[1]["result"]["faults"][0]["digest"],
        json!(published.shared_layer)
    );
    assert_eq!(lines[1]["result"]["sound"], json!(6));
}

#[tokio::test]
async fn every_error_names_the_next_step() {
    let registry = DockerRegistry::plain();
    publish(&client(registry.host(), &plain()), "app").await;
    let image = |name: &str| format!("{}/{name}", registry.host());
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("mirror.yaml"), "kind: [\ncanary: 1\n").unwrap();
    for (arguments, code, step) in [
        (
            vec!["inspect", &image("app:absent")],
            1,
            "transship list-tags",
        ),
        (
            vec!["digest", &image("app:absent")],
            1,
            "transship list-tags",
        ),
        (
            vec!["copy", &image("app:absent"), &image("b")],
            10,
            "transship list-tags",
        ),
        (
            vec!["copy", &format!("http://{}", image("app:1")), &image("b")],
            1,
            "leave out http://",
        ),
        (vec!["delete", &image("app")], 1, "@DIGEST"),
        (
            vec!["inspect", "--config", &image("app:1")],
            1,
            "--platform",
        ),
        (
            vec!["inspect", &format!("oci:{}", path("absent"))],
            1,
            "check the path",
        ),
        (
            vec!["inspect", &format!("dir:{}", path("absent"))],
            1,
            "check the path",
        ),
        (
            vec![
                "copy",
                &image("app:1"),
                &format!("docker-archive:{}", path("a.tar")),
            ],
            10,
            "--platform",
        ),
        (vec!["list-tags", "dir:a"], 1, "name a repository"),
        (vec!["sync", "-f", &path("mirror.yaml")], 1, "at line 1"),
        (vec!["digest", ""], 1, "HOST/REPOSITORY"),
    ] {
        let output = run(&arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        let sum = usize::from(code == 10);
        assert_eq!(text.lines().count(), 1 + sum, "{arguments:?}: {text}");
        assert!(text.contains(step), "{arguments:?}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn completion_scripts_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&run(&["completion", shell]));
        assert!(script.contains("list-tags"), "{shell}");
    }
}

#[test]
fn an_interrupted_command_ends_at_once_with_its_own_exit_code() {
    for command in [
        &["digest", "IMAGE"][..],
        &["copy", "IMAGE", "IMAGE"],
        &["copy", "--dry-run", "IMAGE", "IMAGE"],
    ] {
        // It takes connections and never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let image = format!("{}/a:1", silent.local_addr().unwrap());
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("transship"))
            .args(command.iter().map(|word| word.replace("IMAGE", &image)))
            .env_clear()
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let _connection = silent.accept().unwrap();
        let interrupted = std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(interrupted.success());
        assert_eq!(child.wait().unwrap().code(), Some(11), "{command:?}");
    }
}

#[test]
fn usage_errors_have_their_own_exit_code() {
    for arguments in [
        &["copy", "a.test/b"][..],
        &["copy", "a.test/b", "c.test/d", "--index-policy", "sparse"],
        &["inspect", "--raw", "--config", "a.test/b"],
        &["digest", "--creds-file", "a", "--authfile", "b", "a.test/b"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for arguments in [
        &["digest", "oci:images"][..],
        &["list-tags", "a.test/b:1"],
        &["digest", "--ca-file", "/nowhere.pem", "a.test/b"],
        // Not PEM.
        &["digest", "--ca-file", "Cargo.toml", "a.test/b"],
        &[
            "copy",
            "a.test/b",
            "c.test/d",
            "--src-creds-file",
            "-",
            "--dest-creds-file",
            "-",
        ],
        &["sync", "-f", "/nowhere/mirror.yaml"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
    }
}
