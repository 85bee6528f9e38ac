//! Builds that are made again: the same commit gives the same digest, and a cache spares the steps that nothing has
//! changed.

use rstest::rstest;
use serde_json::{Value, json};

use super::workshop::Workshop;
use crate::harness::{Build, GitServer};

#[rstest]
#[case::buildkit("BuildKit")]
#[case::buildah("Buildah")]
#[tokio::test]
async fn a_commit_gives_the_same_digest_again(#[case] builder: &str) {
    let workshop = Workshop::open("building-same").await;
    let git = GitServer::start(&workshop.cluster.plain).await;
    let dockerfile = "ARG BASE\nFROM ${BASE}\nCOPY answer.txt /\nRUN touch /done\n";
    git.commit(&[("Dockerfile", dockerfile), ("answer.txt", "42\n")]);
    let mut digests = Vec::new();
    for name in ["first", "second"] {
        let mut spec = workshop.spec(name, dockerfile);
        spec["source"] =
            json!({"git": {"url": git.url, "ref": {"branch": "main"}, "insecure": true}});
        spec["builder"] = json!({"type": builder});
        let build = Build::apply(&workshop.cluster, &workshop.namespace, name, &spec);
        digests.push(build.wait_ready().await.image.unwrap().digest);
    }
    assert_eq!(digests[0], digests[1]);
}

#[rstest]
#[case::buildkit("BuildKit")]
#[case::kaniko("Kaniko")]
#[case::img("Img")]
#[tokio::test]
async fn a_cache_spares_the_steps_before_what_has_changed(#[case] builder: &str) {
    let workshop = Workshop::open("building-cache").await;
    let cluster = &workshop.cluster;
    // What the first step makes is another each time that it runs.
    let dockerfile =
        "ARG BASE\nFROM ${BASE}\nRUN head -c 16 /dev/urandom >/random\nCOPY answer.txt /\n";
    let mut spec = workshop.spec("app", dockerfile);
    spec["builder"] = json!({"type": builder});
    spec["cache"] =
        json!({"repository": format!("{}/{}/cache", cluster.secure.host, workshop.namespace.name)});
    let build = Build::apply(
        cluster,
        &workshop.namespace,
        "app",
        &with_answer(&spec, "1\n"),
    );
    let (mut built, mut log) = (Vec::new(), String::new());
    for answer in ["1\n", "2\n"] {
        build.change(&with_answer(&spec, answer));
        let status = build.wait_ready().await;
        let pod = status.build.unwrap().pod;
        log = workshop
            .namespace
            .kubectl(&["logs", &pod, "--container=build"]);
        let digest = status.image.unwrap().digest;
        let image = format!("{}@{digest}", workshop.image("app"));
        built.push(cluster.plain.diff_ids(&image));
    }
    let [(last, before), (last_again, before_again)] =
        [&built[0], &built[1]].map(|layers| layers.split_last().unwrap());
    assert_eq!(before, before_again, "{log}");
    assert_ne!(last, last_again);
}

fn with_answer(spec: &Value, answer: &str) -> Value {
    let mut spec = spec.clone();
    spec["source"]["inline"]["files"] = json!({"answer.txt": answer});
    spec
}
