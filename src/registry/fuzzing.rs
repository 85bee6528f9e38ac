//! What must hold for anything that a registry writes into a header; see `crate::fuzzing`.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use url::Url;

use super::auth::realm_of;
use super::range::{ContentRange, acknowledged};
use super::{link, origin, patience};

/// A realm that a challenge names is never used against the origin policy. Lines are header lines.
pub(crate) fn challenge(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    let Some(realm) = realm_of(&headers) else {
        return;
    };
    for registry in registries() {
        if let Ok(url) = origin::token_realm(&registry, &realm, true) {
            assert_safe(&registry, &url);
            assert!(
                url.host_str()
                    .is_some_and(|host| host.ends_with("example.test"))
            );
        }
    }
}

/// Wherever a `Location` leads, it is HTTP, without user information, and no step back from TLS.
pub(crate) fn location(input: &[u8]) {
    let Ok(location) = std::str::from_utf8(input) else {
        return;
    };
    for registry in registries() {
        if let Ok(url) = origin::redirect_target(&registry, location) {
            assert_safe(&registry, &url);
        }
        if let Ok(url) = origin::upload_location(&registry, location) {
            assert_safe(&registry, &url);
            assert_eq!(url.origin(), registry.origin());
        }
    }
}

/// The next page is a part of the header, without the brackets around it.
pub(crate) fn link(input: &[u8]) {
    let Ok(header) = std::str::from_utf8(input) else {
        return;
    };
    if let Some(target) = link::next(header) {
        assert!(header.contains(&format!("<{target}>")));
        assert!(!target.contains('>'));
    }
}

/// A range has its bytes in order, within the size that it names.
pub(crate) fn range(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Some(range) = ContentRange::parse(text) {
        assert!(range.first <= range.last);
        assert!(range.size.is_none_or(|size| range.last < size));
    }
    if let Some(bytes) = acknowledged(text) {
        assert!(bytes == 0 || text.contains(&(bytes - 1).to_string()));
    }
}

/// Any `Retry-After` is a wait or none.
pub(crate) fn retry_after(input: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(input) else {
        return;
    };
    let now = Timestamp::UNIX_EPOCH;
    let wait = patience::retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]), now);
    if let Some(digits) = std::str::from_utf8(input).ok().filter(|text| {
        !text.is_empty() && text.len() < 18 && text.bytes().all(|byte| byte.is_ascii_digit())
    }) {
        assert_eq!(wait, digits.parse().ok().map(Duration::from_secs));
    }
}

fn registries() -> Vec<Url> {
    [
        "https://registry.example.test/v2/",
        "http://registry.example.test:5000/v2/x?y=z",
    ]
    .into_iter()
    .filter_map(|text| Url::parse(text).ok())
    .collect()
}

fn assert_safe(from: &Url, to: &Url) {
    assert!(to.scheme() == "https" || (to.scheme() == "http" && from.scheme() == "http"));
    assert!(to.username().is_empty() && to.password().is_none());
    assert!(to.has_host());
}
