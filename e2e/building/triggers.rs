//! What starts another build: a commit, a base image, a schedule.

use serde_json::json;
use transship::api::BuildTrigger;

use super::workshop::Workshop;
use crate::harness::{Build, GitServer};

const DOCKERFILE: &str = "ARG BASE\nFROM ${BASE}\nCOPY answer.txt /answer.txt\n";

#[tokio::test]
async fn a_commit_is_built_and_the_next_one_as_well() {
    let workshop = Workshop::open("building-git").await;
    let git = GitServer::start(&workshop.cluster.plain).await;
    let first = git.commit(&[("app/Dockerfile", DOCKERFILE), ("app/answer.txt", "1")]);
    let mut spec = workshop.spec("app", DOCKERFILE);
    spec["source"] = json!({"git": {
        "url": git.url, "ref": {"branch": "main"}, "path": "app", "insecure": true,
    }});
    spec["output"]["tags"] = json!(["main", "{git.shortSha}"]);
    spec["triggers"] = json!({"git": {"interval": "10s"}});
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let status = build.wait_ready().await;
    assert_eq!(
        status.source.unwrap().commit.as_deref(),
        Some(first.as_str())
    );
    let image = status.image.unwrap();
    assert!(
        image.tags.contains(&first.chars().take(7).collect()),
        "{:?}",
        image.tags
    );

    let second = git.commit(&[("app/answer.txt", "2")]);
    let status = build
        .wait_until("the second commit", |status| {
            let last = status.history.first().ok_or("no build")?;
            (last.source.as_deref() == Some(second.as_str()))
                .then_some(())
                .ok_or_else(|| format!("{last:?}"))
        })
        .await;
    assert_eq!(status.history[0].trigger, Some(BuildTrigger::GitCommit));
    let registry = &workshop.cluster.plain;
    let name = workshop.image("app");
    let digest = registry.digest(&format!("{name}:main"));
    assert_eq!(digest, Some(status.image.unwrap().digest));
    // What the first commit made is still there under its own tag.
    let before = registry.digest(&format!(
        "{name}:{}",
        first.chars().take(7).collect::<String>()
    ));
    assert_eq!(before, Some(image.digest));
}

#[tokio::test]
async fn a_base_image_that_was_replaced_is_used() {
    let workshop = Workshop::open("building-base").await;
    let secure = &workshop.cluster.secure;
    let base = format!("{}/base:1", workshop.namespace.name);
    secure.copy("bases/busybox:1", &base);
    let mut spec = workshop.spec("app", "ARG BASE\nFROM ${BASE}\nRUN touch /done\n");
    spec["buildArgs"] = json!([{"name": "BASE", "value": format!("{}/{base}", secure.host)}]);
    spec["triggers"] = json!({"baseImage": {"interval": "10s"}});
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let status = build.wait_ready().await;
    let [known] = &status.base_images[..] else {
        panic!("{:?}", status.base_images);
    };
    assert_eq!(Some(&known.digest), secure.digest(&base).as_ref());

    secure.copy_from(&workshop.cluster.plain, "bases/capabilities:1");
    secure.copy("bases/capabilities:1", &base);
    let status = build
        .wait_until("the new base", |status| {
            let last = status.history.first().ok_or("no build")?;
            (last.trigger == Some(BuildTrigger::BaseImage))
                .then_some(())
                .ok_or_else(|| format!("{last:?}"))
        })
        .await;
    assert_eq!(
        Some(&status.base_images[0].digest),
        secure.digest(&base).as_ref()
    );
}
