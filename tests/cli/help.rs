//! The help texts: they teach, so that a change of one is seen in review.

use assert_cmd::Command;

fn output(arguments: &[&str]) -> String {
    let output = Command::cargo_bin("transship")
        .unwrap()
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_texts() {
    for command in [
        "",
        "build-fetch",
        "build-publish",
        "completion",
        "controller",
        "convert",
        "copy",
        "crds",
        "delete",
        "digest",
        "inspect",
        "kubectl",
        "list-tags",
        "seccomp-profile",
        "sync",
        "verify",
        "worker",
    ] {
        let mut arguments: Vec<_> = [command]
            .into_iter()
            .filter(|command| !command.is_empty())
            .collect();
        arguments.push("--help");
        insta::assert_snapshot!(format!("help_{command}"), output(&arguments));
    }
}

/// As kubectl calls its plugin, by another name.
#[test]
fn help_texts_of_the_plugin() {
    use std::os::unix::process::CommandExt as _;

    for command in ["", "get", "images", "sync", "wait", "suspend", "resume"] {
        let mut plugin = std::process::Command::new(assert_cmd::cargo::cargo_bin("transship"));
        plugin.arg0("kubectl-transship").env_clear();
        let arguments = [command].into_iter().filter(|command| !command.is_empty());
        let output = plugin.args(arguments).arg("--help").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        insta::assert_snapshot!(format!("help_plugin_{command}"), help);
    }
}

#[test]
fn definitions_are_printed_for_kubectl() {
    let printed = output(&["crds"]);
    assert!(
        printed.starts_with("---\napiVersion: apiextensions.k8s.io/v1\n"),
        "{printed}"
    );
    assert!(
        printed.contains("name: imagemirrors.transship.dev"),
        "{printed}"
    );
}
