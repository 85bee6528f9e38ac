//! A mirror of a repository: the tags that its rules select arrive, others do not, and new ones follow.

use serde_json::{Value, json};

use crate::harness::{Cluster, Mirror, Namespace, OneLayerImage, destination_states, run};

const SAMPLE: &str = "library/busybox:1";

fn spec(cluster: &Cluster, namespace: &Namespace, tags: &Value) -> Value {
    let host = &cluster.plain.host;
    json!({
        "sources": [{
            "repository": format!("{host}/{}/source", namespace.name), "tags": tags, "insecure": true,
        }],
        "destinations": [{
            "prefix": format!("{host}/{}", namespace.name), "path": "destination", "insecure": true,
        }],
    })
}

/// Pushes the same image under several tags of the source.
fn push(cluster: &Cluster, namespace: &Namespace, tags: &[&str]) {
    for tag in tags {
        cluster
            .plain
            .copy(SAMPLE, &format!("{}/source:{tag}", namespace.name));
    }
}

/// Which of the tags the destination has.
fn arrived<'a>(cluster: &Cluster, namespace: &Namespace, tags: &[&'a str]) -> Vec<&'a str> {
    let is_there = |tag: &&&str| {
        let name = format!("{}/destination:{tag}", namespace.name);
        cluster.plain.manifest(&name).is_some()
    };
    tags.iter().filter(is_there).copied().collect()
}

#[tokio::test]
async fn tags_that_the_rules_select_are_followed() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("selection");
    let first = [
        "1.27",
        "1.28",
        "1.29",
        "1.28-alpine",
        "1.29-alpine",
        "1.29-perl",
        "1.30-rc.1",
        "latest",
    ];
    push(&cluster, &namespace, &first);
    let rules = json!({
        "semver": ">=1.28", "exclude": ["*-perl"], "latest": {"count": 1, "by": "Semver"},
    });
    let mirror = Mirror::apply(
        &cluster,
        &namespace,
        "nginx",
        &spec(&cluster, &namespace, &rules),
    );
    let ready = mirror.wait_ready().await;
    assert_eq!(ready.status.unwrap().summary, "2/2");
    assert_eq!(
        arrived(&cluster, &namespace, &first),
        ["1.29", "1.29-alpine"]
    );
    let table = namespace.kubectl(&["get", "imagemirrors", "--output", "wide"]);
    assert!(
        table.contains(&format!("{}/source", namespace.name)),
        "{table}"
    );

    push(&cluster, &namespace, &["1.31", "1.27.9"]);
    mirror.scan().await;
    let ready = mirror.wait_ready().await;
    assert_eq!(ready.status.unwrap().summary, "2/2");
    let all = [&first[..], &["1.31", "1.27.9"]].concat();
    assert_eq!(
        arrived(&cluster, &namespace, &all),
        ["1.29", "1.29-alpine", "1.31"],
        "what is no longer selected stays"
    );
}

#[tokio::test]
async fn a_scan_asks_for_each_tag_once_and_reads_no_content() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("selection-requests");
    let tags: Vec<String> = (0..20).map(|minor| format!("1.{minor}")).collect();
    let names: Vec<&str> = tags.iter().map(String::as_str).collect();
    push(&cluster, &namespace, &names);
    let spec = spec(&cluster, &namespace, &json!({"regex": r"^1\.\d+$"}));
    let mirror = Mirror::apply(&cluster, &namespace, "many", &spec);
    mirror.wait_ready().await;
    let log = cluster.plain.access_log();
    mirror.scan().await;
    for repository in ["source", "destination"] {
        let path = format!("/v2/{}/{repository}/", namespace.name);
        let heads = log.lines_with(&[&format!("\"HEAD {path}manifests/")]);
        assert_eq!(heads.len(), tags.len(), "{repository}");
        let bodies = log.lines_with(&[&format!("\"GET {path}")]);
        let lists = log.lines_with(&[&format!("\"GET {path}tags/list")]);
        assert_eq!(bodies, lists, "{repository}");
    }
}

#[tokio::test]
async fn rules_that_select_nothing_or_too_much_are_shown() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("selection-empty");
    push(&cluster, &namespace, &["1.0", "2.0", "3.0"]);
    let nothing = spec(&cluster, &namespace, &json!({"include": ["9*"]}));
    let mirror = Mirror::apply(&cluster, &namespace, "rules", &nothing);
    let failed = mirror.wait_failed("NoMatchingTags", false).await;
    let destination = format!("{}/{}/destination", cluster.plain.host, namespace.name);
    assert_eq!(
        destination_states(&failed),
        [(destination, "Failed".to_owned())]
    );

    let too_much = spec(&cluster, &namespace, &json!({"limit": 2}));
    let mirror = Mirror::apply(&cluster, &namespace, "rules", &too_much);
    mirror.wait_failed("TooManyTags", true).await;
    assert_eq!(namespace.jobs(), [""; 0], "nothing is copied by chance");

    let mut one_tag = spec(&cluster, &namespace, &json!({}));
    one_tag["destinations"][0]["tag"] = json!("newest");
    let mirror = Mirror::apply(&cluster, &namespace, "rules", &one_tag);
    let refused = mirror.wait_failed("InvalidSpec", true).await;
    let status = refused.status.unwrap();
    let message = &status.conditions[0].message;
    assert!(
        message.contains("source:1.0 and") && message.contains("source:2.0 would both"),
        "{message}"
    );
    assert!(
        status.next_scan_time.is_some(),
        "tags may be deleted, so that it is looked at again"
    );
}

#[tokio::test]
async fn images_beyond_those_that_the_status_lists_are_remembered() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("selection-many");
    let tags: Vec<String> = (0..120).map(|minor| format!("1.{minor}")).collect();
    let names: Vec<&str> = tags.iter().map(String::as_str).collect();
    push(&cluster, &namespace, &names);
    let mut spec = spec(&cluster, &namespace, &json!({}));
    let mirror = Mirror::apply(&cluster, &namespace, "many", &spec);
    let status = mirror.wait_ready().await.status.unwrap();
    assert_eq!(status.summary, "120/120");
    assert_eq!(status.images.len(), 100);
    let reports = status.image_reports.clone();
    assert_eq!(reports.len(), 1);
    let binary = assert_cmd::cargo::cargo_bin("transship");
    let images = [
        binary.to_str().unwrap(),
        "kubectl",
        "images",
        "many",
        "--namespace",
    ];
    let whole = run(&[&images[..], &[&namespace.name]].concat());
    assert_eq!(whole.lines().count(), 1 + tags.len(), "{whole}");
    let listed: Vec<String> = destination_states(&mirror.get().await)
        .into_iter()
        .map(|(reference, _)| reference)
        .collect();
    let unlisted = tags
        .iter()
        .find(|tag| !listed.iter().any(|name| name.ends_with(&format!(":{tag}"))))
        .unwrap();

    let moved = format!("{}/destination:{unlisted}", namespace.name);
    cluster.plain.copy("library/debian:12", &moved);
    mirror.scan().await;
    mirror.wait_ready().await;
    assert!(
        mirror.has_event("DriftDetected"),
        "it is known to have been in place"
    );
    assert_eq!(
        cluster.plain.manifest(&moved),
        cluster
            .plain
            .manifest(&format!("{}/source:{unlisted}", namespace.name))
    );

    // Without its memory the mirror says the same of everything that can be seen.
    namespace.kubectl(&["delete", "configmap", &reports[0]]);
    mirror.scan().await;
    let status = mirror.wait_ready().await.status.unwrap();
    assert_eq!(
        (status.summary.as_str(), &status.image_reports),
        ("120/120", &reports)
    );
    assert_eq!(namespace.jobs().len(), 2, "nothing was copied again");

    // What is gone from the spec is gone from the list.
    spec["sources"][0]["tags"] = json!({"include": ["1.1?"]});
    let mirror = Mirror::apply(&cluster, &namespace, "many", &spec);
    let status = mirror
        .wait_until("fewer images", |mirror| {
            let status = mirror.status.as_ref().ok_or("no status")?;
            (status.summary == "10/10")
                .then_some(())
                .ok_or_else(|| "still more".to_owned())
        })
        .await
        .status
        .unwrap();
    assert_eq!(status.image_reports, [""; 0]);
}

#[tokio::test]
async fn the_newest_images_are_those_that_were_created_last() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("selection-created");
    let source = format!("{}/source", namespace.name);
    // Neither by name nor as versions are they in this order.
    let created = [
        ("1.3", "2025-03-01T00:00:00Z"),
        ("1.1", "2025-02-01T00:00:00+09:00"),
        ("1.2", "2025-01-01T00:00:00Z"),
        ("dev", "2026-01-01T00:00:00Z"),
    ];
    for (tag, time) in created {
        let image = OneLayerImage::created(tag, time);
        cluster.plain.push_image(&image, &source, tag).await;
    }
    // More match than may be selected; so many are not selected.
    let rules = json!({
        "include": ["1.*"], "latest": {"count": 2, "by": "Created"}, "limit": 2,
    });
    let spec = spec(&cluster, &namespace, &rules);
    let mirror = Mirror::apply(&cluster, &namespace, "newest", &spec);
    let status = mirror.wait_ready().await.status.unwrap();
    assert_eq!(status.summary, "2/2");
    let tags = ["1.0", "1.1", "1.2", "1.3", "dev"];
    assert_eq!(arrived(&cluster, &namespace, &tags), ["1.1", "1.3"]);

    let newer = OneLayerImage::created("1.0", "2025-04-01T00:00:00Z");
    cluster.plain.push_image(&newer, &source, "1.0").await;
    mirror.scan().await;
    let status = mirror.wait_ready().await.status.unwrap();
    assert_eq!(status.summary, "2/2");
    let sources: Vec<_> = status.images.iter().map(|image| &image.source).collect();
    let name = |tag: &str| format!("{}/{source}:{tag}", cluster.plain.host);
    assert_eq!(sources, [&name("1.0"), &name("1.3")]);
    assert_eq!(arrived(&cluster, &namespace, &tags), ["1.0", "1.1", "1.3"]);
}

#[tokio::test]
async fn the_last_by_name_and_prereleases_are_selected_when_they_are_asked_for() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("selection-names");
    let tags = ["1.29.0", "1.30.0-rc.1", "day-08", "day-09", "day-10"];
    push(&cluster, &namespace, &tags);
    for (rules, selected) in [
        (
            json!({"include": ["day-*"], "latest": {"count": 2, "by": "Alphabetical"}}),
            &["day-09", "day-10"][..],
        ),
        (
            json!({"semver": ">=1.29", "prerelease": true, "latest": {"count": 1}}),
            &["1.30.0-rc.1", "day-09", "day-10"],
        ),
    ] {
        let spec = spec(&cluster, &namespace, &rules);
        let mirror = Mirror::apply(&cluster, &namespace, "names", &spec);
        mirror.wait_ready().await;
        assert_eq!(arrived(&cluster, &namespace, &tags), selected);
    }
}
