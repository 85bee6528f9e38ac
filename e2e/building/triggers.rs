//! What starts another build, a commit, a base image, a schedule; and what keeps it from being started.

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

#[tokio::test]
async fn a_time_that_has_come_is_reason_enough() {
    let mut workshop = Workshop::open("building-schedule").await;
    let mut spec = workshop.spec("app", "ARG BASE\nFROM ${BASE}\nRUN touch /done\n");
    spec["triggers"] = json!({"schedule": "* * * * *"});
    let (cluster, namespace) = (&workshop.cluster, &workshop.namespace);
    let build = Build::apply(cluster, namespace, "app", &spec);
    let first = build.wait_ready().await;
    assert_eq!(first.history[0].trigger, Some(BuildTrigger::Spec));
    let planned = first.next_schedule_time.unwrap();
    workshop.rest();
    let build = Build::existing(&workshop.cluster, &workshop.namespace, "app");
    let status = build
        .wait_until("the build of the next minute", |status| {
            let last = status.history.first().ok_or("no build")?;
            (last.trigger == Some(BuildTrigger::Schedule))
                .then_some(())
                .ok_or_else(|| format!("{last:?}"))
        })
        .await;
    let started = status.history[0].start_time.as_ref().unwrap();
    assert!(started.0 >= planned.0, "{started:?} {planned:?}");
    assert!(status.next_schedule_time.unwrap().0 > planned.0);
}

#[tokio::test]
async fn what_is_suspended_is_not_built_until_it_goes_on() {
    let workshop = Workshop::open("building-suspended").await;
    let (cluster, namespace) = (&workshop.cluster, &workshop.namespace);
    let git = GitServer::start(&cluster.plain).await;
    git.commit(&[("Dockerfile", DOCKERFILE), ("answer.txt", "1")]);
    let mut spec = workshop.spec("app", DOCKERFILE);
    spec["source"] = json!({"git": {"url": git.url, "ref": {"branch": "main"}, "insecure": true}});
    spec["triggers"] = json!({"git": {"interval": "10s"}});
    let build = Build::apply(cluster, namespace, "app", &spec);
    let before = build.wait_ready().await;

    spec["suspend"] = json!(true);
    build.change(&spec);
    let commit = git.commit(&[("answer.txt", "2")]);
    build.request();
    // Another object builds the same commit meanwhile, and its next one.
    let mut other = spec.clone();
    other["suspend"] = json!(false);
    other["output"]["repository"] = workshop.spec("other", "")["output"]["repository"].clone();
    let witness = Build::apply(cluster, namespace, "other", &other);
    witness.wait_ready().await;
    git.commit(&[("answer.txt", "3")]);
    witness
        .wait_until("a commit later", |status| {
            let number = status.build.as_ref().map(|build| build.number);
            (number == Some(2))
                .then_some(())
                .ok_or_else(|| format!("{number:?}"))
        })
        .await;
    let during = build.status().await;
    assert_eq!(during.build, before.build);
    assert_eq!(during.conditions, before.conditions);
    assert_ne!(during.source.unwrap().commit, Some(commit));

    spec["suspend"] = json!(false);
    build.change(&spec);
    let after = build
        .wait_until("the newest commit", |status| {
            let number = status.build.as_ref().map(|build| build.number);
            let ended = status.history.first().map(|record| record.number);
            (number == Some(2) && ended == number)
                .then_some(())
                .ok_or_else(|| format!("{number:?}"))
        })
        .await;
    assert!(after.image.is_some());
    let image = format!("{}:main", workshop.image("app"));
    let answer = cluster.plain.file(&image, "answer.txt");
    assert_eq!(answer.as_deref(), Some("3"));
}
