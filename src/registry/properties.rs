//! Properties of what is read from headers, for inputs that are put together from their grammar.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use url::Url;

use super::auth::realm_of;
use super::origin::{redirect_target, token_realm, upload_location};
use super::patience::retry_after;

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
}
