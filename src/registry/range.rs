//! Byte ranges as registries write them: `Content-Range` of a download (RFC 9110 §14.4), `Range` of
//! an upload session (distribution-spec, "Pushing a blob in chunks").
//!
//! Pure: texts in, numbers out.

/// What a `206` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// The first byte.
    pub(super) first: u64,
    /// The last byte, included.
    pub(super) last: u64,
    /// The size of the whole, unless the server does not tell.
    pub(super) size: Option<u64>,
}

impl ContentRange {
    /// Reads `bytes FIRST-LAST/SIZE`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.trim().split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, size) = rest.trim().split_once('/')?;
        let (first, last) = bounds(range)?;
        let size = match size.trim() {
            "*" => None,
            size => Some(number(size)?),
        };
        size.is_none_or(|size| last < size)
            .then_some(Self { first, last, size })
    }
}

/// How many bytes an upload session holds by its `Range`, which is `0-LAST`; some registries write
/// `bytes=` in front. [`None`] when it is no such range.
///
/// `0-0` is the first byte, but registries also say it of an empty session. It is read as nothing: a
/// session that does hold one byte is then refused by its digest, and nobody sends one byte.
pub(super) fn acknowledged(text: &str) -> Option<u64> {
    let text = text.trim();
    match bounds(text.strip_prefix("bytes=").unwrap_or(text))? {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

fn bounds(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.trim().split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// Digits only: `+1` and the empty text are no numbers here.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("bytes 5-9/10", Some((5, 9, Some(10))))]
    #[case("Bytes 0-0/*", Some((0, 0, None)))]
    #[case(" bytes  5-9 / 10 ", Some((5, 9, Some(10))))]
    #[case::last_behind_the_end("bytes 5-10/10", None)]
    #[case::backwards("bytes 9-5/10", None)]
    #[case::unsatisfied("bytes */10", None)]
    #[case::other_unit("pages 5-9/10", None)]
    #[case::signs("bytes +5-9/10", None)]
    #[case::no_size("bytes 5-9", None)]
    #[case::overflow("bytes 0-18446744073709551616/*", None)]
    #[case::empty("", None)]
    fn content_ranges(#[case] text: &str, #[case] expected: Option<(u64, u64, Option<u64>)>) {
        let expected = expected.map(|(first, last, size)| ContentRange { first, last, size });
        assert_eq!(ContentRange::parse(text), expected);
    }

    #[rstest]
    #[case("0-1023", Some(1024))]
    #[case("bytes=0-1023", Some(1024))]
    #[case(" 0-1 ", Some(2))]
    #[case::nothing_or_one_byte("0-0", Some(0))]
    #[case::not_from_the_start("5-9", None)]
    #[case::negative("0--1", None)]
    #[case::everything("0-18446744073709551615", None)]
    #[case::open("0-", None)]
    #[case::empty("", None)]
    fn acknowledged_bytes(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(acknowledged(text), expected);
    }
}
