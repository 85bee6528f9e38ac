//! Workers that share a plan, and one whose time is over.

use serde_json::{Value, json};
use transship::worker::EXIT_INTERRUPTED;

use super::{Pod, plan_of};
use crate::support::registry::Registry;

fn plan(source: &Registry, destination: &Registry) -> Value {
    let images = ["one", "two", "three", "four"].map(|name| {
        json!({
            "source": format!("{}/{name}:v1", source.host()),
            "access": {"insecure": true},
            "digest": source.seed_image(name, Some("v1"), &[name.as_bytes()]),
            "destinations": [{
                "reference": format!("{}/{name}:v1", destination.host()),
                "access": {"insecure": true},
            }],
        })
    });
    plan_of(&json!(images))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_workers_copies_its_half() {
    let (source, destination) = (Registry::start().await, Registry::start().await);
    let mut plan = plan(&source, &destination);
    plan["shards"] = json!(2);
    let mut places = Vec::new();
    for number in ["0", "1"] {
        let pod = Pod::new(&plan);
        let run = move || pod.run_with(&["--shard", number]);
        let (code, report, log) = tokio::task::spawn_blocking(run).await.unwrap();
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(report["imagesCopied"], 2);
        let there = |name: &&str| destination.manifest(name, "v1").is_some();
        places.push(
            ["one", "two", "three", "four"]
                .iter()
                .filter(|name| there(name))
                .count(),
        );
    }
    assert_eq!(places, [2, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_writes_nothing_after_its_deadline() {
    let (source, destination) = (Registry::start().await, Registry::start().await);
    let pod = Pod::new(&plan(&source, &destination));
    let run = move || pod.run_with(&["--deadline", "2001-02-03T04:05:06Z"]);
    let (code, _, log) = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(code, Some(i32::from(EXIT_INTERRUPTED)), "{log}");
    assert_eq!(destination.writes(), 0);
}
