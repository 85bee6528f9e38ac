//! Where the command line finds credentials, and what it does when a helper has none.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{publish, skopeo, stderr, stdout, transship};
use crate::support::docker_registry::{DockerRegistry, Settings};
use crate::support::{client, plain_with};

#[tokio::test]
async fn credentials_come_from_every_place_that_tools_log_in_to() {
    let registry = DockerRegistry::start(&Settings {
        login: Some(("user", "se:cret")),
        ..Settings::default()
    });
    let published = publish(
        &client(registry.host(), &plain_with("user", "se:cret")),
        "app",
    )
    .await;
    let image = format!("{}/app:1", registry.host());
    let directory = tempfile::tempdir().unwrap();
    let expected = format!("{}\n", published.index.digest());
    let digest = |options: &[&str]| {
        let mut command = transship(&["digest", &image]);
        command.args(options);
        command
    };

    let anonymous = digest(&[]).output().unwrap();
    assert_eq!(anonymous.status.code(), Some(1));
    assert!(
        stderr(&anonymous).contains("wants credentials"),
        "{anonymous:?}"
    );

    let pair = write(&directory, "pair", "user:se:cret\n");
    assert_eq!(
        stdout(&digest(&["--creds-file", &pair]).output().unwrap()),
        expected
    );
    let piped = digest(&["--creds-file", "-"])
        .write_stdin("user:se:cret")
        .output();
    assert_eq!(stdout(&piped.unwrap()), expected);

    // As skopeo writes it.
    let authfile = directory.path().join("auth.json").display().to_string();
    skopeo(&[
        "login",
        "--tls-verify=false",
        "--authfile",
        &authfile,
        "-u",
        "user",
        "-p",
        "se:cret",
        registry.host(),
    ]);
    assert_eq!(
        stdout(&digest(&["--authfile", &authfile]).output().unwrap()),
        expected
    );
    let by_variable = digest(&[]).env("REGISTRY_AUTH_FILE", &authfile).output();
    assert_eq!(stdout(&by_variable.unwrap()), expected);
    for (variable, path) in [
        ("XDG_RUNTIME_DIR", "one/containers/auth.json"),
        ("XDG_CONFIG_HOME", "two/containers/auth.json"),
        ("DOCKER_CONFIG", "three/config.json"),
        ("HOME", "four/.docker/config.json"),
        ("HOME", "five/.config/containers/auth.json"),
    ] {
        let file = directory.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::copy(&authfile, &file).unwrap();
        let top = directory.path().join(path.split('/').next().unwrap());
        let output = digest(&[]).env(variable, top).output().unwrap();
        let is_expected = output.stdout == expected.as_bytes();
        // Containers' files lie deeper than the directory that the variable names.
        assert!(is_expected, "{variable} {path}: {output:?}");
    }
}

#[tokio::test]
async fn a_helper_is_asked_for_its_registry_and_its_failure_is_an_error() {
    let registry = DockerRegistry::start(&Settings {
        login: Some(("user", "secret")),
        ..Settings::default()
    });
    publish(
        &client(registry.host(), &plain_with("user", "secret")),
        "app",
    )
    .await;
    let image = format!("{}/app:1", registry.host());
    let directory = tempfile::tempdir().unwrap();
    let asked = directory.path().join("asked").display().to_string();
    for (name, script) in [
        (
            "good",
            r#"echo '{"ServerURL":"","Username":"user","Secret":"secret"}'"#,
        ),
        (
            "empty",
            "echo credentials not found in native keychain; exit 1",
        ),
        ("bad", "echo canary; echo canary >&2; exit 1"),
        ("odd", "echo canary"),
        (
            "token",
            r#"echo '{"Username":"<token>","Secret":"canary"}'"#,
        ),
    ] {
        helper(directory.path(), name, &format!("cat > {asked}; {script}"));
    }
    let digest = |config: Value| {
        let file = write(&directory, "config.json", &config.to_string());
        transship(&["digest", &image, "--authfile", &file])
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", directory.path().display()),
            )
            .output()
            .unwrap()
    };
    let auths = json!({registry.host(): {"username": "user", "password": "secret"}});

    for config in [
        json!({"credHelpers": {registry.host(): "good"}}),
        json!({"credsStore": "good"}),
        json!({"credsStore": "bad", "credHelpers": {registry.host(): "good"}}),
        json!({"credsStore": "empty", "auths": auths}),
        // Another registry's helper is none of our business.
        json!({"credHelpers": {"other.test": "bad"}, "auths": auths}),
    ] {
        let output = digest(config.clone());
        assert!(output.status.success(), "{config}: {output:?}");
    }
    assert_eq!(std::fs::read_to_string(&asked).unwrap(), registry.host());

    for (config, expected) in [
        (
            json!({"credHelpers": {registry.host(): "empty"}, "auths": auths}),
            "wants credentials",
        ),
        (
            json!({"credHelpers": {registry.host(): "bad"}, "auths": auths}),
            "docker-credential-bad failed",
        ),
        (
            json!({"credsStore": "bad", "auths": auths}),
            "docker-credential-bad failed",
        ),
        (
            json!({"credsStore": "odd", "auths": auths}),
            "docker-credential-odd",
        ),
        (
            json!({"credsStore": "token", "auths": auths}),
            "refused the credentials",
        ),
        (
            json!({"credsStore": "absent", "auths": auths}),
            "cannot run docker-credential-absent",
        ),
        (
            json!({"credsStore": "../good", "auths": auths}),
            "not a program name",
        ),
    ] {
        let output = digest(config.clone());
        assert_eq!(output.status.code(), Some(1), "{config}: {output:?}");
        let text = stderr(&output);
        assert!(text.contains(expected), "{config}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

fn helper(directory: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;

    let path = directory.join(format!("docker-credential-{name}"));
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn write(directory: &TempDir, name: &str, content: &str) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}
