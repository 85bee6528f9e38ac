//! What a worker says in its log of each image, as the controller reads it.

use axum::http::Method;
use serde_json::json;
use transship::convert::Format;
use transship::copy::{PlannedOptions, Record};
use transship::oci::Digest;
use transship::reason::Reason;

use super::{Pod, plan_of};
use crate::support::registry::{Action, Endpoint, Registry, Rule};

fn records(log: &str) -> Vec<Record> {
    log.lines().filter_map(Record::parse).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_which_digest_came_from_which() {
    let (source, destination) = (Registry::start().await, Registry::start().await);
    let digest = source.seed_image("app", Some("v1"), &[b"layer"]);
    let mut plan = plan_of(&json!([{
        "source": format!("{}/app:v1", source.host()),
        "access": {"insecure": true},
        "digest": digest,
        "destinations": [{
            "reference": format!("{}/app:v1", destination.host()),
            "access": {"insecure": true},
        }],
    }]));
    let mut options = PlannedOptions::default();
    options.conversion.format = Format::Docker;
    plan["options"] = json!(options);
    let pod = Pod::new(&plan);

    let (code, _, log) = tokio::task::spawn_blocking(move || pod.run())
        .await
        .unwrap();

    assert_eq!(code, Some(0), "{log}");
    let there = Digest::sha256(&destination.manifest("app", "v1").unwrap().bytes);
    assert_ne!(there, digest);
    let copied = Record::Copied {
        source: format!("{}/app:v1", source.host()),
        destination: format!("{}/app:v1", destination.host()),
        source_digest: digest,
        digest: there,
    };
    assert!(records(&log).contains(&copied), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_why_an_image_was_not_copied() {
    let (source, destination) = (Registry::start().await, Registry::start().await);
    let digest = source.seed_image("app", Some("v1"), &[b"layer"]);
    let denied = Rule::on(Endpoint::Manifest, Action::status(403)).method(Method::PUT);
    destination.add(denied);
    let plan = plan_of(&json!([{
        "source": format!("{}/app:v1", source.host()),
        "access": {"insecure": true},
        "digest": digest,
        "destinations": [{
            "reference": format!("{}/app:v1", destination.host()),
            "access": {"insecure": true},
        }],
    }]));
    let pod = Pod::new(&plan);

    let (_, report, log) = tokio::task::spawn_blocking(move || pod.run())
        .await
        .unwrap();

    let failures: Vec<Reason> = records(&log)
        .into_iter()
        .filter_map(|record| match record {
            Record::Failed { failure, .. } => Some(failure.reason),
            _ => None,
        })
        .collect();
    assert_eq!(failures, [Reason::PushDenied], "{log}");
    assert_eq!(report["failures"][0]["reason"], "PushDenied");
}
