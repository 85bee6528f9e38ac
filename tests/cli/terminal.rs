//! What a person at a terminal sees, and what is left when they have seen enough.

use std::process::Stdio;
use std::time::Duration;

use axum::http::Method;
use rstest::rstest;

use super::{publish, run, stderr, stdout, transship};
use crate::support::docker_registry::DockerRegistry;
use crate::support::registry::{Action, Endpoint, Registry, Rule};
use crate::support::{client, plain};

/// Longer than any test; whoever waits for it never sees its end.
const FOREVER: Duration = Duration::from_hours(1);

/// Runs `command` in a terminal of `columns` and gives back everything that it got to show.
fn in_terminal(columns: usize, command: &str) -> String {
    let binary = assert_cmd::cargo::cargo_bin("transship");
    let command = command.replace("transship", &binary.display().to_string());
    let output = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("stty cols {columns} rows 24; {command}"))
        .arg("/dev/null")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("script, of the Debian package bsdutils, is needed for these tests");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

#[tokio::test]
async fn bars_and_trees_fit_into_the_terminal_and_have_no_colours() {
    let (source, destination) = (DockerRegistry::plain(), DockerRegistry::plain());
    publish(&client(source.host(), &plain()), "app").await;
    let image = format!("{}/app:1", source.host());
    for columns in [100, 40, 20] {
        let to = format!("{}/app-{columns}:1", destination.host());
        let shown = in_terminal(columns, &format!("transship copy {image} {to}"));
        assert!(shown.contains("total"), "{shown:?}");
        // Sequences move the cursor and clear lines; those that colour end with `m`.
        let colours = shown.split("\u{1b}[").skip(1).filter(|sequence| {
            sequence
                .trim_start_matches(|it: char| it.is_ascii_digit() || it == ';')
                .starts_with('m')
        });
        assert_eq!(colours.count(), 0, "{shown:?}");
        // What stays is the copy and its sum, below a screen without bars.
        let (_, stays) = shown.rsplit_once("\u{1b}[2K").unwrap();
        let stays: Vec<_> = stays.trim().lines().collect();
        assert!(
            stays[0].trim_start_matches('\r').starts_with(&to),
            "{stays:?}"
        );
        assert!(stays[1].starts_with("1 copied"), "{stays:?}");

        let tree = in_terminal(columns, &format!("transship inspect {image}"));
        assert!(
            tree.lines()
                .all(|line| line.trim_end().chars().count() <= columns),
            "{tree}"
        );
        assert!(tree.contains("linux/amd64"), "{tree}");
    }
    let quiet = in_terminal(80, &format!("transship copy -q {image} {image}"));
    assert_eq!(quiet.lines().count(), 1, "{quiet:?}");
}

#[tokio::test]
async fn lines_without_a_terminal_are_plain() {
    let (source, destination) = (DockerRegistry::plain(), DockerRegistry::plain());
    publish(&client(source.host(), &plain()), "app").await;
    let from = format!("{}/app:1", source.host());
    let to = format!("{}/app:1", destination.host());
    let output = run(&["copy", &from, &to]);
    let told = stderr(&output);
    assert_eq!(
        told.lines()
            .filter(|line| line.starts_with("sent sha256:"))
            .count(),
        5
    );
    assert!(!told.contains('\u{1b}') && !told.contains('\r'), "{told:?}");
}

#[tokio::test]
async fn whoever_closes_the_pipe_has_seen_enough() {
    let registry = DockerRegistry::plain();
    publish(&client(registry.host(), &plain()), "app").await;
    let image = format!("{}/app:1", registry.host());
    for command in [
        &["inspect", &image][..],
        &["inspect", "--json", &image],
        &["inspect", "--raw", &image],
        &["copy", "--dry-run", &image, &image],
        &["copy", "-q", &image, &image],
        &["list-tags", &format!("{}/app", registry.host())],
        &["digest", &image],
        &["crds"],
        &["completion", "bash"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = std::process::Command::new(assert_cmd::cargo::cargo_bin("transship"))
            .args(command)
            .env_clear()
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{command:?}: {output:?}");
        assert_eq!(stderr(&output), "", "{command:?}");
    }
}

#[rstest]
#[case("INT")]
#[case("TERM")]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_copy_leaves_no_session_behind(#[case] signal: &str) {
    let (source, destination) = (Registry::start().await, Registry::start().await);
    publish(&client(source.host(), &plain()), "app").await;
    destination.add(Rule::on(Endpoint::Session, Action::Delay(FOREVER)).method(Method::PUT));
    let mut child = tokio::process::Command::new(assert_cmd::cargo::cargo_bin("transship"))
        .arg("copy")
        .args([&source, &destination].map(|registry| format!("{}/app:1", registry.host())))
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while destination.open_sessions("app") == 0 {
        assert_eq!(child.try_wait().unwrap(), None);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let process = child.id().unwrap().to_string();
    let told = std::process::Command::new("kill")
        .args([&format!("-{signal}"), &process])
        .status();
    assert!(told.unwrap().success());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(11), "{output:?}");
    assert!(stderr(&output).contains("when the command runs again"));
    assert_eq!(destination.open_sessions("app"), 0);
    assert!(destination.count(&Method::DELETE, Endpoint::Session) > 0);

    destination.clear_rules();
    let arguments = [&source, &destination].map(|registry| format!("{}/app:1", registry.host()));
    let again = tokio::task::spawn_blocking(move || {
        transship(&["copy", &arguments[0], &arguments[1]])
            .output()
            .unwrap()
    });
    stdout(&again.await.unwrap());
    destination.assert_never_incomplete();
}
