//! Copies that are interrupted, and what registries have to say to people.

use std::process::Stdio;

use axum::http::Method;
use rstest::rstest;
use tokio::process::Command;
use transship::worker::EXIT_INTERRUPTED;

use crate::support::registry::{Action, Endpoint, Registry, Rule};

fn copy(source: &Registry, destination: &Registry, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transship"));
    command
        .arg("copy")
        .arg(format!("{}/app:v1", source.host()))
        .arg(format!("{}/app:v1", destination.host()))
        .args(options)
        .env_clear()
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

async fn registries() -> (Registry, Registry) {
    let (source, destination) = (Registry::start().await, Registry::start().await);
    source.seed_image("app", Some("v1"), &[b"one", b"two"]);
    (source, destination)
}

#[rstest]
#[tokio::test]
async fn case_89_an_interrupted_copy_ends_its_uploads(#[values("-TERM", "-INT")] signal: &str) {
    let (source, destination) = registries().await;
    // The configuration and two layers.
    let uploads = destination.hold_up(Endpoint::Session, |asked| asked.method == Method::PUT);
    let child = copy(&source, &destination, &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    uploads.wait_for(3).await;
    let told = Command::new("kill")
        .args([signal, &child.id().unwrap().to_string()])
        .status();
    assert!(told.await.unwrap().success());
    let output = child.wait_with_output().await.unwrap();

    assert_eq!(
        output.status.code(),
        Some(i32::from(EXIT_INTERRUPTED)),
        "{output:?}"
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("interrupted; what is missing is copied"),
        "{said}"
    );
    assert_eq!(destination.open_sessions("app"), 0);
    assert_eq!(destination.manifest("app", "v1"), None);
}

#[tokio::test]
async fn case_74_a_warning_is_told_once_and_not_when_quiet() {
    for (options, expected) in [(&["--dry-run"][..], 1), (&[], 1), (&["--quiet"], 0)] {
        let (source, destination) = registries().await;
        let warning = r#"299 - "app goes away""#.to_owned();
        for endpoint in [Endpoint::Manifest, Endpoint::Blob] {
            let header = Action::SetHeader("warning", warning.clone());
            source.add(Rule::on(endpoint, header));
        }
        let output = copy(&source, &destination, options).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let line = format!("{} warns: app goes away\n", source.host());
        assert_eq!(said.matches(&line).count(), expected, "{options:?}: {said}");
        assert_eq!(said.matches("goes away").count(), expected, "{said}");
    }
}
