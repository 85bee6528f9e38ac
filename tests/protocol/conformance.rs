//! The conformance suite of the distribution specification finds nothing wrong with the registry of
//! these tests; with real ones it does.

use std::process::Stdio;

use tokio::process::Command;

use super::Server;
use crate::support::any_registry::Kind;
use crate::support::tools::tool;

/// What the suite (version 1.1 of the specification) says of each of its subjects.
async fn verdicts(kind: Kind) -> Vec<(String, String)> {
    let server = Server::start(kind).await;
    let results = tempfile::tempdir().unwrap();
    let mut suite = Command::new(tool("conformance"));
    suite
        .env_clear()
        .env("OCI_REGISTRY", server.registry.host())
        .env("OCI_TLS", "disabled")
        .env("OCI_REPO1", "conformance/one")
        .env("OCI_REPO2", "conformance/two")
        .env("OCI_VERSION", "1.1")
        .env("OCI_RESULTS_DIR", results.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    suite.status().await.unwrap();
    let report = std::fs::read_to_string(results.path().join("results.yaml")).unwrap();
    let verdicts = report.lines().filter_map(|line| line.rsplit_once(": "));
    verdicts
        .filter(|(_, verdict)| ["Pass", "FAIL", "Error"].contains(verdict))
        .map(|(subject, verdict)| (subject.trim().to_owned(), verdict.to_owned()))
        .collect()
}

fn wrong(verdicts: &[(String, String)]) -> Vec<&str> {
    let wrong = verdicts.iter().filter(|(_, verdict)| verdict != "Pass");
    wrong.map(|(subject, _)| subject.as_str()).collect()
}

#[tokio::test]
async fn nothing_is_wrong_with_the_registry_of_these_tests() {
    let fake = verdicts(Kind::Fake).await;
    assert_eq!(wrong(&fake), [""; 0]);
    assert!(fake.len() > 30, "only {} subjects", fake.len());
}

/// Otherwise the test above shows nothing.
#[rstest::rstest]
#[case(Kind::DockerRegistry)]
#[case(Kind::Distribution)]
#[case(Kind::Ocimem)]
#[tokio::test]
async fn the_suite_finds_what_real_registries_do_otherwise(#[case] kind: Kind) {
    assert!(wrong(&verdicts(kind).await).contains(&"Blob mount"));
}
