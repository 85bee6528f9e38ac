use rstest::rstest;
use serde_json::{Value, json};

use super::super::request::new_request;
use super::*;

const OURS: &str = "reconcile.transship.dev/requestedAt";
const FLUX: &str = "reconcile.fluxcd.io/requestedAt";

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": "so it is",
        "observedGeneration": 2, "lastTransitionTime": "2026-01-01T11:00:00Z",
    })
}

/// A mirror in place that has handled the request `one`.
fn mirror(change: impl FnOnce(&mut Value)) -> ImageMirror {
    let mut mirror = json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
        "metadata": {"name": "base", "namespace": "shop", "generation": 2, "annotations": {OURS: "one"}},
        "spec": {"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]},
        "status": {
            "observedGeneration": 2, "lastHandledReconcileAt": "one",
            "nextScanTime": "2026-01-01T12:48:00Z",
            "run": {"job": "old", "completionTime": "2026-01-01T11:00:00Z"},
            "conditions": [condition("Ready", "True", "Succeeded")],
        },
    });
    change(&mut mirror);
    serde_json::from_value(mirror).unwrap()
}

fn ready(mirror: &mut Value) {
    mirror["status"]["conditions"] = json!([condition("Ready", "True", "Succeeded")]);
}

fn copying(mirror: &mut Value) {
    mirror["status"]["conditions"] = json!([
        condition("Ready", "Unknown", "Progressing"),
        condition("Reconciling", "True", "Progressing"),
    ]);
    run(mirror);
}

fn run(mirror: &mut Value) {
    mirror["status"]["run"] = json!({"job": "base-1"});
    mirror["status"]["nextScanTime"] = Value::Null;
}

fn retrying(mirror: &mut Value) {
    mirror["status"]["conditions"] = json!([
        condition("Ready", "False", "RegistryUnreachable"),
        condition("Reconciling", "True", "ProgressingWithRetry"),
    ]);
}

fn stalled(mirror: &mut Value) {
    mirror["status"]["conditions"] = json!([
        condition("Ready", "False", "PushDenied"),
        condition("Stalled", "True", "PushDenied"),
    ]);
}

fn invalid(mirror: &mut Value) {
    mirror["status"]["conditions"] = json!([
        condition("Ready", "False", "InvalidSpec"),
        condition("Stalled", "True", "InvalidSpec"),
    ]);
    mirror["status"]["nextScanTime"] = Value::Null;
    mirror["status"]["run"] = json!({"job": "given-up"});
}

fn new_spec(mirror: &mut Value) {
    mirror["metadata"]["generation"] = json!(3);
}

fn new_object(mirror: &mut Value) {
    mirror["status"] = json!({"observedGeneration": -1});
}

fn no_status(mirror: &mut Value) {
    mirror["status"] = Value::Null;
}

fn suspended(mirror: &mut Value) {
    mirror["spec"]["suspend"] = json!(true);
}

fn deleted(mirror: &mut Value) {
    mirror["metadata"]["deletionTimestamp"] = json!("2026-01-01T11:00:00Z");
}

fn kind(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Over(End::Done(_)) => "done",
        Verdict::Over(End::Failed(_)) => "failed",
        Verdict::Over(End::Hopeless(_)) => "hopeless",
        Verdict::Waiting(_) => "waiting",
    }
}

/// What `wait` makes of a state, and what `sync --wait` does whose request has been handled in it.
#[rstest]
#[case::ready(ready, "done", "done")]
#[case::copying(copying, "waiting", "waiting")]
#[case::retrying(retrying, "waiting", "failed")]
#[case::stalled(stalled, "failed", "failed")]
#[case::stalled_and_tried_again(|mirror: &mut Value| { stalled(mirror); run(mirror); }, "failed", "waiting")]
#[case::invalid(invalid, "failed", "failed")]
#[case::new_spec(new_spec, "waiting", "waiting")]
#[case::stalled_by_an_older_spec(|mirror: &mut Value| { stalled(mirror); new_spec(mirror); }, "waiting", "waiting")]
#[case::suspended(suspended, "hopeless", "hopeless")]
#[case::deleted(deleted, "hopeless", "hopeless")]
#[case::without_conditions(|mirror: &mut Value| mirror["status"]["conditions"] = json!([]), "waiting", "failed")]
fn waiting_ends_when_the_result_is_known(
    #[case] state: impl Fn(&mut Value),
    #[case] wait: &str,
    #[case] sync: &str,
) {
    let mirror = mirror(state);
    assert_eq!(kind(&readiness(Some(&mirror))), wait);
    assert_eq!(kind(&request(Some(&mirror), "one")), sync);
}

#[rstest]
#[case::new_object(new_object)]
#[case::no_status(no_status)]
fn a_new_object_is_not_taken_for_ready(#[case] state: impl Fn(&mut Value)) {
    let mirror = mirror(state);
    assert_eq!(kind(&readiness(Some(&mirror))), "waiting");
    assert_eq!(kind(&request(Some(&mirror), "one")), "waiting");
}

#[test]
fn what_is_gone_is_not_waited_for() {
    assert_eq!(kind(&readiness(None)), "hopeless");
    assert_eq!(kind(&request(None, "one")), "hopeless");
}

#[test]
fn a_condition_of_an_older_generation_does_not_count() {
    let old = mirror(|mirror| mirror["status"]["conditions"][0]["observedGeneration"] = json!(1));
    assert_eq!(kind(&readiness(Some(&old))), "waiting");
}

#[test]
fn what_is_waited_for_is_told() {
    let copying = mirror(copying);
    let expected = Verdict::Waiting("Progressing: so it is (Job base-1)".to_owned());
    assert_eq!(readiness(Some(&copying)), expected);
    let ready = mirror(ready);
    let expected = Verdict::Over(End::Done("Succeeded: so it is".to_owned()));
    assert_eq!(readiness(Some(&ready)), expected);
}

/// `two` was asked for. Whatever the mirror was before, it says nothing about that.
#[rstest]
#[case::not_yet(json!({OURS: "two"}), "one", "waiting")]
#[case::now(json!({OURS: "two"}), "two", "done")]
#[case::never_any(json!({OURS: "two"}), "", "waiting")]
#[case::somebody_asked_again(json!({OURS: "three"}), "one", "waiting")]
#[case::and_was_answered(json!({OURS: "three"}), "three", "done")]
#[case::flux_asked_again(json!({OURS: "two", FLUX: "zwei"}), "zwei", "done")]
#[case::taken_away(json!({}), "one", "hopeless")]
#[case::taken_away_later(json!({}), "two", "done")]
fn only_a_scan_after_the_request_answers_it(
    #[case] annotations: Value,
    #[case] handled: &str,
    #[case] expected: &str,
) {
    let mirror = mirror(|mirror| {
        mirror["metadata"]["annotations"] = annotations;
        mirror["status"]["lastHandledReconcileAt"] = match handled {
            "" => Value::Null,
            handled => json!(handled),
        };
    });
    assert_eq!(kind(&request(Some(&mirror), "two")), expected);
}

#[test]
fn a_request_that_cannot_be_handled_is_not_waited_for() {
    for state in [suspended, deleted] {
        let mirror = mirror(|mirror| {
            state(mirror);
            mirror["metadata"]["annotations"][OURS] = json!("two");
        });
        assert_eq!(kind(&request(Some(&mirror), "two")), "hopeless");
    }
}

#[rstest]
#[case::first(json!({}), Value::Null)]
#[case::later(json!({OURS: "2026-01-01T11:59:59Z"}), json!("2026-01-01T11:59:59Z"))]
#[case::seconds(json!({OURS: "1767268800"}), Value::Null)]
#[case::at_the_same_time(json!({OURS: "2026-01-01T12:00:00Z"}), Value::Null)]
#[case::by_a_clock_in_front(json!({FLUX: "2026-01-01T14:00:00+02:00"}), Value::Null)]
#[case::by_hand(json!({OURS: "now", FLUX: "please"}), json!("please"))]
#[case::taken_away(json!({}), json!("2026-01-01T12:00:00Z"))]
fn a_new_request_counts_whatever_was_there(#[case] annotations: Value, #[case] handled: Value) {
    let mut mirror = mirror(|mirror| {
        mirror["metadata"]["annotations"] = annotations;
        mirror["status"]["lastHandledReconcileAt"] = handled;
    });
    let handled = mirror.status.as_ref().unwrap();
    let handled = handled.last_handled_reconcile_at.as_deref();
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let value = new_request(&mirror.metadata, handled, now);
    let annotations = mirror.metadata.annotations.as_mut().unwrap();
    annotations.insert(OURS.to_owned(), value.clone());
    assert_eq!(requested_reconcile(&mirror.metadata), Some(value.as_str()));
    let handled = mirror.status.unwrap().last_handled_reconcile_at;
    assert_ne!(handled, Some(value));
}
