//! What those who operate builds see of them: the metrics of the operator that leads.

use super::workshop::Workshop;
use crate::harness::{Build, Cluster, eventually};

/// The value of a series, whose labels stand in the order of their names.
async fn value(series: &str) -> u64 {
    let leader = Cluster::leader().await;
    let metrics = Cluster::answer_of(&leader, "/metrics").unwrap();
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("{series}: {metrics}"))
        .parse()
        .unwrap()
}

/// Waits until a series has at least this value: other tests build as well.
async fn wait_for(series: &str, at_least: u64) {
    eventually(series, || async {
        let value = value(series).await;
        if value >= at_least {
            Ok(())
        } else {
            Err(format!("{value} and not {at_least}"))
        }
    })
    .await;
}

#[tokio::test]
async fn what_becomes_of_builds_is_counted() {
    let workshop = Workshop::open("building-counted").await;
    let [succeeded, failed, taken] = [
        r#"transship_build_total{class="None",result="Succeeded"}"#,
        r#"transship_build_total{class="Dockerfile",result="Failed"}"#,
        r#"transship_build_duration_seconds_count{result="Failed"}"#,
    ];
    let before = [
        value(succeeded).await,
        value(failed).await,
        value(taken).await,
    ];
    let cases = [("good", "true"), ("bad", "false")];
    let builds = cases.map(|(name, command)| {
        let dockerfile = format!("ARG BASE\nFROM ${{BASE}}\nRUN {command}\n");
        let spec = workshop.spec(name, &dockerfile);
        Build::apply(&workshop.cluster, &workshop.namespace, name, &spec)
    });
    builds[0].wait_ready().await;
    builds[1].wait_failed("RunCommandFailed").await;
    for (series, before) in [succeeded, failed, taken].into_iter().zip(before) {
        wait_for(series, before + 1).await;
    }
    wait_for(r#"transship_builds{state="ready"}"#, 1).await;
    wait_for(r#"transship_builds{state="stalled"}"#, 1).await;
    wait_for(r#"transship_builds_failed{class="Dockerfile"}"#, 1).await;
}
