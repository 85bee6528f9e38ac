//! Reading the words of builders.

use crate::reason::Reason;

/// The last line that begins with one of these, without the beginning.
pub(in crate::builder) fn error_line<'a>(log: &'a str, beginnings: &[&str]) -> Option<&'a str> {
    log.lines().rev().find_map(|line| {
        let mut rests = beginnings
            .iter()
            .filter_map(|beginning| line.strip_prefix(beginning));
        rests.next()
    })
}

/// What follows `start`.
pub(in crate::builder) fn after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.split_once(start).map(|(_, rest)| rest)
}

/// The number between `start` and the next character that is none.
pub(in crate::builder) fn number_before(text: &str, start: &str) -> Option<u32> {
    let rest = after(text, start)?;
    let digits = rest
        .split(|character: char| !character.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

/// What `start` and a quotation mark begin, up to the mark that `end` follows, and what comes then. Quotation marks and
/// backslashes within it are as Go escapes them.
pub(in crate::builder) fn quoted<'a>(text: &'a str, start: &str) -> Option<(String, &'a str)> {
    let rest = after(text, start)?.strip_prefix('"')?;
    let mut content = String::new();
    let mut characters = rest.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((content, rest.get(index + 1..)?)),
            '\\' => {
                let (_, escaped) = characters.next()?;
                content.push(match escaped {
                    'n' | 't' => ' ',
                    other => other,
                });
            }
            other => content.push(other),
        }
    }
    None
}

/// What went wrong between a builder and the registry of a base image, or the cache.
pub(in crate::builder) fn registry_reason(message: &str) -> Option<Reason> {
    let rules: [(Reason, &[&str]); 7] = [
        (
            Reason::TlsMissing,
            &["server gave HTTP response to HTTPS client"],
        ),
        (Reason::TlsUntrusted, &["x509:", "tls: "]),
        (
            Reason::RateLimited,
            &[
                "429 Too Many Requests",
                "toomanyrequests",
                "TOOMANYREQUESTS",
            ],
        ),
        (
            Reason::BaseImageDenied,
            &[
                "401 Unauthorized",
                "403 Forbidden",
                "UNAUTHORIZED",
                "DENIED",
                "unauthorized",
                "authentication required",
                "denied",
                "insufficient_scope",
            ],
        ),
        (
            Reason::BaseImageNotFound,
            &[
                "MANIFEST_UNKNOWN",
                "NAME_UNKNOWN",
                "manifest unknown",
                "name unknown",
                "not found",
            ],
        ),
        (
            Reason::RegistryUnreachable,
            &[
                "dial tcp",
                "no such host",
                "no route to host",
                "connection refused",
                "connection reset",
                "i/o timeout",
                "context deadline exceeded",
                "TLS handshake timeout",
            ],
        ),
        (
            Reason::RegistryError,
            &[
                "unexpected status",
                "unexpected EOF",
                "500 Internal",
                "502 Bad",
                "503 Service",
                "504 Gateway",
            ],
        ),
    ];
    rules
        .into_iter()
        .find(|(_, words)| words.iter().any(|word| message.contains(word)))
        .map(|(reason, _)| reason)
}

/// One line of printable characters.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let printable = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    let line: String = text.trim().chars().map(printable).take(limit).collect();
    line.trim().to_owned()
}
