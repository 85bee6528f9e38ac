//! The health check for Argo CD, run by a real Lua interpreter, against statuses as they occur.
//!
//! Argo CD gives the script the object as a table named `obj` and neither the string library nor
//! files; neither is there in these tests.

use std::process::Command;

use rstest::rstest;
use serde_json::{Value, json};

/// A JSON value as a Lua literal.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) => {
            format!(
                "{{{}}}",
                items.iter().map(literal).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| format!("[\"{name}\"] = {}", literal(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

fn condition(type_: &str, status: &str) -> Value {
    json!({"type": type_, "status": status, "reason": "Because", "message": format!("{type_} is {status}")})
}

/// Status and message that the script gives for an object.
fn health(object: &Value) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/argocd-health.lua");
    let program = format!(
        "obj = {}\nlocal check = assert(loadfile('{script}'))\nstring, io, os = nil, nil, nil\n\
         local health = check()\nprint(health.status .. ': ' .. health.message)\n",
        literal(object)
    );
    let output = Command::new("lua5.1")
        .args(["-e", &program])
        .output()
        .expect("the Debian package lua5.1 is needed for this test");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn object(observed_generation: i64, conditions: &Value) -> Value {
    json!({
        "kind": "ImageMirror", "metadata": {"generation": 2}, "spec": {"suspend": false},
        "status": {"observedGeneration": observed_generation, "conditions": conditions},
    })
}

#[rstest]
#[case::new(
    json!({"kind": "ImageMirror", "metadata": {"generation": 1}, "spec": {}, "status": {"observedGeneration": -1}}),
    "Progressing: Waiting for the controller")]
#[case::old_generation(
    object(1, &json!([condition("Ready", "True")])), "Progressing: Controller has not seen the newest spec yet")]
#[case::ready(object(2, &json!([condition("Ready", "True")])), "Healthy: Ready is True")]
#[case::copying(
    object(2, &json!([condition("Ready", "Unknown"), condition("Reconciling", "True")])),
    "Progressing: Reconciling is True")]
#[case::retrying(
    object(2, &json!([condition("Ready", "False"), condition("Reconciling", "True")])),
    "Progressing: Reconciling is True")]
#[case::stalled(
    object(2, &json!([condition("Ready", "False"), condition("Stalled", "True")])),
    "Degraded: Because: Stalled is True")]
#[case::suspended(
    json!({"kind": "ImageMirror", "metadata": {"generation": 2}, "spec": {"suspend": true}}),
    "Suspended: ImageMirror is suspended")]
#[case::deleted(
    json!({"kind": "ImageMirror", "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}),
    "Progressing: Deletion in progress")]
fn argo_cd_sees_the_health(#[case] object: Value, #[case] expected: &str) {
    assert_eq!(health(&object), expected);
}
