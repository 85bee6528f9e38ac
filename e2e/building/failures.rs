//! What goes wrong, what it is called, and that the next good build succeeds.

use rstest::rstest;
use serde_json::{Value, json};

use super::workshop::Workshop;
use crate::harness::{Build, eventually};

#[tokio::test]
async fn a_failed_instruction_is_named_with_its_log_and_without_secrets() {
    let workshop = Workshop::open("building-failure").await;
    workshop.secret("build-secret", &json!({"password": "correct-horse"}));
    let dockerfile = "ARG BASE\nFROM ${BASE}\nRUN --mount=type=secret,id=password cat /run/secrets/password; exit 42\n";
    let mut spec = workshop.spec("app", dockerfile);
    spec["secrets"] =
        json!([{"id": "password", "secretRef": {"name": "build-secret", "key": "password"}}]);
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let status = build.wait_failed("RunCommandFailed").await;
    let failure = status.last_failure.clone().unwrap();
    assert_eq!(
        (failure.class.as_str(), failure.line),
        ("Dockerfile", Some(3))
    );
    assert!(failure.instruction.unwrap().contains("exit 42"));
    let log = failure.log_tail.unwrap();
    assert!(log.contains("***"), "{log}");
    let shown = serde_json::to_string(&status).unwrap();
    assert!(!shown.contains("correct-horse"), "{shown}");
    assert_eq!(
        workshop
            .cluster
            .plain
            .digest(&format!("{}:main", workshop.image("app"))),
        None
    );

    spec["source"]["inline"]["dockerfile"] = json!("ARG BASE\nFROM ${BASE}\nRUN touch /done\n");
    build.change(&spec);
    let status = build.wait_ready().await;
    assert_eq!(status.build.unwrap().number, 2);
    assert_eq!(status.last_failure, None);
}

#[tokio::test]
async fn what_is_missing_is_named_and_its_arrival_is_noticed() {
    let workshop = Workshop::open("building-missing").await;
    let mut spec = workshop.spec("app", "ARG BASE\nFROM ${BASE}\nRUN touch /done\n");
    spec["secrets"] = json!([{"id": "password", "secretRef": {"name": "late", "key": "password"}}]);
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let status = build.wait_failed("SecretNotFound").await;
    assert_eq!(status.build, None);
    workshop.secret("late", &json!({"password": "here"}));
    build.request();
    build.wait_ready().await;
}

#[rstest]
#[case::no_node(|spec: &mut Value| spec["pod"] = json!({"nodeSelector": {"kind": "nowhere"}}), "didn't match")]
#[case::no_image(|spec: &mut Value| spec["builder"]["image"] = json!("nowhere.test/builder:1"), "nowhere.test/builder:1")]
#[tokio::test]
async fn a_pod_that_never_starts_ends_with_what_kept_it(
    #[case] change: fn(&mut Value),
    #[case] obstacle: &str,
) {
    let workshop = Workshop::open("building-unstarted").await;
    let good = workshop.spec("app", "ARG BASE\nFROM ${BASE}\nRUN touch /done\n");
    let mut spec = good.clone();
    spec["timeout"] = json!("20s");
    change(&mut spec);
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let failure = build.wait_failed("TimedOut").await.last_failure.unwrap();
    assert_eq!(failure.class, "Timeout");
    assert!(failure.message.contains(obstacle), "{failure:?}");
    let get = ["get", "pods", "--output=name"];
    eventually("the pod to be gone", || async {
        let pods = workshop.namespace.kubectl(&get);
        pods.is_empty().then_some(()).ok_or(pods)
    })
    .await;
    build.change(&good);
    build.wait_ready().await;
}
