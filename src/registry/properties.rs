//! Properties of what is read from headers, for inputs that are put together from their grammar.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use url::Url;

use super::auth::realm_of;
use super::link;
use super::origin::{redirect_target, token_realm, upload_location};
use super::patience::retry_after;
use super::range::{ContentRange, acknowledged};

fn header_line(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap()
}

/// A value as RFC 9110 §5.6.4 quotes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    retry_after(
        &HeaderMap::from_iter([(RETRY_AFTER, header_line(text))]),
        now,
    )
}

/// A scheme with parameters that nobody here answers.
fn other_challenge() -> impl Strategy<Value = String> {
    "(Negotiate|Digest realm=\"[a-z ,=]{0,8}\", nonce=\"[a-z0-9]{4}\"|NTLM|Custom a=b)"
}

/// A link with another relation than `next`.
fn other_link() -> impl Strategy<Value = String> {
    "</[a-z0-9,;=]{0,12}>(; rel=\"(prev|last|first|nextish|next-archive)\"|; title=\"[a-z]{0,6}\"|)"
}

proptest! {
    #[test]
    fn a_realm_is_read_whatever_stands_around_it(
        scheme in "(?i)bearer",
        realm in "https://[a-z]{1,8}\\.test/[ -~]{0,20}",
        service in "[ -~]{0,20}",
        space in " {0,2}",
        before in proptest::option::of(other_challenge()),
        after in proptest::option::of(other_challenge()),
        service_first: bool,
        one_line: bool,
    ) {
        let parameters = [format!("realm={}", quoted(&realm)), format!("service={}", quoted(&service))];
        let mut parameters = parameters.to_vec();
        if service_first {
            parameters.reverse();
        }
        let bearer = format!("{scheme} {}", parameters.join(&format!("{space},{space}")));
        let challenges: Vec<_> = before.into_iter().chain([bearer]).chain(after).collect();
        let lines = if one_line { vec![challenges.join(", ")] } else { challenges };
        let mut headers = HeaderMap::new();
        for line in &lines {
            headers.append(WWW_AUTHENTICATE, header_line(line));
        }
        prop_assert_eq!(realm_of(&headers), Some(realm));
    }

    #[test]
    fn seconds_are_waited_for(seconds: u64, space in " {0,2}") {
        let now = Timestamp::UNIX_EPOCH;
        let text = format!("{space}{seconds}{space}");
        prop_assert_eq!(wait(&text, now), Some(Duration::from_secs(seconds)));
    }

    #[test]
    fn a_date_is_waited_for_and_the_past_is_not(
        now in 0..4_000_000_000_i64,
        ahead in -1_000_000..1_000_000_i64,
    ) {
        let now = Timestamp::from_second(now).unwrap();
        let then = now.checked_add(SignedDuration::from_secs(ahead)).unwrap();
        let text = then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let expected = Duration::from_secs(u64::try_from(ahead).unwrap_or(0));
        prop_assert_eq!(wait(&text, now), Some(expected));
    }

    #[test]
    fn a_location_within_the_registry_stays_there(
        path in "(/[a-zA-Z0-9_.-]{1,8}){1,4}",
        query in proptest::option::of("[a-zA-Z0-9_=&%+-]{0,40}"),
        absolute: bool,
    ) {
        let base = Url::parse("https://registry.test:8443/v2/a/blobs/uploads/").unwrap();
        let query = query.map_or(String::new(), |query| format!("?{query}"));
        let origin = if absolute { "https://registry.test:8443" } else { "" };
        let url = upload_location(&base, &format!("{origin}{path}{query}")).unwrap();
        prop_assert_eq!(url.origin(), base.origin());
        // The query is the registry's own text and comes back letter by letter.
        prop_assert_eq!(url.query().map_or(String::new(), |query| format!("?{query}")), query);
    }

    #[test]
    fn a_location_elsewhere_is_no_place_to_upload_to(
        host in "[a-z]{1,8}\\.(test|example)",
        port in 1..=u16::MAX,
    ) {
        let base = Url::parse("https://registry.example.test:8443/v2/").unwrap();
        let location = format!("https://{host}:{port}/v2/");
        prop_assert!(upload_location(&base, &location).is_err());
        prop_assert!(redirect_target(&base, &location).is_ok());
        prop_assert!(redirect_target(&base, &location.replace("https", "http")).is_err());
        prop_assert!(token_realm(&base, &location, true).is_err());
    }

    #[test]
    fn the_next_page_is_found_among_other_links(
        target in "/[a-zA-Z0-9?&=,;%._/-]{0,40}",
        before in proptest::collection::vec(other_link(), 0..3),
        after in proptest::collection::vec(other_link(), 0..3),
        relation in "(next|NEXT|\"next\"|\"Next\"|\"last next\"|\"next archives\")",
        title in proptest::option::of("[a-z]{0,8}"),
        space in " {0,2}",
    ) {
        let title = title.map_or(String::new(), |title| format!(";{space}title=\"{title}\""));
        let next = format!("<{target}>{title};{space}rel={relation}");
        let links: Vec<_> = before.into_iter().chain([next]).chain(after).collect();
        let header = links.join(&format!("{space},{space}"));
        prop_assert_eq!(link::next(&header), Some(target.as_str()));
    }

    #[test]
    fn without_a_next_page_there_is_none(links in proptest::collection::vec(other_link(), 0..4)) {
        let header = links.join(", ");
        prop_assert_eq!(link::next(&header), None);
    }

    #[test]
    fn a_range_is_read_as_it_was_written(
        first in 0..=u64::MAX - 1,
        length in 0..1_u64 << 40,
        beyond in proptest::option::of(1..1_u64 << 40),
        unit in "(bytes|Bytes|BYTES)",
        space in " {1,2}",
    ) {
        let last = first.saturating_add(length).min(u64::MAX - 1);
        let size = beyond.map(|beyond| last.saturating_add(beyond));
        let whole = size.map_or("*".to_owned(), |size| size.to_string());
        let text = format!("{unit}{space}{first}-{last}/{whole}");
        prop_assert_eq!(ContentRange::parse(&text), Some(ContentRange { first, last, size }));
        // The same bytes backwards, or beyond the size, are no range.
        if first < last {
            let backwards = format!("{unit}{space}{last}-{first}/{whole}");
            prop_assert_eq!(ContentRange::parse(&backwards), None);
        }
        let too_small = format!("{unit}{space}{first}-{last}/{last}");
        prop_assert_eq!(ContentRange::parse(&too_small), None);
    }

    #[test]
    fn acknowledged_bytes_are_counted_from_the_first(
        last in 1..u64::MAX,
        first in 1..u64::MAX,
        prefix in "(bytes=)?",
        space in " {0,2}",
    ) {
        let text = format!("{space}{prefix}0-{last}{space}");
        prop_assert_eq!(acknowledged(&text), Some(last + 1));
        let later = format!("{prefix}{first}-{}", first.saturating_add(last));
        prop_assert_eq!(acknowledged(&later), None);
    }

    #[test]
    fn whatever_is_written_is_a_range_in_order_or_none(text in "[ -~]{0,40}") {
        if let Some(range) = ContentRange::parse(&text) {
            prop_assert!(range.first <= range.last);
            prop_assert!(range.size.is_none_or(|size| range.last < size));
        }
        if let Some(next) = link::next(&text) {
            let bracketed = format!("<{next}>");
            prop_assert!(text.contains(&bracketed));
        }
    }
}
