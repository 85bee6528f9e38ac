//! Specs that can be acted upon, and those that cannot.

use rstest::rstest;
use serde_json::json;

use super::*;

fn spec(sources: &[&str], destinations: &serde_json::Value) -> ImageMirrorSpec {
    let sources: Vec<_> = sources
        .iter()
        .map(|image| json!({"image": image}))
        .collect();
    serde_json::from_value(json!({"sources": sources, "destinations": destinations})).unwrap()
}

#[test]
fn every_image_goes_to_every_destination() {
    let wanted = Wanted::new(&spec(
        &["alpine:3", "ghcr.io/a/b:1"],
        &json!([{"prefix": "one.test", "secretRef": {"name": "push"}}, {"prefix": "two.test/m", "insecure": true}]),
    ))
    .unwrap();
    let images = wanted.expand([]).unwrap().images;
    let references: Vec<_> = images
        .iter()
        .flat_map(|image| {
            image
                .destinations
                .iter()
                .map(|destination| destination.reference.to_string())
        })
        .collect();
    assert_eq!(
        references,
        [
            "one.test/docker.io/library/alpine:3",
            "two.test/m/docker.io/library/alpine:3",
            "one.test/ghcr.io/a/b:1",
            "two.test/m/ghcr.io/a/b:1",
        ]
    );
    assert_eq!(wanted.interval, Duration::from_hours(1));
    let [one, two] = &images[0].destinations[..] else {
        panic!("two destinations")
    };
    assert_eq!(one.access.credentials.as_deref(), Some("push"));
    assert!(two.access.insecure && !one.access.insecure);
}

#[rstest]
#[case::same_image(
    spec(&["alpine:3", "docker.io/library/alpine:3"], &json!([{"prefix": "one.test"}])),
    "spec.sources[0].image and spec.sources[1].image are the same image docker.io/library/alpine:3")]
#[case::collision(
    spec(&["alpine:3", "quay.io/x/alpine:3"], &json!([{"prefix": "one.test", "path": "alpine"}])),
    "spec.destinations: docker.io/library/alpine:3 and quay.io/x/alpine:3 would both be stored as one.test/alpine:3; use {registry}, {repository} and {tag} to keep them apart")]
#[case::no_source(spec(&[], &json!([{"prefix": "one.test"}])), "spec.sources: there is none")]
#[case::no_destination(spec(&["alpine:3"], &json!([])), "spec.destinations: there is none")]
#[case::same_place(
    spec(&["alpine:3"], &json!([
        {"prefix": "one.test/mirror", "path": "{repository}"}, {"prefix": "one.test", "path": "mirror/{repository}"},
    ])),
    "spec.destinations[0] and spec.destinations[1] are the same place for docker.io/library/alpine:3: one.test/mirror/library/alpine:3")]
#[case::address(
    spec(&["[::1]:5000/a:1"], &json!([{"prefix": "one.test"}])),
    "spec.destinations[0]: {registry} cannot stand for an IPv6 address; write a fixed path instead (for source [::1]:5000/a:1)")]
#[case::image(
    spec(&["ghcr.io/A/b"], &json!([{"prefix": "one.test"}])),
    "spec.sources[0].image: malformed repository: expected lower-case letters, digits and single separators . _ - in components joined by /")]
fn what_admission_cannot_say_is_refused(#[case] spec: ImageMirrorSpec, #[case] expected: &str) {
    assert_eq!(Wanted::new(&spec).unwrap_err().to_string(), expected);
}

#[test]
fn hostile_durations_are_refused() {
    for text in ["", "1", "-1h", "999999999999999999999h", "1d2"] {
        let mut spec = spec(&["alpine:3"], &json!([{"prefix": "one.test"}]));
        spec.timeout = text.to_owned();
        assert_eq!(
            Wanted::new(&spec).unwrap_err(),
            SpecError::Duration { field: "timeout" },
            "{text}"
        );
    }
}

const PUSHED: [&str; 5] = ["1.28", "1.29", "1.29-alpine", "latest", "2.0-rc.1"];

/// A mirror of one repository with these rules, and what it selects of [`PUSHED`].
fn selected(
    tags: &serde_json::Value,
    destination: &serde_json::Value,
) -> Result<WantedImages, SpecError> {
    let spec = json!({
        "sources": [{"image": "alpine:3"}, {"repository": "nginx", "tags": tags}],
        "destinations": [destination],
    });
    let wanted = Wanted::new(&serde_json::from_value(spec).unwrap())?;
    let listed = TagList {
        tags: PUSHED.iter().map(|tag| tag.parse().unwrap()).collect(),
        truncated: false,
    };
    let selected: Vec<_> = wanted
        .repositories()
        .map(|repository| repository.select(&listed, &CreationTimes::new()))
        .collect();
    wanted.expand(selected)
}

#[test]
fn tags_that_rules_select_are_wanted() {
    let rules = json!({"semver": ">=1.29", "exclude": ["latest"]});
    let wanted = selected(&rules, &json!({"prefix": "one.test"})).unwrap();
    let references: Vec<_> = wanted
        .images
        .iter()
        .map(|image| image.destinations[0].reference.to_string())
        .collect();
    assert_eq!(
        references,
        [
            "one.test/docker.io/library/alpine:3",
            "one.test/docker.io/library/nginx:1.29",
            "one.test/docker.io/library/nginx:1.29-alpine",
        ]
    );
    assert_eq!(wanted.unlisted, []);
}

#[test]
fn without_rules_all_tags_are_wanted() {
    let wanted = selected(&json!(null), &json!({"prefix": "one.test"})).unwrap();
    assert_eq!(wanted.images.len(), 1 + PUSHED.len());
}

#[rstest]
#[case::none(json!({"include": ["9*"]}), Reason::NoMatchingTags,
    "docker.io/library/nginx: none of 5 tags matches; correct the rules or push an image that they select")]
#[case::too_many(json!({"limit": 2}), Reason::TooManyTags,
    "docker.io/library/nginx: 5 tags match, and at most 2 may; narrow the rules, add latest or raise limit")]
fn a_repository_whose_rules_select_nothing_stands_for_its_images(
    #[case] rules: serde_json::Value,
    #[case] reason: Reason,
    #[case] message: &str,
) {
    let wanted = selected(&rules, &json!({"prefix": "one.test"})).unwrap();
    assert_eq!(wanted.images.len(), 1);
    let expected = UnlistedRepository {
        source: "docker.io/library/nginx".to_owned(),
        destinations: vec!["one.test/docker.io/library/nginx".to_owned()],
        failure: Failure {
            reason,
            message: message.to_owned(),
        },
    };
    assert_eq!(wanted.unlisted, [expected]);
}

#[test]
fn an_image_that_several_entries_select_is_wanted_once() {
    let spec = json!({
        "sources": [
            {"image": "nginx:1.28"},
            {"repository": "nginx", "tags": {"include": ["1.2*"]}},
            {"repository": "nginx", "tags": {"include": ["1.29*"]}},
        ],
        "destinations": [{"prefix": "one.test"}],
    });
    let wanted = Wanted::new(&serde_json::from_value(spec).unwrap()).unwrap();
    let tags = |names: &[&str]| Ok(names.iter().map(|name| name.parse().unwrap()).collect());
    let wanted = wanted
        .expand([tags(&["1.28", "1.29"]), tags(&["1.29"])])
        .unwrap();
    let sources: Vec<_> = wanted
        .images
        .iter()
        .map(|image| image.source.to_string())
        .collect();
    assert_eq!(
        sources,
        [
            "docker.io/library/nginx:1.28",
            "docker.io/library/nginx:1.29"
        ]
    );
}

#[test]
fn two_tags_are_not_stored_as_one() {
    let error = selected(
        &json!(null),
        &json!({"prefix": "one.test", "tag": "newest"}),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "spec.destinations: docker.io/library/nginx:1.28 and docker.io/library/nginx:1.29 would both be \
         stored as one.test/docker.io/library/nginx:newest; use {registry}, {repository} and {tag} to keep \
         them apart"
    );
}

#[rstest]
#[case(json!({"image": "a:1", "repository": "a"}), "spec.sources[0]: exactly one of image and repository must be set")]
#[case(json!({}), "spec.sources[0]: exactly one of image and repository must be set")]
#[case(json!({"repository": "a:1"}),
    "spec.sources[0].repository: a repository has neither tag nor digest; select tags with tags, or write image instead of repository")]
#[case(json!({"repository": "A"}),
    "spec.sources[0].repository: malformed repository: expected lower-case letters, digits and single separators . _ - in components joined by /")]
#[case(json!({"repository": "a", "tags": {"regex": "("}}), "spec.sources[0].tags.regex: unclosed group")]
fn entries_that_mean_nothing_are_refused(
    #[case] source: serde_json::Value,
    #[case] expected: &str,
) {
    let spec = json!({"sources": [source], "destinations": [{"prefix": "one.test"}]});
    let error = Wanted::new(&serde_json::from_value(spec).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), expected);
}
