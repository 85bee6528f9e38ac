//! The alerts and the dashboard of the chart, held against Prometheus' own code and against what the operator
//! really exports. What Helm renders is taken from the golden file, which `tests/chart/check` compares.

#![expect(
    clippy::indexing_slicing,
    reason = "what tests share fails like a test: by panicking"
)]

mod exported;

use std::process::Command;

use rstest::rstest;
use serde_json::{Value, json};
use transship::build::FailureClass;
use transship::reason::Reason;

use self::exported::{Series, exported, exported_text};
use crate::gitops::documents;
use crate::support::tools::{ask, tool};

const RENDERED: &str = include_str!("../chart/everything.golden.yaml");
const GUIDE: &str = include_str!("../../docs/gitops.md");
const VALUES: &str = include_str!("../../charts/transship/values.yaml");
const DASHBOARD: &str = include_str!("../../charts/transship/files/dashboard.json");
/// What promtool plays: series, and the alerts that they raise.
const SCENES: &str = include_str!("alerts.yaml");
/// What Prometheus adds to every series that it reads.
const LABELS_OF_TARGETS: [&str; 2] = ["namespace", "job"];
/// Those of images, and those of mirrors and builds.
const STATES: [&str; 9] = [
    "present",
    "pending",
    "failed",
    "drifted",
    "ready",
    "progressing",
    "stalled",
    "suspended",
    "cancelled",
];
/// Those of builds that have ended, as their status names them.
const RESULTS: [&str; 3] = ["Succeeded", "Failed", "Cancelled"];

fn rendered(kind: &str, name: &str) -> Value {
    documents(RENDERED)
        .into_iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap()
}

fn rules() -> Value {
    rendered("PrometheusRule", "mirror-operator")["spec"].take()
}

/// The names of all alerts, and their expressions.
fn alerts() -> Vec<(String, String)> {
    let rules = rules();
    let groups = rules["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .map(|rule| {
            let text = |field: &str| rule[field].as_str().unwrap().to_owned();
            (text("alert"), text("expr"))
        })
        .collect()
}

/// What promtool says of the rules in `rules.yaml`, and of the scenes in `alerts.yaml`.
fn promtool(rules: &Value, arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    // JSON is YAML.
    std::fs::write(directory.path().join("rules.yaml"), rules.to_string()).unwrap();
    std::fs::write(directory.path().join("alerts.yaml"), SCENES).unwrap();
    let output = Command::new(tool("promtool"))
        .args(arguments)
        .current_dir(&directory)
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn prometheus_accepts_the_rules() {
    let arguments = ["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"];
    let text = promtool(&rules(), &arguments);
    assert!(
        text.contains(&format!("{} rules found", alerts().len())),
        "{text}"
    );
}

#[test]
fn alerts_are_raised_when_they_should_be_and_not_before() {
    let mut rules = rules();
    // The scenes are about when, not about words.
    for group in rules["groups"].as_array_mut().unwrap() {
        for rule in group["rules"].as_array_mut().unwrap() {
            rule.as_object_mut().unwrap().remove("annotations");
        }
    }
    promtool(&rules, &["test", "rules", "alerts.yaml"]);
}

/// An alert of which the scenes show only one side has not been tested.
#[test]
fn every_alert_is_seen_raised_and_not_raised() {
    let scenes: Value = serde_saphyr::from_str(SCENES).unwrap();
    let looks: Vec<&Value> = scenes["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|scene| scene["alert_rule_test"].as_array().unwrap())
        .collect();
    for (alert, _) in alerts() {
        for is_raised in [true, false] {
            let seen = looks.iter().any(|look| {
                look["alertname"] == alert
                    && is_raised
                        == look["exp_alerts"]
                            .as_array()
                            .is_some_and(|all| !all.is_empty())
            });
            assert!(seen, "{alert}, raised: {is_raised}");
        }
    }
}

#[test]
fn the_guide_explains_every_alert() {
    let values: Value = serde_saphyr::from_str(VALUES).unwrap();
    let rows: Vec<_> = GUIDE
        .lines()
        .filter_map(|line| line.strip_prefix("| `Transship"))
        .collect();
    for (alert, _) in alerts() {
        let name = alert.strip_prefix("Transship").unwrap();
        assert!(
            rows.iter()
                .any(|row| row.starts_with(&format!("{name}` |"))),
            "{alert}"
        );
    }
    assert_eq!(rows.len(), alerts().len());
    for value in ["failedFor", "pendingFor"] {
        let default = values["prometheusRule"][value].as_str().unwrap();
        let text = format!("`prometheusRule.{value}` ({default})");
        assert!(GUIDE.contains(&text), "{text}");
    }
}

/// The expressions of the panels and of the variables.
fn expressions_of_the_dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let of_panels = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap());
    let of_variables = variables
        .iter()
        .filter(|variable| variable["type"] == "query")
        .map(|variable| {
            let query = variable["query"]["query"].as_str().unwrap();
            let arguments = query.strip_prefix("label_values(").unwrap();
            arguments.rsplit_once(", ").unwrap().0
        });
    of_panels
        .chain(of_variables)
        .map(|expression| expression.replace("$__rate_interval", "5m"))
        .collect()
}

/// What expressions select: labels that must be equal.
async fn selected_by(expressions: &[String]) -> Vec<Series> {
    let question = json!(expressions).to_string();
    let answer = ask("promql", &[], &question).await.unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[rstest]
#[case::alerts(alerts().into_iter().map(|(_, expression)| expression).collect(), 12)]
#[case::dashboard(expressions_of_the_dashboard(), 22)]
#[tokio::test]
async fn every_series_that_is_named_is_exported(
    #[case] expressions: Vec<String>,
    #[case] at_least: usize,
) {
    let mut selectors = selected_by(&expressions).await;
    assert!(selectors.len() >= at_least, "{selectors:?}");
    let exported = exported().await;
    for selector in &mut selectors {
        selector.retain(|label, _| !LABELS_OF_TARGETS.contains(&label.as_str()));
        let found = exported.iter().any(|series| {
            selector
                .iter()
                .all(|(label, value)| series.get(label) == Some(value))
        });
        assert!(found, "nothing is {selector:?}");
    }
}

/// Base units, suffixes and help texts, as Prometheus wants them.
#[tokio::test]
async fn the_metrics_follow_the_conventions() {
    let complaint = ask("promtool", &["check", "metrics"], &exported_text().await).await;
    assert_eq!(complaint, Ok(String::new()));
}

/// A label whose values come from users would grow with their number.
#[tokio::test]
async fn labels_have_values_of_a_closed_set() {
    for series in exported().await {
        for (label, value) in &series {
            let is_closed = match label.as_str() {
                "__name__" | "le" => true,
                "kind" => ["ImageMirror", "ImageBuild"].contains(&value.as_str()),
                "outcome" => ["success", "failure"].contains(&value.as_str()),
                "state" => STATES.contains(&value.as_str()),
                "reason" => value == "Other" || Reason::from_name(value).is_some(),
                "result" => RESULTS.contains(&value.as_str()),
                "class" => {
                    ["None", "Other"].contains(&value.as_str())
                        || FailureClass::from_name(value).is_some()
                }
                "version" => value == env!("CARGO_PKG_VERSION"),
                _ => false,
            };
            assert!(is_closed, "{series:?}");
        }
    }
}

/// A metric that neither shows is one that nobody would miss.
#[tokio::test]
async fn every_metric_is_on_the_dashboard() {
    let selectors = selected_by(&expressions_of_the_dashboard()).await;
    for series in exported().await {
        let name = &series["__name__"];
        let family = name.trim_end_matches("_sum").trim_end_matches("_count");
        let shown = selectors.iter().any(|selector| {
            selector["__name__"].trim_end_matches("_bucket") == family.trim_end_matches("_bucket")
        });
        assert!(shown, "{name}");
    }
}

#[test]
fn the_dashboard_is_where_the_sidecar_of_grafana_looks() {
    let config_map = rendered("ConfigMap", "mirror-operator-dashboard");
    assert_eq!(
        config_map["metadata"]["labels"]["grafana_dashboard"],
        "transship"
    );
    let text = config_map["data"]["transship.json"].as_str().unwrap();
    assert_eq!(text.trim(), DASHBOARD.trim());
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut ids: Vec<_> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|panel| panel["id"].as_i64().unwrap())
        .collect();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count);
}
