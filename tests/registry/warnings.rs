//! Warnings of a registry: told once, and never a secret.

use transship::oci::Digest;

use crate::support::registry::{Action, Endpoint, Registry, Rule};
use crate::support::{blob, client, plain_with, pull_blob, push_blob, repository};

const PASSWORD: &str = "canary-password";

#[tokio::test]
async fn case_74_a_warning_is_told_once_whatever_it_stands_on() {
    let registry = Registry::start().await;
    registry.seed_blob("app", b"content");
    let warning = r#"299 - "\"app\" goes away""#.to_owned();
    for endpoint in [Endpoint::Blob, Endpoint::Session, Endpoint::Uploads] {
        let header = Action::SetHeader("warning", warning.clone());
        registry.add(Rule::on(endpoint, header));
    }
    let client = client(registry.host(), &plain_with("user", PASSWORD));
    let app = repository("app");
    assert_eq!(client.warnings(), [""; 0]);
    assert!(
        client
            .blob_exists(&app, &Digest::sha256(b"content"))
            .await
            .unwrap()
    );
    assert_eq!(client.warnings(), [r#""app" goes away"#]);
    pull_blob(&client, &app, &blob(b"content")).await.unwrap();
    push_blob(&client, &app, b"other").await.unwrap();
    assert_eq!(client.clone().warnings().len(), 1);
}

#[tokio::test]
async fn case_74_the_answer_to_an_upload_can_warn() {
    let registry = Registry::start().await;
    let header = Action::SetHeader("warning", r#"299 - "nearly full""#.to_owned());
    registry.add(Rule::on(Endpoint::Session, header));
    let client = client(registry.host(), &plain_with("user", PASSWORD));
    push_blob(&client, &repository("app"), b"content")
        .await
        .unwrap();
    assert_eq!(client.warnings(), ["nearly full"]);
}

#[tokio::test]
async fn case_74_a_warning_that_repeats_the_password_is_not_told() {
    let registry = Registry::builder().basic("user", PASSWORD).start().await;
    let header = Action::SetHeader("warning", format!("299 - \"you sent {PASSWORD}\""));
    registry.add(Rule::on(Endpoint::Blob, header));
    let client = client(registry.host(), &plain_with("user", PASSWORD));
    let digest = Digest::sha256(b"content");
    assert!(
        !client
            .blob_exists(&repository("app"), &digest)
            .await
            .unwrap()
    );
    assert_eq!(client.warnings(), [""; 0]);
}
