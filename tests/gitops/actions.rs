//! What can be done with a mirror or a build from within Argo CD.

use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use transship::api::{CANCEL_ANNOTATION, RECONCILE_REQUEST_ANNOTATIONS};

use super::{admit, argocd_setting, build, definition, mirror, run_in_argocd};

fn suspended(mut object: Value, suspended: bool) -> Value {
    object["spec"]["suspend"] = json!(suspended);
    object
}

/// The build with one that was started, and may have ended.
fn started(has_ended: bool) -> Value {
    let mut object = build();
    object["status"]["build"] = json!({
        "number": 12, "attempt": 1, "pod": "app-12", "inputsHash": "h", "startTime": "2026-01-01T00:00:00Z",
    });
    if has_ended {
        object["status"]["build"]["completionTime"] = json!("2026-01-01T00:01:00Z");
    }
    object
}

fn actions(object: &Value) -> Value {
    serde_saphyr::from_str(&argocd_setting("actions", object)).unwrap()
}

async fn discovered(object: &Value) -> Value {
    let actions = actions(object);
    let script = actions["discovery.lua"].as_str().unwrap();
    run_in_argocd(script, object).await.unwrap()
}

/// What the action makes of the object, which is what Argo CD then writes.
async fn act(name: &str, object: &Value) -> Value {
    let actions = actions(object);
    let definition = actions["definitions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|definition| definition["name"] == name)
        .unwrap();
    let script = definition["action.lua"].as_str().unwrap();
    let changed = run_in_argocd(script, object).await.unwrap();
    // What the API server stores anew it would have admitted.
    assert_eq!(admit(&changed).await.unwrap(), changed);
    changed
}

#[rstest]
#[case::mirror(mirror(), &["suspend", "sync"])]
#[case::suspended_mirror(suspended(mirror(), true), &["resume"])]
#[case::new_build(build(), &["build", "suspend"])]
#[case::build_that_has_ended(started(true), &["build", "suspend"])]
#[case::build_that_goes_on(started(false), &["build", "cancel", "suspend"])]
#[case::suspended_build(suspended(started(true), true), &["resume"])]
#[case::suspended_build_that_goes_on(suspended(started(false), true), &["cancel", "resume"])]
#[tokio::test]
async fn what_makes_no_sense_now_is_disabled(#[case] object: Value, #[case] expected: &[&str]) {
    let discovered = discovered(&object).await;
    let mut enabled: Vec<_> = discovered
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, action)| action["disabled"] == false)
        .map(|(name, _)| name.as_str())
        .collect();
    enabled.sort_unstable();
    assert_eq!(enabled, expected);
}

#[rstest]
#[case::mirror(mirror())]
#[case::build(build())]
#[tokio::test]
async fn every_action_that_is_discovered_is_defined(#[case] object: Value) {
    let discovered = discovered(&object).await;
    let mut names: Vec<_> = discovered.as_object().unwrap().keys().cloned().collect();
    names.sort_unstable();
    let defined: Vec<_> = actions(&object)["definitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|definition| definition["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(defined, names);
}

#[rstest]
#[case::beside_others(json!({"example.com/owner": "team"}))]
#[case::again(json!({"reconcile.transship.dev/requestedAt": "2026-01-01T00:00:00Z"}))]
#[case::for_the_first_time(json!({}))]
#[case::without_any(Value::Null)]
#[tokio::test]
async fn what_is_asked_for_changes_one_annotation(
    #[case] annotations: Value,
    #[values(("sync", mirror()), ("build", build()))] asked: (&str, Value),
) {
    let (action, mut object) = asked;
    if annotations.is_null() {
        object["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("annotations");
    } else {
        object["metadata"]["annotations"] = annotations;
    }
    let mut changed = act(action, &object).await;
    let requested = changed["metadata"]["annotations"]
        .as_object_mut()
        .unwrap()
        .remove(RECONCILE_REQUEST_ANNOTATIONS[0])
        .unwrap();
    // The time, which is another at every request.
    requested.as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_ne!(requested, "2026-01-01T00:00:00Z");
    let annotations = &mut object["metadata"]["annotations"];
    match annotations.as_object_mut() {
        Some(annotations) => {
            annotations.remove(RECONCILE_REQUEST_ANNOTATIONS[0]);
        }
        None => *annotations = json!({}),
    }
    assert_eq!(changed, object);
}

#[rstest]
#[case::beside_others(json!({"example.com/owner": "team"}))]
#[case::after_another(json!({CANCEL_ANNOTATION: "11"}))]
#[case::without_any(Value::Null)]
#[tokio::test]
async fn cancel_names_the_build_that_goes_on(#[case] annotations: Value) {
    let mut object = started(false);
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("annotations");
    if !annotations.is_null() {
        metadata.insert("annotations".to_owned(), annotations);
    }
    let changed = act("cancel", &object).await;
    object["metadata"]["annotations"][CANCEL_ANNOTATION] = json!("12");
    assert_eq!(changed, object);
}

/// It may have ended since the page was shown.
#[rstest]
#[case::ended(started(true))]
#[case::never_started(build())]
#[tokio::test]
async fn cancel_changes_nothing_where_nothing_goes_on(#[case] object: Value) {
    assert_eq!(act("cancel", &object).await, object);
}

#[rstest]
#[case("suspend", true)]
#[case("resume", false)]
#[tokio::test]
async fn suspend_and_resume_change_one_field(
    #[case] name: &str,
    #[case] is_suspended: bool,
    #[values(mirror(), build())] object: Value,
) {
    let before = suspended(object.clone(), !is_suspended);
    assert_eq!(act(name, &before).await, suspended(object, is_suspended));
}

/// A pointer to a field that there is not would ignore nothing.
#[rstest]
#[case::mirror(mirror())]
#[case::build(build())]
fn what_argo_cd_is_told_to_ignore_exists(#[case] object: Value) {
    let setting = argocd_setting("ignoreResourceUpdates", &object);
    let setting: Value = serde_saphyr::from_str(&setting).unwrap();
    let pointers = setting["jsonPointers"].as_array().unwrap();
    let definition = serde_json::to_value(definition(&object)).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert!(!pointers.is_empty());
    for pointer in pointers {
        let path = pointer.as_str().unwrap().replace('/', "/properties/");
        assert!(schema.pointer(&path).is_some(), "{pointer}");
    }
}
