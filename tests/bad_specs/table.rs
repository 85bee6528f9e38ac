//! Bad specs that no schema tells from good ones: values that are well formed and mean nothing, and values that
//! contradict each other.

use serde_json::{Value, json};

use super::BadSpec;

/// All of the table.
pub(super) fn specs(good: &Value) -> Vec<BadSpec> {
    let mut specs = Vec::new();
    for (field, pointer, values) in PLACES.iter().chain(&PATTERNS).chain(&AMOUNTS) {
        for value in *values {
            let mut spec = good.clone();
            *spec.pointer_mut(pointer).unwrap() = json!(value);
            specs.push(BadSpec {
                what: format!("{field} is {value:?}"),
                field: (*field).to_owned(),
                spec,
            });
        }
    }
    specs.extend(contradictions(good));
    specs
}

/// The field as messages call it, where it stands, and what is wrong there.
type Row = (&'static str, &'static str, &'static [&'static str]);

/// Where images come from and go to.
const PLACES: [Row; 6] = [
    (
        "spec.sources[1].image",
        "/sources/1/image",
        &[
            "two.test/UPPER:1",
            "two.test/a//b:1",
            "two.test//a:1",
            "two.test/a:",
            "two.test/a:-x",
            "two.test/a@sha256:123",
            "two.test/a@md5:d41d8cd98f00b204e9800998ecf8427e",
            "two.test/a:1:2",
            ":1",
            "@",
            "two.test:99999/a:1",
            "two..test/a:1",
            "two.test:0/a:1",
            "-two.test/a:1",
            "[::1/a:1",
            "[g::1]/a:1",
            "two.test/a/:1",
            "two.test/.a:1",
            "two.test/a__.b:1",
            "two.test/a...b:1",
        ],
    ),
    (
        "spec.sources[0].repository",
        "/sources/0/repository",
        &[
            "one.test/a:1",
            "one.test/a@sha256:123",
            "one.test/UPPER",
            "one.test/",
            "one.test:99999/a",
            "one..test/a",
            "/a",
            "one.test/a/",
            "-one.test/a",
            "one.test:0/a",
            "[g::1]/a",
        ],
    ),
    (
        "spec.destinations[0]",
        "/destinations/0/prefix",
        &[
            "three.test/UPPER",
            "three",
            "three.test/",
            "three.test:99999/a",
            "three.test/a:1",
            "three..test",
            "-three.test/a",
            "three.test/a//b",
            "[g::1]/a",
            "three.test:0/a",
            "three.test/a...b",
        ],
    ),
    (
        "spec.destinations[0]",
        "/destinations/0/path",
        &[
            "/a",
            "a/",
            "a//b",
            "..",
            "./{repository}",
            "{repository}/",
            "-",
            "{registry}{tag}",
            "_a",
        ],
    ),
    (
        "spec.destinations[0]",
        "/destinations/0/tag",
        &["-{tag}", ".x", "{tag} ", "{digest}", "a:b", "a/b"],
    ),
    (
        "spec.destinations[0].secretRef.name",
        "/destinations/0/secretRef/name",
        &["../x", "a/b", "A", "a_b", "-a", "a."],
    ),
];

/// What is chosen by patterns of all kinds.
const PATTERNS: [Row; 8] = [
    (
        "spec.sources[0].tags.regex",
        "/sources/0/tags/regex",
        &["(", "[", "*", "a{99999}", "(?P<n", "\\", "(?=a)"],
    ),
    (
        "spec.sources[0].tags.semver",
        "/sources/0/tags/semver",
        &[">", ">=x", "1..2", "||", "latest", "1.2.3.4.5"],
    ),
    (
        "spec.sources[0].tags.include[0]",
        "/sources/0/tags/include/0",
        &["[", "[z-a]", "{a", "a{b,{c}"],
    ),
    (
        "spec.sources[0].tags.exclude[0]",
        "/sources/0/tags/exclude/0",
        &["[", "[z-a]", "{a"],
    ),
    (
        "spec.verify[0].match",
        "/verify/0/match",
        &["[", "[z-a]", "{a"],
    ),
    (
        "spec.verify[1].matchOIDCIdentity[0].issuer",
        "/verify/1/matchOIDCIdentity/0/issuer",
        &["(", "[", "*", "a{99999}", "\\"],
    ),
    (
        "spec.verify[1].matchOIDCIdentity[0].subject",
        "/verify/1/matchOIDCIdentity/0/subject",
        &["(", "[", "*", "(?=a)"],
    ),
    (
        "spec.platforms[0]",
        "/platforms/0",
        &[
            "linux",
            "linux/",
            "/amd64",
            "linux/amd64/v1/x",
            "linux amd64",
            "(/)",
        ],
    ),
];

const DURATIONS: &[&str] = &[
    "0s",
    "1ms",
    "9.999s",
    "8760h1s",
    "99999999999999999999h",
    "1d",
    "1",
    "h",
    "1h 30m",
    "-1h",
    "+1h",
    "1H",
    "P1D",
];
const QUANTITIES: &[&str] = &["-1", "1 Gi", "1gi", "Gi", "1e3e", "1,5", "0x10", "."];

/// How much, how long, and what runs where.
const AMOUNTS: [Row; 7] = [
    ("spec.interval", "/interval", DURATIONS),
    ("spec.timeout", "/timeout", DURATIONS),
    (
        "spec.prune.grace",
        "/prune/grace",
        &["87600h1s", "1d", "99999999999999999999h", "-1s"],
    ),
    (
        "spec.limits.bandwidth",
        "/limits/bandwidth",
        &[
            "0",
            "1Ki",
            "63Ki",
            "20 Mi",
            "20MiB",
            "-1",
            "1.5Mi",
            "99999999999999Ti",
        ],
    ),
    (
        "spec.pod.resources.requests.cpu",
        "/pod/resources/requests/cpu",
        QUANTITIES,
    ),
    (
        "spec.pod.resources.limits.memory",
        "/pod/resources/limits/memory",
        QUANTITIES,
    ),
    (
        "spec.pod.serviceAccountName",
        "/pod/serviceAccountName",
        &["a/b", "a_b", "A", "-a", "a-", "a..b"],
    ),
];

/// Fields that do not go together; of each pair one is named.
fn contradictions(good: &Value) -> Vec<BadSpec> {
    let mut specs = Vec::new();
    let mut add = |what: &str, field: &str, change: &dyn Fn(&mut Value)| {
        let mut spec = good.clone();
        change(&mut spec);
        specs.push(BadSpec {
            what: what.to_owned(),
            field: field.to_owned(),
            spec,
        });
    };
    add("two kinds of source", "spec.sources[1]", &|spec| {
        spec["sources"][1]["repository"] = json!("two.test/a");
    });
    add("no kind of source", "spec.sources[1]", &|spec| {
        spec["sources"][1] = json!({});
    });
    add("tags of an image", "spec.sources[1]", &|spec| {
        spec["sources"][1]["tags"] = json!({});
    });
    add("an image twice", "spec.sources", &|spec| {
        let image = spec["sources"][1].clone();
        spec["sources"].as_array_mut().unwrap().push(image);
    });
    add("an image twice in other words", "spec.sources", &|spec| {
        spec["sources"] =
            json!([{"image": "alpine"}, {"image": "docker.io/library/alpine:latest"}]);
    });
    add("a destination twice", "spec.destinations", &|spec| {
        let destination = spec["destinations"][0].clone();
        spec["destinations"]
            .as_array_mut()
            .unwrap()
            .push(destination);
    });
    add(
        "a destination twice in other words",
        "spec.destinations",
        &|spec| {
            let mut destination = spec["destinations"][0].clone();
            destination["prefix"] = json!("three.test");
            destination["path"] = json!("mirror/{registry}/{repository}");
            spec["destinations"]
                .as_array_mut()
                .unwrap()
                .push(destination);
        },
    );
    add("two images under one tag", "spec.destinations", &|spec| {
        spec["sources"] = json!([{"image": "a.test/a:1"}, {"image": "b.test/a:1"}]);
        spec["destinations"][0]["path"] = json!("{repository}");
    });
    add("an address as a path", "spec.destinations[0]", &|spec| {
        spec["sources"] = json!([{"image": "[::1]:5000/a:1"}]);
    });
    add("platforms without a policy", "platforms", &|spec| {
        spec["indexPolicy"] = json!("Preserve");
    });
    add("a policy without platforms", "indexPolicy", &|spec| {
        spec["platforms"] = json!([]);
    });
    add("a sparse index that is converted", "indexPolicy", &|spec| {
        spec["indexPolicy"] = json!("Sparse");
    });
    add("a level of nothing", "spec.compression", &|spec| {
        spec["compression"] = json!({"level": 3});
    });
    add("a level that Gzip has not", "spec.compression", &|spec| {
        spec["compression"]["level"] = json!(10);
    });
    add("Docker with Zstd", "format", &|spec| {
        spec["format"] = json!("Docker");
        spec["compression"] = json!({"algorithm": "Zstd"});
    });
    add("strict shards", "failurePolicy", &|spec| {
        spec["failurePolicy"] = json!("Strict");
    });
    add(
        "a toleration of nothing",
        "spec.pod.tolerations[0]",
        &|spec| spec["pod"]["tolerations"] = json!([{}]),
    );
    add(
        "a value that does not matter",
        "spec.pod.tolerations[0]",
        &|spec| {
            spec["pod"]["tolerations"][0]["operator"] = json!("Exists");
        },
    );
    add("seconds of no effect", "spec.pod.tolerations[0]", &|spec| {
        spec["pod"]["tolerations"][0]["effect"] = json!("NoSchedule");
    });
    specs
}
