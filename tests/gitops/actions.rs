//! What can be done with a mirror from within Argo CD.

use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use transship::api::{self, RECONCILE_REQUEST_ANNOTATIONS};

use super::{admit, argocd_setting, mirror, run_in_argocd};

fn suspended(suspended: bool) -> Value {
    let mut object = mirror();
    object["spec"]["suspend"] = json!(suspended);
    object
}

fn actions() -> Value {
    serde_saphyr::from_str(&argocd_setting("actions")).unwrap()
}

async fn discovered(object: &Value) -> Value {
    let script = actions()["discovery.lua"].as_str().unwrap().to_owned();
    run_in_argocd(&script, object).await.unwrap()
}

/// What the action makes of the object, which is what Argo CD then writes.
async fn act(name: &str, object: &Value) -> Value {
    let actions = actions();
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
#[case::active(false, &["suspend", "sync"])]
#[case::suspended(true, &["resume"])]
#[tokio::test]
async fn what_makes_no_sense_now_is_disabled(
    #[case] is_suspended: bool,
    #[case] expected: &[&str],
) {
    let discovered = discovered(&suspended(is_suspended)).await;
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

#[tokio::test]
async fn every_action_that_is_discovered_is_defined() {
    let discovered = discovered(&mirror()).await;
    let mut names: Vec<_> = discovered.as_object().unwrap().keys().cloned().collect();
    names.sort_unstable();
    let defined: Vec<_> = actions()["definitions"]
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
async fn sync_requests_a_scan_and_changes_nothing_else(#[case] annotations: Value) {
    let mut object = mirror();
    if annotations.is_null() {
        object["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("annotations");
    } else {
        object["metadata"]["annotations"] = annotations;
    }
    let mut changed = act("sync", &object).await;
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
#[case("suspend", true)]
#[case("resume", false)]
#[tokio::test]
async fn suspend_and_resume_change_one_field(#[case] name: &str, #[case] is_suspended: bool) {
    assert_eq!(
        act(name, &suspended(!is_suspended)).await,
        suspended(is_suspended)
    );
}

/// A pointer to a field that there is not would ignore nothing.
#[test]
fn what_argo_cd_is_told_to_ignore_exists() {
    let setting: Value = serde_saphyr::from_str(&argocd_setting("ignoreResourceUpdates")).unwrap();
    let pointers = setting["jsonPointers"].as_array().unwrap();
    let definition = serde_json::to_value(&api::definitions().unwrap()[0]).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert!(!pointers.is_empty());
    for pointer in pointers {
        let path = pointer.as_str().unwrap().replace('/', "/properties/");
        assert!(schema.pointer(&path).is_some(), "{pointer}");
    }
}
