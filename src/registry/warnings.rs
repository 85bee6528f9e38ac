//! What a registry wants people to know: `Warning` headers (distribution-spec, "Warnings").
//!
//! It is the only text of a registry that is ever shown, so that it is cut, bounded in number, and
//! cleaned of whatever a terminal or a log would take for more than text.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use reqwest::header::{HeaderMap, WARNING};

/// Most warnings of one registry that are kept.
const MOST: usize = 8;
/// Most characters of one warning. The specification asks clients to bear 4,096 bytes of all.
const LONGEST: usize = 256;

/// The warnings of one registry, each once.
#[derive(Debug, Default)]
pub(super) struct Warnings(Mutex<BTreeSet<String>>);

impl Warnings {
    /// Takes note of the warnings of an answer, and gives those that are new. `is_secret` says of a
    /// text that nobody may see it.
    pub(super) fn heed(
        &self,
        headers: &HeaderMap,
        is_secret: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut new = Vec::new();
        for value in headers.get_all(WARNING) {
            let text = value.to_str().ok().and_then(read);
            let Some(text) = text.filter(|text| !is_secret(text)) else {
                continue;
            };
            let text = shortened(&text);
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() < MOST && known.insert(text.clone()) {
                new.push(text);
            }
        }
        new
    }

    /// All of them so far.
    pub(super) fn all(&self) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().cloned().collect()
    }
}

/// The text of `299 - "TEXT"`, which is the only form that the specification knows.
fn read(header: &str) -> Option<String> {
    let quoted = header.trim().strip_prefix("299 - \"")?;
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => text.push(characters.next()?),
            character => text.push(character),
        }
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_plain = text
        .chars()
        .all(|letter| letter.is_ascii_graphic() || letter == ' ');
    (characters.as_str().is_empty() && is_plain && !text.is_empty()).then_some(text)
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LONGEST - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|line| (WARNING, HeaderValue::from_bytes(line.as_bytes()).unwrap()))
            .collect()
    }

    #[rstest]
    #[case("299 - \"the tag is old\"", Some("the tag is old"))]
    #[case(" 299 - \"a \\\"quoted\\\" word \\\\\" ", Some("a \"quoted\" word \\"))]
    #[case("299 - \"two\tparts  of it\"", Some("two parts of it"))]
    #[case::other_code("199 - \"text\"", None)]
    #[case::other_agent("299 proxy \"text\"", None)]
    #[case::with_a_date("299 - \"text\" \"Sat, 25 Aug 2012 23:34:45 GMT\"", None)]
    #[case::two_in_one("299 - \"one\", 299 - \"two\"", None)]
    #[case::not_quoted("299 - text", None)]
    #[case::open("299 - \"text", None)]
    #[case::ends_in_an_escape("299 - \"text\\", None)]
    #[case::says_nothing("299 - \" \"", None)]
    #[case::not_ascii("299 - \"\u{202e}txet\"", None)]
    #[case::empty("", None)]
    fn only_the_form_of_the_specification_is_read(
        #[case] header: &str,
        #[case] expected: Option<&str>,
    ) {
        let found = Warnings::default().heed(&headers(&[header]), |_| false);
        assert_eq!(found.first().map(String::as_str), expected);
    }

    #[test]
    fn each_is_told_once_and_there_are_not_too_many() {
        let warnings = Warnings::default();
        let twice = headers(&["299 - \"one\"", "299 - \"one\"", "299 - \"two\""]);
        assert_eq!(warnings.heed(&twice, |_| false), ["one", "two"]);
        assert_eq!(warnings.heed(&twice, |_| false), [""; 0]);
        for number in 0..100 {
            let one = format!("299 - \"{number:-<300}\"");
            warnings.heed(&headers(&[&one]), |_| false);
        }
        let all = warnings.all();
        assert_eq!(all.len(), MOST);
        assert!(all.iter().all(|text| text.chars().count() <= LONGEST));
    }

    #[test]
    fn what_repeats_a_secret_is_not_told() {
        let warnings = Warnings::default();
        let echo = headers(&["299 - \"you sent canary\""]);
        assert_eq!(
            warnings.heed(&echo, |text| text.contains("canary")),
            [""; 0]
        );
        assert_eq!(warnings.all(), [""; 0]);
    }
}
