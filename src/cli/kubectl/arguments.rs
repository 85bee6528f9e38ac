//! What users write on the command line, as checked values. Pure.

use std::time::Duration;

use jiff::SignedDuration;

/// Longest time that may be asked for.
const MAX_DURATION: Duration = Duration::from_hours(24 * 7);
/// Most characters of the name of an object.
const MAX_NAME_LENGTH: usize = 253;

/// A time such as `90s`, `10m` or `1h30m`, or a number of seconds as kubectl takes it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => text
            .parse::<SignedDuration>()
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok()),
    };
    parsed
        .filter(|duration| (Duration::from_secs(1)..=MAX_DURATION).contains(duration))
        .ok_or_else(|| "expected a time between 1s and 168h, such as 90s, 10m or 1h30m".to_owned())
}

/// The name of an object or of a namespace: what it becomes is a part of a path.
pub(super) fn name(text: &str) -> Result<String, String> {
    let is_end = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let is_name = bytes.len() <= MAX_NAME_LENGTH
        && bytes.first().is_some_and(is_end)
        && bytes.last().is_some_and(is_end)
        && bytes
            .iter()
            .all(|byte| is_end(byte) || matches!(byte, b'-' | b'.'));
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("expected a name of lower case letters, digits, `-` and `.`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("30", Some(30))]
    #[case("30s", Some(30))]
    #[case("10m", Some(600))]
    #[case("1h30m", Some(5400))]
    #[case("0", None)]
    #[case("500ms", None)]
    #[case("-1s", None)]
    #[case("99999h", None)]
    #[case("99999999999999999999", None)]
    #[case("soon", None)]
    fn times_are_those_of_kubectl(#[case] text: &str, #[case] seconds: Option<u64>) {
        assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs));
    }

    #[rstest]
    #[case("alpine", true)]
    #[case("a.b-c.1", true)]
    #[case("", false)]
    #[case("../secrets/x", false)]
    #[case("a?watch=1", false)]
    #[case("Alpine", false)]
    #[case("-a", false)]
    fn a_name_cannot_be_anything_else_in_a_path(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(name(text).is_ok(), expected);
        assert!(name(&"a".repeat(254)).is_err());
    }
}
