//! The health of a mirror and of a build, as Argo CD and Flux see it, in every state that there is.

use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use transship::api::{ConditionType, Conditions};
use transship::reason::Reason;

use super::{argocd_setting, build, documents, mirror, run_in_argocd};
use crate::support::tools::ask;

const FLUX: &str = include_str!("../../examples/flux.yaml");

type Condition = (ConditionType, &'static str, Reason);

const READY: Condition = (ConditionType::Ready, "True", Reason::Succeeded);
const UNKNOWN: Condition = (ConditionType::Ready, "Unknown", Reason::Progressing);
const FAILED: Condition = (ConditionType::Ready, "False", Reason::PushDenied);
const WORKING: Condition = (ConditionType::Reconciling, "True", Reason::Progressing);
const RETRYING: Condition = (
    ConditionType::Reconciling,
    "True",
    Reason::ProgressingWithRetry,
);
const STALLED: Condition = (ConditionType::Stalled, "True", Reason::PushDenied);

/// The object with a status that the operator has written for this generation.
fn observed(mut object: Value, generation: i64, conditions: &[Condition]) -> Value {
    let built = conditions.iter().fold(
        Conditions::new(&[], Some(generation), Timestamp::UNIX_EPOCH),
        |built, (type_, status, reason)| {
            built.set(
                *type_,
                status,
                *reason,
                format!("{} is {status}", type_.as_str()),
            )
        },
    );
    object["status"] = json!({"observedGeneration": generation, "conditions": built.build()});
    object
}

fn suspended(mut object: Value) -> Value {
    object["spec"]["suspend"] = json!(true);
    object
}

fn deleted(mut object: Value) -> Value {
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    object
}

/// Flux's verdict by the expressions of the example, and the one by kstatus.
async fn flux(object: &Value) -> (String, String) {
    let kustomization = documents(FLUX).swap_remove(0);
    let question = json!({"kustomization": kustomization, "object": object});
    let answer = ask("flux", &[], &question.to_string()).await.unwrap();
    let (expressions, kstatus) = answer.split_once('\n').unwrap();
    (expressions.to_owned(), kstatus.to_owned())
}

#[rstest]
#[case::new(|object| object, "Progressing: Waiting for the operator", "InProgress")]
#[case::spec_not_seen(
    |object| observed(object, 1, &[READY]), "Progressing: The operator has not seen the newest spec yet", "InProgress")]
#[case::failed_before(
    |object| observed(object, 1, &[FAILED, STALLED]),
    "Progressing: The operator has not seen the newest spec yet", "InProgress")]
#[case::ready(|object| observed(object, 2, &[READY]), "Healthy: Ready is True", "Current")]
#[case::working(|object| observed(object, 2, &[UNKNOWN, WORKING]), "Progressing: Reconciling is True", "InProgress")]
#[case::starting(|object| observed(object, 2, &[UNKNOWN]), "Progressing: Ready is Unknown", "InProgress")]
#[case::retrying(|object| observed(object, 2, &[FAILED, RETRYING]), "Progressing: Reconciling is True", "InProgress")]
#[case::copying_more(|object| observed(object, 2, &[READY, WORKING]), "Progressing: Reconciling is True", "InProgress")]
#[case::stalled(|object| observed(object, 2, &[FAILED, STALLED]), "Degraded: PushDenied: Stalled is True", "Failed")]
// Suspending is a change of the spec, which is not acted upon while it lasts.
#[case::suspended(
    |object| suspended(observed(object, 1, &[READY])), "Suspended: KIND is suspended", "InProgress")]
#[case::deleted(|object| deleted(observed(object, 2, &[READY])), "Progressing: Deletion in progress", "InProgress")]
#[tokio::test]
async fn argo_cd_and_flux_see_the_same(
    #[case] brought_about: fn(Value) -> Value,
    #[case] argocd: &str,
    #[case] flux_verdict: &str,
    #[values(mirror(), build())] object: Value,
) {
    let argocd = argocd.replace("KIND", object["kind"].as_str().unwrap());
    let object = brought_about(object);
    let health = run_in_argocd(&argocd_setting("health", &object), &object)
        .await
        .unwrap();
    let health = format!(
        "{}: {}",
        health["status"].as_str().unwrap(),
        health["message"].as_str().unwrap()
    );
    assert_eq!(health, argocd);
    let (expressions, kstatus) = flux(&object).await;
    assert_eq!(expressions, flux_verdict);
    // Without the expressions the verdict is the same; an object that is deleted has one of its own.
    assert_eq!(kstatus.replace("Terminating", "InProgress"), flux_verdict);
}

/// What the scripts may not use is not there: a script that passes here passes in Argo CD.
#[rstest]
#[case::strings(
    "return {status = string.upper('healthy')}",
    "attempt to index a non-table object(nil)"
)]
#[case::files(
    "return {status = io.open('/etc/passwd')}",
    "attempt to index a non-table object(nil)"
)]
#[case::os_that_nobody_required(
    "return {status = os.date()}",
    "attempt to index a non-table object(nil)"
)]
#[case::processes(
    "return {status = require('os').execute('true')}",
    "attempt to call a non-function object"
)]
#[case::long_scripts("while true do end", "context deadline exceeded")]
#[case::what_is_no_table("return 'Healthy'", "not a table")]
#[tokio::test]
async fn the_interpreter_is_as_strict_as_that_of_argo_cd(
    #[case] script: &str,
    #[case] complaint: &str,
) {
    let error = run_in_argocd(script, &mirror()).await.unwrap_err();
    assert!(error.contains(complaint), "{error}");
}
