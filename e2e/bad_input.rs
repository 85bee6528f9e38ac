//! What users get wrong: a fixed reason, one sentence that names what to mend and holds no secret,
//! and the other images are copied all the same.

use serde_json::{Value, json};

use crate::harness::{Cluster, Mirror, Namespace, OPERATOR_NAMESPACE, conditions, run};

const WRONG_PASSWORD: &str = "canary-8d1f-wrong-password";

/// A mirror with one good image in one good destination, and one more of each.
struct Case<'a> {
    cluster: &'a Cluster,
    namespace: &'a Namespace,
    name: &'a str,
}

impl<'a> Case<'a> {
    fn source(&self, image: &str) -> Value {
        json!({"image": format!("{}/{image}", self.cluster.plain.host), "insecure": true})
    }

    fn good_destination(&self) -> Value {
        let prefix = format!(
            "{}/{}/{}",
            self.cluster.plain.host, self.namespace.name, self.name
        );
        json!({"prefix": prefix, "path": "{repository}", "insecure": true})
    }

    /// In the secure registry, with the given Secrets.
    fn secure_destination(&self, credentials: &str, certificates: Option<&str>) -> Value {
        let mut destination = json!({
            "prefix": format!("{}/{}/{}", self.cluster.secure.host, self.namespace.name, self.name),
            "path": "{repository}",
            "secretRef": {"name": credentials},
        });
        if let Some(name) = certificates {
            destination["certSecretRef"] = json!({"name": name});
        }
        destination
    }

    fn apply(&self, sources: &Value, destinations: &Value) -> Mirror<'a> {
        let spec = json!({"interval": "15s", "sources": sources, "destinations": destinations});
        Mirror::apply(self.cluster, self.namespace, self.name, &spec)
    }

    /// The mirror fails for `reason`, its message has all of `texts`, and the good image is there.
    async fn assert_fails(&self, mirror: &Mirror<'_>, reason: &str, stalled: bool, texts: &[&str]) {
        let failed = mirror.wait_failed(reason, stalled).await;
        let message = conditions(&failed)[0]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        for text in texts {
            assert!(message.contains(text), "{text:?} is not in: {message}");
        }
        mirror
            .wait_until("the good image", |mirror| {
                let present = mirror
                    .status
                    .as_ref()
                    .is_some_and(|status| status.present == 1);
                if present {
                    Ok(())
                } else {
                    Err("not present".to_owned())
                }
            })
            .await;
        let good = format!("{}/{}/library/busybox:1", self.namespace.name, self.name);
        assert_eq!(
            self.cluster.plain.manifest(&good),
            self.cluster.plain.manifest("library/busybox:1")
        );
        // The verdict stands while attempts go on.
        mirror.wait_failed(reason, stalled).await;
        assert!(mirror.has_event(reason));
    }
}

#[tokio::test]
async fn a_missing_secret_is_named_and_its_arrival_is_noticed() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("missing-secret");
    let case = Case {
        cluster: &cluster,
        namespace: &namespace,
        name: "missing",
    };
    let destinations = json!([
        case.good_destination(),
        case.secure_destination("late", Some("registry-ca"))
    ]);
    let mirror = case.apply(&json!([case.source("library/busybox:1")]), &destinations);
    case.assert_fails(
        &mirror,
        "SecretNotFound",
        true,
        &["Secret late does not exist in this namespace"],
    )
    .await;

    namespace.apply(&namespace.docker_config("late", &cluster.secure.docker_config()));
    mirror.wait_ready().await;
}

#[tokio::test]
async fn a_wrong_password_is_told_without_being_shown() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("wrong-password");
    let auths = json!({"auths": {&cluster.secure.host: {"username": "transship", "password": WRONG_PASSWORD}}});
    namespace.apply(&namespace.docker_config("wrong", &auths.to_string()));
    let case = Case {
        cluster: &cluster,
        namespace: &namespace,
        name: "password",
    };
    let destinations = json!([
        case.good_destination(),
        case.secure_destination("wrong", Some("registry-ca"))
    ]);
    let mirror = case.apply(&json!([case.source("library/busybox:1")]), &destinations);
    case.assert_fails(
        &mirror,
        "AuthenticationFailed",
        true,
        &["refused the credentials", "Secret wrong"],
    )
    .await;

    namespace.apply(&namespace.docker_config("wrong", &cluster.secure.docker_config()));
    mirror.wait_ready().await;

    let everything = [
        namespace.kubectl(&[
            "get",
            "imir,jobs,pods,configmaps,events",
            "--output",
            "yaml",
        ]),
        namespace.kubectl(&[
            "logs",
            "--selector",
            "transship.dev/mirror-uid",
            "--tail=-1",
        ]),
        run(&[
            "kubectl",
            "logs",
            "--namespace",
            OPERATOR_NAMESPACE,
            "--selector",
            "app.kubernetes.io/name=transship",
            "--tail=-1",
        ]),
    ];
    for text in everything {
        assert!(!text.is_empty());
        assert!(!text.contains(WRONG_PASSWORD) && !text.contains(cluster.secure.password()));
    }
}

#[tokio::test]
async fn a_missing_source_tag_is_named() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("missing-source");
    let case = Case {
        cluster: &cluster,
        namespace: &namespace,
        name: "source",
    };
    let late = format!("{}/late:1", namespace.name);
    let sources = json!([case.source("library/busybox:1"), case.source(&late)]);
    let mirror = case.apply(&sources, &json!([case.good_destination()]));
    let expected = format!("has no {}/{late}", cluster.plain.host);
    case.assert_fails(&mirror, "SourceNotFound", true, &[&expected])
        .await;

    cluster.plain.copy("library/busybox:1", &late);
    mirror.wait_ready().await;
}

#[tokio::test]
async fn an_untrusted_certificate_is_named() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("untrusted");
    let case = Case {
        cluster: &cluster,
        namespace: &namespace,
        name: "untrusted",
    };
    let destinations = json!([
        case.good_destination(),
        case.secure_destination("registry-push", None)
    ]);
    let mirror = case.apply(&json!([case.source("library/busybox:1")]), &destinations);
    case.assert_fails(
        &mirror,
        "TlsUntrusted",
        true,
        &["certificate", "no certSecretRef is set"],
    )
    .await;

    let destinations = json!([
        case.good_destination(),
        case.secure_destination("registry-push", Some("registry-ca"))
    ]);
    let mended = case.apply(&json!([case.source("library/busybox:1")]), &destinations);
    mended.wait_ready().await;
}

#[tokio::test]
async fn a_host_that_does_not_resolve_is_tried_again() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("unresolved");
    let case = Case {
        cluster: &cluster,
        namespace: &namespace,
        name: "unresolved",
    };
    let nowhere = json!({"prefix": "nowhere.registry.test/mirror"});
    let mirror = case.apply(
        &json!([case.source("library/busybox:1")]),
        &json!([case.good_destination(), nowhere]),
    );
    case.assert_fails(
        &mirror,
        "RegistryUnreachable",
        false,
        &["nowhere.registry.test", "host name does not resolve"],
    )
    .await;
    let failed = mirror.get().await;
    let reconciling = conditions(&failed)
        .into_iter()
        .find(|condition| condition["type"] == "Reconciling")
        .unwrap();
    assert_eq!(reconciling["reason"], "ProgressingWithRetry");
}

#[tokio::test]
async fn a_destination_that_takes_no_pushes_is_named() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("refusing");
    let refusing = crate::harness::ReadOnlyRegistry::start(&cluster.plain);
    let case = Case {
        cluster: &cluster,
        namespace: &namespace,
        name: "refusing",
    };
    let destination = json!({"prefix": format!("{}/mirror", refusing.host), "insecure": true});
    let mirror = case.apply(
        &json!([case.source("library/busybox:1")]),
        &json!([case.good_destination(), destination]),
    );
    case.assert_fails(
        &mirror,
        "PushDenied",
        true,
        &[&refusing.host, "takes no pushes"],
    )
    .await;
}
