//! `transship kubectl` against an API server that answers as a test says: what is asked, what is printed,
//! with which exit code. What a real one makes of it is tested end to end.

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Notify;
use transship::worker::EXIT_INTERRUPTED;

use super::{stderr, stdout};
use crate::support::scripted_server::{Asked, ScriptedServer, broken_off, status};

const MIRRORS: &str = "/apis/transship.dev/v1alpha1/namespaces/shop/imagemirrors";
const TOKEN: &str = "canary-token";

/// An API server and a kubeconfig that names it.
struct Scene {
    server: ScriptedServer,
    directory: TempDir,
}

impl Scene {
    async fn start(script: impl Fn(&Asked) -> Response<Body> + Send + Sync + 'static) -> Self {
        let server = ScriptedServer::start(script).await;
        let directory = tempfile::tempdir().unwrap();
        let scene = Self { server, directory };
        scene.write_kubeconfig("shop", &json!({"token": TOKEN}));
        scene
    }

    fn kubeconfig(&self) -> String {
        self.directory.path().join("config").display().to_string()
    }

    fn write_kubeconfig(&self, namespace: &str, user: &Value) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.server.host())}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [
                {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}},
                {"name": "there", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
            ],
        });
        // JSON is YAML.
        std::fs::write(self.kubeconfig(), config.to_string()).unwrap();
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transship"));
        command
            .arg0("/usr/local/bin/kubectl-transship")
            .args(arguments.split_whitespace())
            .env_clear()
            .env("KUBECONFIG", self.kubeconfig())
            .kill_on_drop(true)
            .stdin(Stdio::null());
        command
    }

    /// Runs the plugin. Whatever it prints, the token is not in it.
    async fn run(&self, arguments: &str) -> Output {
        let output = self.command(arguments).output().await.unwrap();
        for printed in [&output.stdout, &output.stderr] {
            assert!(
                !String::from_utf8_lossy(printed).contains(TOKEN),
                "{output:?}"
            );
        }
        output
    }

    /// Requests to start a watch, and for lists.
    fn watches_and_lists(&self) -> (usize, usize) {
        let asked = self.server.asked();
        let of_kind = |wanted| {
            asked
                .iter()
                .filter(|asked| asked.path() == MIRRORS && is_watch(asked) == wanted)
                .count()
        };
        (of_kind(true), of_kind(false))
    }
}

fn is_watch(asked: &Asked) -> bool {
    !asked.query("watch").is_empty()
}

fn json_answer(document: &Value) -> Response<Body> {
    Response::builder()
        .header("content-type", "application/json")
        .body(Body::from(document.to_string()))
        .unwrap()
}

fn refusal(code: u16, message: &str, name: &str) -> Response<Body> {
    let document = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message,
        "reason": "", "details": {"name": name, "kind": "imagemirrors"},
    });
    let mut answer = json_answer(&document);
    *answer.status_mut() = code.try_into().unwrap();
    answer
}

/// The events, and then nothing for as long as the client listens.
fn watch_answer(events: &[Value]) -> Response<Body> {
    let lines: Vec<_> = events
        .iter()
        .map(|event| Ok::<_, std::io::Error>(Bytes::from(format!("{event}\n"))))
        .collect();
    Response::new(Body::from_stream(
        stream::iter(lines).chain(stream::pending()),
    ))
}

fn list(items: &[Value], continue_token: &str) -> Value {
    json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirrorList", "items": items,
        "metadata": {"resourceVersion": "5", "continue": continue_token},
    })
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": message,
        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T11:00:00Z",
    })
}

fn mirror(name: &str, conditions: &[Value]) -> Value {
    json!({
        "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
        "metadata": {
            "name": name, "namespace": "shop", "generation": 1, "resourceVersion": "5",
            "managedFields": [{"manager": "helm"}],
        },
        "spec": {"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]},
        "status": {"observedGeneration": 1, "summary": "0/1", "desired": 1, "conditions": conditions},
    })
}

fn ready() -> Value {
    let conditions = [condition("Ready", "True", "Succeeded", "1 image in place")];
    mirror("base", &conditions)
}

fn copying() -> Value {
    let conditions = [condition(
        "Ready",
        "Unknown",
        "Progressing",
        "copying 1 image",
    )];
    mirror("base", &conditions)
}

fn stalled() -> Value {
    let conditions = [
        condition("Ready", "False", "PushDenied", "1 of 1 images failed"),
        condition("Stalled", "True", "PushDenied", "1 of 1 images failed"),
    ];
    mirror("base", &conditions)
}

/// A server with the one mirror, whose watch `n` is answered by `watch(n)`.
fn server_of(
    mirror: Value,
    watch: impl Fn(usize) -> Response<Body> + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Response<Body> + Send + Sync + 'static {
    let watches = AtomicUsize::new(0);
    move |asked| {
        if asked.method == "PATCH" {
            return json_answer(&mirror);
        }
        if is_watch(asked) {
            return watch(watches.fetch_add(1, Ordering::Relaxed));
        }
        match asked.path().strip_prefix(MIRRORS) {
            Some("") => json_answer(&list(std::slice::from_ref(&mirror), "")),
            Some("/base") => json_answer(&mirror),
            Some(_) => refusal(404, "not found", "other"),
            None => refusal(403, "you may not", ""),
        }
    }
}

fn no_watch(_: usize) -> Response<Body> {
    watch_answer(&[])
}

fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn get_prints_a_table_and_objects() {
    let scene = Scene::start(server_of(stalled(), no_watch)).await;
    let table = scene.run("get").await;
    assert!(table.status.success(), "{table:?}");
    assert!(text(&table).starts_with("NAME   READY   IMAGES   REASON "));
    assert!(text(&table).contains("shop/base has stalled until somebody mends it: PushDenied:"));
    assert_eq!(stderr(&table), "");

    let object = scene.run("get base --output json").await;
    let object: Value = serde_json::from_slice(&object.stdout).unwrap();
    assert_eq!(object["status"], stalled()["status"]);
    assert_eq!(object["kind"], "ImageMirror");
    assert_eq!(object["metadata"].get("managedFields"), None);
    let listed = scene.run("get -o yaml").await;
    let listed: Value = serde_saphyr::from_str(text(&listed)).unwrap();
    assert_eq!(listed["kind"], "List");
    assert_eq!(listed["items"], json!([object]));
    for asked in scene.server.asked() {
        assert_eq!(asked.authorization(), Some(&*format!("Bearer {TOKEN}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_page_by_page_and_one_bad_object_hides_no_other() {
    let scene = Scene::start(|asked: &Asked| {
        assert_eq!(asked.path(), "/apis/transship.dev/v1alpha1/imagemirrors");
        match asked.query("continue").first().map(String::as_str) {
            None => json_answer(&list(&[mirror("first", &[])], "more")),
            Some("more") => {
                let mut bad = mirror("bad", &[]);
                bad["spec"] = json!({"sources": 1});
                json_answer(&list(&[bad, mirror("last", &[])], ""))
            }
            Some(_) => refusal(410, "expired", ""),
        }
    })
    .await;
    let output = scene.run("-n other get -A").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output).contains("shop        first") && text(&output).contains("shop        last")
    );
    assert!(stderr(&output).contains("cannot read ImageMirror shop/bad:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn images_say_when_there_are_more() {
    let mut mirror = ready();
    mirror["status"]["desired"] = json!(3);
    mirror["status"]["images"] = json!([{
        "source": "a.test/app:1",
        "destinations": [{"reference": "b.test/app:1", "state": "Failed", "reason": "PushDenied"}],
    }]);
    let scene = Scene::start(server_of(mirror, no_watch)).await;
    let all = scene.run("images base").await;
    assert!(text(&all).contains("Failed   a.test/app:1"), "{all:?}");
    assert!(stderr(&all).contains("lists 1 of 3 images"), "{all:?}");
    let present = scene
        .run("images base --state present,pending -o json")
        .await;
    let present: Value = serde_json::from_slice(&present.stdout).unwrap();
    assert_eq!(
        present,
        json!({"mirror": "shop/base", "desired": 3, "listed": 1, "images": []})
    );
}

#[rstest]
#[case::get("get other", 1, "there is no shop/other")]
#[case::wait("wait other", 1, "there is no shop/other")]
#[case::refused("-n foreign get", 1, "the API server refused: you may not")]
#[case::no_context("--context nowhere get", 1, "nowhere")]
#[case::no_file("--kubeconfig /none get", 1, "/none")]
#[case::path_in_a_name("get ../../secrets", 2, "expected a name")]
#[case::name_everywhere("get base -A", 2, "cannot be used with")]
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_in_one_line(
    #[case] arguments: &str,
    #[case] code: i32,
    #[case] expected: &str,
) {
    let scene = Scene::start(server_of(ready(), no_watch)).await;
    let output = scene.run(arguments).await;
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(stderr(&output).contains(expected), "{output:?}");
    assert_eq!(text(&output), "");
    if code == 1 {
        assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_of_kubectl_choose_namespace_and_context() {
    let scene = Scene::start(server_of(ready(), no_watch)).await;
    scene.write_kubeconfig("foreign", &json!({"token": TOKEN}));
    assert!(!scene.run("get base").await.status.success());
    for arguments in [
        "get base -n shop",
        "--namespace=shop get base",
        "get base --context there",
    ] {
        let output = scene.run(arguments).await;
        assert!(output.status.success(), "{arguments}: {output:?}");
    }
    let config = scene.kubeconfig();
    let elsewhere = scene.directory.path().join("elsewhere");
    std::fs::rename(config, &elsewhere).unwrap();
    let output = scene
        .run(&format!(
            "get base -n shop --kubeconfig {}",
            elsewhere.display()
        ))
        .await;
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_plugin_that_fails_is_named_and_not_quoted() {
    let scene = Scene::start(server_of(ready(), no_watch)).await;
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh",
        "args": ["-c", format!("echo {TOKEN}; echo {TOKEN} >&2; exit 3")], "interactiveMode": "Never",
    });
    scene.write_kubeconfig("shop", &json!({"exec": exec}));
    let output = scene.run("get").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stderr(&output).contains("no credentials for the API server"),
        "{output:?}"
    );
    assert_eq!(scene.server.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let scene = Scene::start(|_: &Asked| {
        let nothing = stream::pending::<Result<Bytes, std::io::Error>>();
        Response::new(Body::from_stream(nothing))
    })
    .await;
    let output = scene.run("get --request-timeout 1").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stderr(&output).contains("did not answer within 1 s"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_goes_on_over_a_broken_watch_without_asking_in_a_loop() {
    let scene = Scene::start(server_of(copying(), |watch| match watch {
        0 => Response::new(broken_off(b"")),
        1 => watch_answer(&[json!({
            "type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old", "reason": "Expired"},
        })]),
        _ => watch_answer(&[json!({"type": "MODIFIED", "object": ready()})]),
    }))
    .await;
    let output = scene.run("wait base --timeout 60s").await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = stderr(&output);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "waiting for shop/base: Progressing: copying 1 image",
            "shop/base: Succeeded: 1 image in place"
        ]
    );
    // One list at first, and one because the version was too old.
    assert_eq!(scene.watches_and_lists(), (3, 2));
    let watch = scene.server.asked().into_iter().find(is_watch).unwrap();
    assert_eq!(watch.query("fieldSelector"), ["metadata.name=base"]);
}

#[rstest]
#[case::ready(ready(), 0, "shop/base: Succeeded")]
#[case::stalled(stalled(), 10, "shop/base failed: PushDenied")]
#[case::in_time(copying(), 12, "the 1 s are over: Progressing: copying 1 image")]
#[tokio::test(flavor = "multi_thread")]
async fn how_waiting_ended_is_the_exit_code(
    #[case] mirror: Value,
    #[case] code: i32,
    #[case] expected: &str,
) {
    let scene = Scene::start(server_of(mirror, no_watch)).await;
    let output = scene.run("wait base --timeout 1s").await;
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(stderr(&output).contains(expected), "{output:?}");
    assert_eq!(scene.watches_and_lists().1, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_can_be_interrupted() {
    let watched = Arc::new(Notify::new());
    let watch = Arc::clone(&watched);
    let scene = Scene::start(server_of(copying(), move |_| {
        watch.notify_one();
        no_watch(0)
    }))
    .await;
    let mut child = scene.command("wait base").spawn().unwrap();
    tokio::select! {
        () = watched.notified() => {}
        ended = child.wait() => panic!("it did not wait: {ended:?}"),
    }
    let process = child.id().unwrap().to_string();
    let told = Command::new("kill").args(["-INT", &process]).status();
    assert!(told.await.unwrap().success());
    let ended = child.wait().await.unwrap();
    assert_eq!(ended.code(), Some(i32::from(EXIT_INTERRUPTED)));
}

/// What may pass is tried again until the time is over, in pauses; what cannot is not.
#[rstest]
#[case::gone(503, "unavailable", 12, 3..6)]
#[case::forbidden(403, "you may not watch", 1, 1..2)]
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_does_not_come_is_told(
    #[case] code: u16,
    #[case] message: &'static str,
    #[case] exit_code: i32,
    #[case] attempts: std::ops::Range<usize>,
) {
    let scene = Scene::start(move |asked: &Asked| {
        if asked.path() == MIRRORS {
            refusal(code, message, "")
        } else {
            json_answer(&copying())
        }
    })
    .await;
    let output = scene.run("wait base --timeout 3s").await;
    assert_eq!(output.status.code(), Some(exit_code), "{output:?}");
    assert!(stderr(&output).contains(message), "{output:?}");
    let (_, lists) = scene.watches_and_lists();
    assert!(attempts.contains(&lists), "{lists}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_asks_once_with_a_new_value() {
    let mut mirror = ready();
    mirror["metadata"]["annotations"] = json!({"reconcile.fluxcd.io/requestedAt": "please"});
    let scene = Scene::start(server_of(mirror, no_watch)).await;
    let output = scene.run("sync base").await;
    assert!(output.status.success(), "{output:?}");
    let patch = patches(&scene);
    let annotation = "reconcile.transship.dev/requestedAt";
    assert_eq!(
        patch,
        [json!({"metadata": {"annotations": {annotation: "please+"}}})]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_does_not_ask_what_nobody_will_answer() {
    let mut suspended = ready();
    suspended["spec"]["suspend"] = json!(true);
    let scene = Scene::start(server_of(suspended, no_watch)).await;
    let output = scene.run("sync base --wait").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("`kubectl transship resume base` goes first"));
    assert_eq!(patches(&scene), [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn suspending_is_one_field_of_its_own_manager_and_git_is_named() {
    let mut mirror = ready();
    mirror["metadata"]["labels"] = json!({"kustomize.toolkit.fluxcd.io/name": "apps"});
    let scene = Scene::start(server_of(mirror, no_watch)).await;
    let output = scene.run("suspend base").await;
    assert!(output.status.success(), "{output:?}");
    let said = stderr(&output);
    assert!(
        said.contains("Flux (Kustomization apps) manages shop/base and may put"),
        "{said}"
    );
    assert_eq!(patches(&scene), [json!({"spec": {"suspend": true}})]);
    let asked = scene.server.asked();
    let patch = asked.iter().find(|asked| asked.method == "PATCH").unwrap();
    assert_eq!(patch.query("fieldManager"), ["kubectl-transship"]);
    assert_eq!(
        patch.header("content-type"),
        Some("application/merge-patch+json")
    );
    // It is not suspended at this server: nothing is written.
    let output = scene.run("resume base").await;
    assert!(stderr(&output).contains("is resumed already"), "{output:?}");
    assert_eq!(patches(&scene).len(), 1);
}

fn patches(scene: &Scene) -> Vec<Value> {
    let asked = scene.server.asked();
    asked
        .iter()
        .filter(|asked| asked.method == "PATCH")
        .map(|asked| serde_json::from_slice(asked.body.as_ref().unwrap()).unwrap())
        .collect()
}

/// Nothing is asked of an API server that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_an_error() {
    let scene = Scene::start(|_: &Asked| status(500)).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = std::fs::read_to_string(scene.kubeconfig()).unwrap();
    let config = config.replace(scene.server.host(), &free.to_string());
    std::fs::write(scene.kubeconfig(), config).unwrap();
    let output = scene.run("get").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stderr(&output).contains("cannot use the API server: "),
        "{output:?}"
    );
    assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
}

#[test]
fn a_misspelt_option_is_not_taken_for_one_of_skopeo() {
    let said = stderr(&super::run(&["kubectl", "get", "--all"]));
    assert!(said.contains("'--all-namespaces'"), "{said}");
    assert!(!said.contains("--platform"), "{said}");
}

#[test]
fn completion_knows_the_commands_of_the_plugin() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&super::run(&["completion", shell]));
        for word in ["suspend", "request-timeout", "all-namespaces"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
