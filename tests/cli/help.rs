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
        "completion",
        "controller",
        "convert",
        "copy",
        "crds",
        "delete",
        "digest",
        "inspect",
        "list-tags",
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
