//! The policies of the chart, installed with the commands of `docs/admission.md`: who may mirror and build what with
//! whose Secrets.

mod builds;

use serde_json::{Value, json};

use crate::harness::{
    CHART, Cluster, Mirror, Namespace, eventually, run, run_with_input, try_run, upgrade_chart,
};

const GUIDE: &str = include_str!("../docs/admission.md");
/// Somebody who may do everything with mirrors, and nothing else.
const USER: &str = "jane";

/// The policies, until this is dropped.
struct Policies {
    _values: tempfile::NamedTempFile,
}

impl Policies {
    /// Runs those commands of the guide that have `word` in them, with the file that it shows. The first policy is
    /// installed by one test only: an API server does not find the parameters of a binding that comes after the last
    /// one was removed.
    fn install(word: &str) -> Self {
        let values = tempfile::NamedTempFile::new().unwrap();
        let (_, shown) = GUIDE.split_once("```yaml\n").unwrap();
        let (shown, _) = shown.split_once("```").unwrap();
        std::fs::write(&values, shown).unwrap();
        let commands = GUIDE
            .lines()
            .filter_map(|line| line.strip_prefix("    helm "))
            .filter(|command| command.contains(word));
        let mut count = 0;
        for command in commands {
            let words = command.split_whitespace().map(|word| match word {
                "charts/transship" => CHART,
                "allow.yaml" => values.path().to_str().unwrap(),
                word => word,
            });
            let command: Vec<&str> = std::iter::once("helm").chain(words).collect();
            run(&command);
            count += 1;
        }
        assert_eq!(count, 1, "the command of the guide");
        Self { _values: values }
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        upgrade_chart(&[
            "--set",
            "admission.secretAuthorizer=false",
            "--set-json",
            "admission.allow=[]",
        ]);
    }
}

fn apply(namespace: &Namespace, user: &[&str], name: &str, spec: &Value) -> Result<String, String> {
    apply_object(namespace, user, "ImageMirror", name, spec)
}

fn apply_object(
    namespace: &Namespace,
    user: &[&str],
    kind: &str,
    name: &str,
    spec: &Value,
) -> Result<String, String> {
    let object = json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace.name}, "spec": spec,
    });
    let command = [&["kubectl", "apply", "--filename", "-"], user].concat();
    run_with_input(&command, &object.to_string())
}

fn patch(namespace: &Namespace, user: &[&str], name: &str, spec: &Value) -> Result<String, String> {
    let patch = json!({"spec": spec}).to_string();
    let command = [
        "kubectl",
        "patch",
        "imir",
        name,
        "--namespace",
        &namespace.name,
        "--type=merge",
        "--patch",
        &patch,
    ];
    try_run(&[&command[..], user].concat())
}

/// The API server takes a moment to notice a policy.
async fn policy_holds(namespace: &Namespace, user: &[&str], refused: &Value) {
    eventually("the policy", || async {
        match apply(namespace, user, "first", refused) {
            Ok(_) => {
                namespace.kubectl(&["delete", "imir", "first"]);
                Err("admitted".to_owned())
            }
            // Its parameters are noticed later than itself.
            Err(message) if message.contains("no params found") => Err(message),
            Err(_) => Ok(()),
        }
    })
    .await;
}

fn assert_refused(answer: Result<String, String>, texts: &[&str]) {
    let message = answer.expect_err("it was admitted");
    for text in texts {
        assert!(message.contains(text), "{text:?} is not in: {message}");
    }
}

/// A mirror that rests.
fn spec(source: &Value, prefix: &str) -> Value {
    json!({"suspend": true, "sources": [source], "destinations": [{"prefix": prefix}]})
}

fn image(name: &str) -> Value {
    json!({"image": name})
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_and_says_what_is() {
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("policies");
    let own = format!("registry.corp.example/{}", namespace.name);
    builds::apply_one_that_is_not_allowed_yet(&namespace);
    apply(
        &namespace,
        &[],
        "before",
        &spec(&image("ghcr.io/old/app:1"), "old.example/app"),
    )
    .unwrap();
    let policies = Policies::install("allow.yaml");
    run(&[
        "kubectl",
        "label",
        "namespace",
        &namespace.name,
        "example.com/kind=team",
    ]);
    let first = spec(&image("ghcr.io/org/app:1"), &own);
    policy_holds(&namespace, &[], &first).await;
    let refused = apply(&namespace, &[], "first", &first);
    assert_refused(
        refused,
        &[
            "spec.sources: ghcr.io/org/app is not allowed in this namespace",
            "allowed are: docker.io/library, quay.io/prometheus",
        ],
    );
    for source in [
        image("docker.io/org/app:1"),
        image("org/app"),
        image("quay.io/prometheus-of-others/app:1"),
        image("quay.io:8443/prometheus/app:1"),
        image("localhost/docker.io/library/alpine"),
        json!({"repository": "quay.io/org/app"}),
        image(
            "evil.example/docker.io/library/alpine:3@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
    ] {
        assert_refused(
            apply(&namespace, &[], "bad", &spec(&source, &own)),
            &["spec.sources", "is not allowed"],
        );
    }
    for prefix in [
        "registry.corp.example/other",
        "registry.corp.example",
        "evil.example/mirror",
        &format!("{own}-2"),
    ] {
        let refused = apply(&namespace, &[], "bad", &spec(&image("alpine:3"), prefix));
        assert_refused(
            refused,
            &[
                "spec.destinations",
                "is not allowed",
                &format!("allowed are: {own}"),
            ],
        );
    }
    for (index, source) in [
        image("alpine"),
        image("alpine:3"),
        image("docker.io/alpine:3"),
        image("DOCKER.io/library/alpine:3"),
        image("quay.io/prometheus/node-exporter:v1@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        json!({"repository": "nginx"}),
        json!({"repository": "quay.io/prometheus/prometheus"}),
    ]
    .iter()
    .enumerate()
    {
        let mut spec = spec(source, &own);
        spec["destinations"][0]["path"] = json!(format!("good-{index}/{{repository}}"));
        apply(&namespace, &[], &format!("good-{index}"), &spec).unwrap();
    }

    // What was there before can be changed, but not to something else that is not allowed.
    patch(&namespace, &[], "before", &json!({"interval": "2h"})).unwrap();
    assert_refused(
        patch(
            &namespace,
            &[],
            "before",
            &json!({"sources": [image("ghcr.io/old/app:2")]}),
        ),
        &["ghcr.io/old/app is not allowed"],
    );
    builds::what_is_not_allowed_is_refused(&namespace).await;
    // Where nothing is selected nothing is limited.
    let elsewhere = cluster.namespace("not-limited");
    apply(
        &elsewhere,
        &[],
        "free",
        &spec(&image("ghcr.io/org/app:1"), "free.example/app"),
    )
    .unwrap();
    drop(policies);
}

/// Gives the user rights in the namespace.
fn grant(namespace: &Namespace, name: &str, rules: &Value) {
    namespace.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": name, "namespace": namespace.name}, "rules": rules,
    }));
    namespace.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace.name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
    }));
}

/// Specs that name the Secret `name`, each in another field.
fn naming(name: &str) -> Vec<Value> {
    let reference = json!({"name": name});
    let identity = json!([{"issuer": "https://issuer\\.test", "subject": "one"}]);
    let good = || {
        spec(
            &image("nowhere.registry.test/app:1"),
            "nowhere.registry.test/mirror",
        )
    };
    let mut specs = Vec::new();
    for (pointer, field) in [
        ("/sources/0", "secretRef"),
        ("/sources/0", "certSecretRef"),
        ("/destinations/0", "secretRef"),
        ("/destinations/0", "certSecretRef"),
    ] {
        let mut spec = good();
        spec.pointer_mut(pointer).unwrap()[field] = reference.clone();
        specs.push(spec);
    }
    for verify in [
        json!({"secretRef": reference}),
        json!({"matchOIDCIdentity": identity, "trustedRootSecretRef": reference}),
    ] {
        let mut spec = good();
        spec["verify"] = json!([verify]);
        specs.push(spec);
    }
    specs
}

#[tokio::test]
async fn nobody_uses_a_secret_through_a_mirror_who_may_not_get_it() {
    let cluster = Cluster::alone().await;
    let namespace = cluster.namespace("secrets");
    let user = ["--as", USER, "--namespace", &namespace.name];
    grant(
        &namespace,
        "mirrors",
        &json!([
            {"apiGroups": ["transship.dev"], "resources": ["imagemirrors", "imagebuilds"], "verbs": ["*"]},
        ]),
    );
    let policies = Policies::install("secretAuthorizer");
    policy_holds(&namespace, &user, &naming("forbidden")[0]).await;
    for spec in naming("forbidden") {
        assert_refused(
            apply(&namespace, &user, "bad", &spec),
            &[
                "you may not let a mirror use Secret forbidden, because you are not allowed to get it",
            ],
        );
    }
    grant(
        &namespace,
        "one-secret",
        &json!([
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["allowed"], "verbs": ["get"]},
        ]),
    );
    // The authorizer takes a moment to notice, too.
    eventually("the right to get one Secret", || async {
        apply(&namespace, &user, "good", &naming("allowed")[0])
    })
    .await;
    for spec in naming("allowed") {
        apply(&namespace, &user, "good", &spec).unwrap();
    }
    // Repeated names count once, and more than can be asked for are refused.
    let mut many = naming("allowed").remove(0);
    let source = many["sources"][0].clone();
    many["sources"] = (0..40)
        .map(|index| {
            let mut source = source.clone();
            source["image"] = json!(format!("nowhere.registry.test/app:{index}"));
            source
        })
        .collect();
    apply(&namespace, &user, "good", &many).unwrap();
    many["sources"][39]["secretRef"]["name"] = json!("forbidden");
    assert_refused(
        apply(&namespace, &user, "good", &many),
        &["Secret forbidden"],
    );

    let mut account = spec(
        &image("nowhere.registry.test/app:1"),
        "nowhere.registry.test/mirror",
    );
    account["pod"] = json!({"serviceAccountName": "default"});
    assert_refused(
        apply(&namespace, &user, "bad", &account),
        &["spec.pod.serviceAccountName may be set only by those who are allowed to create pods"],
    );
    what_somebody_else_has_made(&cluster, &namespace, &user).await;
    builds::nobody_uses_a_secret_they_may_not_get(&namespace, &user).await;
    drop(policies);
}

/// A mirror of an administrator with a Secret that the user may not get: the operator keeps it, and the user may
/// change what uses the Secret in no other way.
async fn what_somebody_else_has_made(cluster: &Cluster, namespace: &Namespace, user: &[&str]) {
    let spec = json!({
        "deletionPolicy": "Delete",
        "sources": [{"image": format!("{}/library/busybox:1", cluster.plain.host), "insecure": true}],
        "destinations": [{
            "prefix": format!("{}/{}", cluster.secure.host, namespace.name), "path": "busybox",
            "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
        }],
    });
    let mirror = Mirror::apply(cluster, namespace, "given", &spec);
    mirror.wait_ready().await;
    patch(namespace, user, "given", &json!({"interval": "2h"})).unwrap();
    namespace.kubectl(&[
        "annotate",
        "imir",
        "given",
        "reconcile.transship.dev/requestedAt=now",
        "--as",
        USER,
    ]);
    for change in [
        json!({"sources": [image("nowhere.registry.test/app:1")]}),
        json!({"destinations": [{"prefix": "evil.example/x", "secretRef": {"name": "registry-push"}}]}),
    ] {
        let refused = patch(namespace, user, "given", &change);
        assert_refused(
            refused,
            &["Secret registry-", "you are not allowed to get it"],
        );
    }
    // It has a finalizer, which the operator takes away.
    namespace.kubectl(&["delete", "imir", "given", "--timeout=60s", "--as", USER]);
}
