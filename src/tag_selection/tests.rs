//! Rules and tags as they occur.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const NGINX: &[&str] = &[
    "latest",
    "mainline",
    "stable-perl",
    "1",
    "1.27",
    "1.27.5",
    "1.28",
    "1.28.0",
    "1.29",
    "1.29.0",
    "1.29.1",
    "1.29.1-alpine",
    "1.29.0-alpine",
    "1.28.0-alpine",
    "1.29.1-alpine-perl",
    "1.30.0-rc.1",
    "2.0.0-beta1",
    "v1.26.3",
    "sha-3f2c1ab",
    "20240131",
    "1.29.1-alpine3.22",
    "nightly-2024-01-31",
];

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn all() -> Rules {
    Rules {
        limit: 1000,
        ..Rules::default()
    }
}

fn list(globs: &[&str]) -> Vec<String> {
    globs.iter().map(|&glob| glob.to_owned()).collect()
}

fn selected(rules: &Rules) -> Vec<String> {
    let selection = TagSelection::new(rules).unwrap();
    let selected = selection
        .select(&tags(NGINX), &CreationTimes::new())
        .unwrap();
    selected.iter().map(ToString::to_string).collect()
}

const fn latest(count: usize, order: Order) -> Latest {
    Latest { count, order }
}

#[rstest]
#[case::globs(Rules { include: list(&["1.29*", "latest"]), ..all() },
    &["1.29", "1.29.0", "1.29.0-alpine", "1.29.1", "1.29.1-alpine", "1.29.1-alpine-perl", "1.29.1-alpine3.22", "latest"])]
#[case::exclude_wins(Rules { include: list(&["1.29*"]), exclude: list(&["*-alpine*"]), ..all() },
    &["1.29", "1.29.0", "1.29.1"])]
#[case::regex(Rules { regex: Some(r"^\d+\.\d+$".to_owned()), ..all() }, &["1.27", "1.28", "1.29"])]
#[case::regex_anywhere(Rules { regex: Some("perl".to_owned()), ..all() }, &["1.29.1-alpine-perl", "stable-perl"])]
#[case::semver(Rules { semver: Some(">=1.28, <1.29".to_owned()), ..all() }, &["1.28", "1.28.0", "1.28.0-alpine"])]
#[case::alternatives(Rules { semver: Some("~1.26 || ~v1.27".to_owned()), ..all() }, &["1.27", "1.27.5", "v1.26.3"])]
#[case::no_prerelease(Rules { semver: Some(">=1.30, <1000".to_owned()), ..all() }, &[])]
#[case::prerelease(Rules { semver: Some(">=1.30, <1000".to_owned()), prerelease: true, ..all() },
    &["1.30.0-rc.1", "2.0.0-beta1"])]
#[case::below_a_prerelease(Rules { semver: Some(">=1.30, <2".to_owned()), prerelease: true, ..all() }, &["1.30.0-rc.1"])]
#[case::newest_of_each_family(Rules { semver: Some("<1000".to_owned()), latest: Some(latest(1, Order::Semver)), ..all() },
    &["1.29.1", "1.29.1-alpine", "1.29.1-alpine-perl", "1.29.1-alpine3.22"])]
#[case::newest_of_one_family(Rules { include: list(&["*-alpine"]), latest: Some(latest(2, Order::Semver)), ..all() },
    &["1.29.0-alpine", "1.29.1-alpine"])]
#[case::newest_prerelease(
    Rules { semver: Some("<1000".to_owned()), exclude: list(&["*-alpine*"]), prerelease: true, latest: Some(latest(2, Order::Semver)), ..all() },
    &["1.30.0-rc.1", "2.0.0-beta1"])]
#[case::last_in_the_alphabet(Rules { include: list(&["nightly-*", "sha-*", "s*"]), latest: Some(latest(1, Order::Alphabetical)), ..all() },
    &["stable-perl"])]
fn rules_select(#[case] rules: Rules, #[case] expected: &[&str]) {
    if expected.is_empty() {
        let error = TagSelection::new(&rules)
            .unwrap()
            .select(&tags(NGINX), &CreationTimes::new());
        assert_eq!(error, Err(SelectionError::None { count: NGINX.len() }));
    } else {
        assert_eq!(selected(&rules), expected);
    }
}

#[test]
fn without_rules_everything_is_selected() {
    assert_eq!(selected(&all()).len(), NGINX.len());
}

#[test]
fn more_than_the_limit_is_an_error_and_not_a_choice() {
    let rules = Rules {
        limit: NGINX.len() - 1,
        ..Rules::default()
    };
    let error = TagSelection::new(&rules)
        .unwrap()
        .select(&tags(NGINX), &CreationTimes::new())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "22 tags match, and at most 21 may; narrow the rules, add latest or raise limit"
    );
}

#[rstest]
#[case(Rules { include: list(&["ok", "[z-a]"]), ..all() }, "include[1]: not a glob: invalid range; 'z' > 'a'")]
#[case(Rules { exclude: list(&["{a"]), ..all() }, "exclude[0]: not a glob: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)")]
#[case(Rules { regex: Some("(".to_owned()), ..all() }, "regex: unclosed group")]
#[case(Rules { regex: Some(r"(\d{1,100}){1,100}".repeat(9)), ..all() }, "regex: too large when compiled")]
#[case(Rules { semver: Some("newest".to_owned()), ..all() },
    "semver: not a range of versions such as \">=1.27, <2\": unexpected character 'n' while parsing major version number")]
#[case(Rules { semver: Some("1||".repeat(16)), ..all() }, "semver: more than 16 alternatives")]
fn rules_that_mean_nothing_are_refused(#[case] rules: Rules, #[case] expected: &str) {
    let error = TagSelection::new(&rules).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[rstest]
#[case("1.9", "1.10")]
#[case("1.29", "1.29.0")]
#[case("v1.2.3", "1.2.4")]
#[case("1.2.3-rc.1", "1.2.3")]
#[case("1.2.3-rc.9", "1.2.3-rc.10")]
#[case("1.2.3-rc9", "1.2.3-rc10")]
#[case("1.2.3-alpha.2", "1.2.3-beta.1")]
#[case("1.2.3-RC1", "1.2.3-RC02")]
#[case("20231231", "20240101")]
#[case("2024.01.31", "2024.02.01")]
fn one_version_is_older_than_another(#[case] older: &str, #[case] newer: &str) {
    let parse = |tag| Version::parse(tag).unwrap();
    assert_eq!(
        parse(older).compare(&parse(newer)),
        std::cmp::Ordering::Less
    );
    assert_eq!(parse(older).family(), parse(newer).family());
}

#[rstest]
#[case("1.29-alpine", "alpine", false)]
#[case("1.29-alpine3.22", "alpine3.22", false)]
#[case("1.29_build5", "build5", false)]
#[case("1.30.0-rc.1-alpine", "alpine", true)]
#[case("1.30.0-beta1", "", true)]
#[case("3.12-slim-bookworm", "slim-bookworm", false)]
#[case("1.2.3-4", "4", false)]
#[case("1.2.3-", "", false)]
fn suffixes_are_families_unless_they_announce_a_release(
    #[case] tag: &str,
    #[case] family: &str,
    #[case] prerelease: bool,
) {
    let version = Version::parse(tag).unwrap();
    assert_eq!(
        (version.family(), version.is_prerelease()),
        (family, prerelease)
    );
}

#[rstest]
#[case("latest")]
#[case("sha-3f2c1ab")]
#[case("v")]
#[case("1.")]
#[case("1.2.3.4")]
#[case("1a")]
#[case("99999999999999999999999999")]
#[case("_1.2")]
fn what_does_not_begin_with_a_number_is_no_version(#[case] tag: &str) {
    assert_eq!(Version::parse(tag), None);
}

proptest! {
    /// Nothing that a registry lists makes it panic, and what is selected was there and is not repeated.
    #[test]
    fn any_tag_may_come(
        names in prop::collection::vec("[A-Za-z0-9_v][A-Za-z0-9_.-]{0,20}", 1..40),
        count in 1..5_usize,
        order in prop_oneof![Just(Order::Semver), Just(Order::Alphabetical)],
    ) {
        let tags: Vec<Tag> = names.iter().map(|name| name.parse().unwrap()).collect();
        let rules = Rules { latest: Some(latest(count, order)), prerelease: true, ..all() };
        let selection = TagSelection::new(&rules).unwrap();
        if let Ok(selected) = selection.select(&tags, &CreationTimes::new()) {
            prop_assert!(selected.iter().all(|tag| tags.contains(tag)));
            prop_assert!(selected.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(selection.select(&tags, &CreationTimes::new()).unwrap(), selected);
        }
    }

    /// Ranges and expressions of strangers are refused or understood, in bounded time and memory.
    #[test]
    fn any_rule_may_come(text in ".{0,64}") {
        let rules = Rules {
            include: vec![text.clone()], regex: Some(text.clone()), semver: Some(text), ..all()
        };
        let _ = TagSelection::new(&rules);
    }
}

#[test]
fn the_newest_by_creation_are_those_whose_images_say_so() {
    let rules = Rules {
        exclude: vec!["old".to_owned()],
        latest: Some(Latest {
            count: 2,
            order: Order::Created,
        }),
        limit: 10,
        ..Rules::default()
    };
    let selection = TagSelection::new(&rules).unwrap();
    let all = tags(&["a", "b", "c", "d", "old"]);
    let undated: Vec<Tag> = selection.undated(&all).into_iter().cloned().collect();
    assert_eq!(undated, tags(&["a", "b", "c", "d"]));
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    let created = [("a", 10), ("b", 30), ("c", 30), ("old", 90)]
        .map(|(tag, second)| (tag.parse().unwrap(), at(second)))
        .into();
    assert_eq!(selection.select(&all, &created).unwrap(), tags(&["b", "c"]));
    assert!(selection.select(&all, &CreationTimes::new()).is_err());
}
