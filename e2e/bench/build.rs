//! What builds cost, and what of it is ours. `make bench-build` runs one after the other and prints tables; nothing here
//! holds a time to a limit.
//!
//! The builder's own time is that of the container that builds, in a pod made by hand: the kubelet tells it in
//! whole seconds.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use transship::api::ImageBuildStatus;
use transship::builder::{BuilderType, Isolation};

use crate::builders::pod::Workshop as ByHand;
use crate::building::workshop::Workshop;
use crate::harness::{Build, GitServer};

const RUNS: usize = 3;
const BUILDERS: [(&str, BuilderType); 4] = [
    ("BuildKit", BuilderType::BuildKit),
    ("Buildah", BuilderType::Buildah),
    ("Kaniko", BuilderType::Kaniko),
    ("Img", BuilderType::Img),
];
/// Three layers of its own, one of them from a command.
const SMALL: &str = "ARG BASE\nFROM ${BASE}\nCOPY one.txt /\nRUN touch /done\nCOPY two.txt /\n";
/// A command that takes a while, and a file after it.
const SLOW: &str =
    "ARG BASE\nFROM ${BASE}\nRUN head -c 1500000000 /dev/zero | sha256sum >/sum\nCOPY one.txt /\n";

/// From `kubectl apply` to Ready, beside the same container in a pod made by hand.
#[tokio::test]
async fn small_builds() {
    let by_hand = ByHand::open("bench-by-hand").await;
    let workshop = Workshop::open("bench-small").await;
    // The first pod of an image waits for its layers.
    for (name, builder) in BUILDERS {
        build_by_hand(&by_hand, &format!("{}-first", name.to_lowercase()), builder).await;
    }
    table(&["builder", "by hand, s", "apply to Ready, s", "ours, s"]);
    for (shown, builder) in BUILDERS {
        let (mut alone, mut whole) = (Vec::new(), Vec::new());
        for run in 0..RUNS {
            let name = format!("{}-{run}", shown.to_lowercase());
            alone.push(build_by_hand(&by_hand, &name, builder).await);
            let mut spec = workshop.spec(&name, SMALL);
            spec["builder"] = json!({"type": shown});
            spec["source"]["inline"]["files"] = json!({"one.txt": name, "two.txt": "2\n"});
            let (_, time) = built(&workshop, &name, &spec).await;
            whole.push(time);
        }
        let (alone, whole) = (median(alone), median(whole));
        let ours = whole.saturating_sub(alone);
        row(&[shown, &seconds(alone), &seconds(whole), &seconds(ours)]);
    }
}

async fn build_by_hand(by_hand: &ByHand, name: &str, builder: BuilderType) -> Duration {
    let files = [("Dockerfile", SMALL), ("one.txt", name), ("two.txt", "2\n")];
    let build = by_hand.build(Isolation::UserNamespace);
    let finished = by_hand.run(name, builder, &build, &files).await;
    assert_eq!(finished.failure, None, "{}", finished.log);
    finished.duration
}

/// A spec that means the same, of a commit that is built.
#[tokio::test]
async fn nothing_changed() {
    let workshop = Workshop::open("bench-again").await;
    let git = GitServer::start(&workshop.cluster.plain).await;
    git.commit(&[
        ("Dockerfile", SMALL),
        ("one.txt", "1\n"),
        ("two.txt", "2\n"),
    ]);
    let mut spec = workshop.spec("app", SMALL);
    spec["source"] = json!({"git": {"url": git.url, "ref": {"branch": "main"}, "insecure": true}});
    let (before, _) = built(&workshop, "app", &spec).await;
    let mut times = Vec::new();
    for run in 0..RUNS {
        spec["timeout"] = json!(format!("{}m", 30 + run));
        let (after, time) = built(&workshop, "app", &spec).await;
        assert_eq!(after.build, before.build, "another build was made");
        times.push(time);
    }
    let pods = workshop
        .namespace
        .kubectl(&["get", "pods", "--output=name"]);
    assert_eq!(pods.lines().count(), 1, "{pods}");
    table(&["nothing changed", "pods", "apply to Ready, s"]);
    row(&["BuildKit, a Git repository", "0", &seconds(median(times))]);
}

/// One file changed behind a step that takes long.
#[tokio::test]
async fn caches() {
    table(&[
        "builder",
        "cold, s",
        "one file changed, with a cache, s",
        "ratio",
    ]);
    for builder in ["BuildKit", "Kaniko", "Img"] {
        let workshop = Workshop::open("bench-cache").await;
        let cluster = &workshop.cluster;
        let mut spec = workshop.spec("app", SLOW);
        spec["builder"] = json!({"type": builder});
        let cache = format!("{}/{}/cache", cluster.secure.host, workshop.namespace.name);
        spec["cache"] = json!({"repository": cache});
        let mut times = Vec::new();
        for answer in ["1\n", "2\n", "3\n"] {
            spec["source"]["inline"]["files"] = json!({"one.txt": answer});
            times.push(built(&workshop, "app", &spec).await.1);
        }
        let cold = times.remove(0);
        let warm = median(times);
        let ratio = warm.as_secs_f64() / cold.as_secs_f64();
        row(&[
            builder,
            &seconds(cold),
            &seconds(warm),
            &format!("{ratio:.2}"),
        ]);
    }
}

/// The memory of the container that pushes, for images small and large.
#[tokio::test]
async fn publishing() {
    table(&["layer, MiB", "compression", "peak of publish, MiB"]);
    let workshop = Workshop::open("bench-publish").await;
    for (mebibytes, zstd) in [(1, None), (256, None), (1024, None), (1024, Some(3))] {
        let compression = zstd.map_or("as built".to_owned(), |level| format!("zstd:{level}"));
        let name = format!("layer-{mebibytes}-{}", zstd.unwrap_or_default());
        let bytes = mebibytes * 1024 * 1024;
        let dockerfile =
            format!("ARG BASE\nFROM ${{BASE}}\nRUN head -c {bytes} /dev/urandom >/random\n");
        let mut spec = workshop.spec(&name, &dockerfile);
        if let Some(level) = zstd {
            spec["output"]["compression"] = json!({"algorithm": "Zstd", "level": level});
            spec["output"]["format"] = json!("OCI");
        }
        let (status, _) = built(&workshop, &name, &spec).await;
        let pod = status.build.unwrap().pod;
        let log = workshop
            .namespace
            .kubectl(&["logs", &pod, "--container=publish"]);
        let peak = log
            .lines()
            .find_map(peak_resident_bytes)
            .expect("the stage says so");
        row(&[
            &mebibytes.to_string(),
            &compression,
            &format!("{:.0}", peak / 1024.0 / 1024.0),
        ]);
    }
}

fn peak_resident_bytes(line: &str) -> Option<f64> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    fields.get("peak_resident_bytes")?.as_f64()
}

/// Applies a spec, and waits until the image of it is there.
async fn built(workshop: &Workshop, name: &str, spec: &Value) -> (ImageBuildStatus, Duration) {
    let start = Instant::now();
    let build = Build::apply(&workshop.cluster, &workshop.namespace, name, spec);
    let status = build.wait_built().await;
    (status, start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn seconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64())
}

/// The head of a table in Markdown.
fn table(columns: &[&str]) {
    eprintln!();
    row(columns);
    eprintln!("|{}", "---|".repeat(columns.len()));
}

fn row(cells: &[&str]) {
    eprintln!("| {} |", cells.join(" | "));
}
