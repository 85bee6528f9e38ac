//! What the pods of a run are made of.

use std::time::Duration;

use jiff::Timestamp;
use rstest::rstest;

use super::*;
use crate::api::ImageMirror;
use crate::copy::{Plan, PlannedOptions};

#[rstest]
#[case("1", "33", false)]
#[case("1", "34", true)]
#[case("1", "34+", true)]
#[case("1", "36", true)]
#[case("2", "0", true)]
#[case("", "", false)]
#[case("1", "x", false)]
fn servers_of_1_34_take_restart_rules(
    #[case] major: &str,
    #[case] minor: &str,
    #[case] expected: bool,
) {
    let version = Info {
        major: major.to_owned(),
        minor: minor.to_owned(),
        ..Info::default()
    };
    assert_eq!(WorkerPods::has_restart_rules(&version), expected);
}

fn mirror(fields: &Value) -> ImageMirror {
    let mut spec =
        json!({"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]});
    for (name, value) in fields.as_object().unwrap() {
        spec[name] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
        "metadata": {"name": "web", "namespace": "team", "uid": "1", "generation": 2},
        "spec": spec,
    }))
    .unwrap()
}

fn plan(options: PlannedOptions, shards: u32) -> Plan {
    Plan {
        version: Plan::VERSION,
        options,
        shards,
        images: Vec::new(),
    }
}

fn template(mirror: &ImageMirror, plan: &Plan, restart_rules: bool) -> Value {
    let input = RunInput {
        mirror,
        plan,
        timeout: Duration::from_mins(1),
        worker: &WorkerPods {
            image: "registry.test/transship:1".to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
            restart_rules,
        },
        now: Timestamp::UNIX_EPOCH,
    };
    pod(&input, "web-1")
}

#[rstest]
#[case(false, Value::Null, Value::Null)]
#[case(true, json!("Never"), json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [137]}}]))]
fn only_who_was_killed_is_started_again_in_the_same_pod(
    #[case] restart_rules: bool,
    #[case] policy: Value,
    #[case] rules: Value,
) {
    let plan = plan(PlannedOptions::default(), 1);
    let template = template(&mirror(&json!({})), &plan, restart_rules);
    let container = &template["spec"]["containers"][0];
    assert_eq!(container["restartPolicy"], policy);
    assert_eq!(container["restartPolicyRules"], rules);
}

#[test]
fn workers_know_when_they_must_have_stopped_and_the_kubelet_does_too() {
    let plan = plan(PlannedOptions::default(), 1);
    let template = template(&mirror(&json!({})), &plan, true);
    assert_eq!(template["spec"]["activeDeadlineSeconds"], 60);
    let arguments = &template["spec"]["containers"][0]["args"];
    assert_eq!(arguments[3], "--deadline=1970-01-01T00:01:00Z");
}

#[test]
fn what_is_chosen_reaches_the_pod() {
    let chosen = json!({"pod": {
        "serviceAccountName": "mirror", "nodeSelector": {"disk": "fast"}, "priorityClassName": "low",
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "resources": {"limits": {"memory": "1Gi"}},
    }});
    let plan = plan(PlannedOptions::default(), 1);
    let template = template(&mirror(&chosen), &plan, true);
    let spec = &template["spec"];
    assert_eq!(spec["serviceAccountName"], "mirror");
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["nodeSelector"], json!({"disk": "fast"}));
    assert_eq!(spec["priorityClassName"], "low");
    assert_eq!(
        spec["tolerations"],
        json!([{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}])
    );
    assert_eq!(
        spec["containers"][0]["resources"],
        json!({"limits": {"memory": "1Gi"}})
    );
}

#[test]
fn workers_that_share_a_run_are_spread_over_nodes() {
    let one = template(
        &mirror(&json!({})),
        &plan(PlannedOptions::default(), 1),
        true,
    );
    assert_eq!(one["spec"]["topologySpreadConstraints"], Value::Null);
    let four = template(
        &mirror(&json!({})),
        &plan(PlannedOptions::default(), 4),
        true,
    );
    let constraint = &four["spec"]["topologySpreadConstraints"][0];
    assert_eq!(constraint["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(constraint["whenUnsatisfiable"], "ScheduleAnyway");
}

#[test]
fn layers_have_room_only_where_they_are_recompressed() {
    let without = template(
        &mirror(&json!({})),
        &plan(PlannedOptions::default(), 1),
        true,
    );
    assert!(!without.to_string().contains(TEMPORARY_DIRECTORY));
    let mut options = PlannedOptions::default();
    options.conversion.compression = Some("zstd".parse().unwrap());
    let with = template(&mirror(&json!({})), &plan(options, 1), true);
    assert!(with.to_string().contains(TEMPORARY_DIRECTORY));
    let limits = &with["spec"]["containers"][0]["resources"]["limits"];
    assert_eq!(*limits, json!({"memory": "128Mi"}));
}
