//! Columns, times and digests as people read them. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::cli::output::harmless;

/// Hexadecimal digits of a digest where whole ones do not fit.
const SHORT_DIGEST_DIGITS: usize = 12;
/// What stands for nothing.
pub(super) const NOTHING: &str = "-";

/// Rows under a header, every column as wide as its widest cell. Cells can be words of others.
pub(super) fn render<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> String {
    let header = header.map(str::to_owned);
    let rows: Vec<[String; COLUMNS]> = std::iter::once(&header)
        .chain(rows)
        .map(|row| row.each_ref().map(|cell| harmless(cell)))
        .collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(line.join("   ").trim_end());
        text.push('\n');
    }
    text
}

/// The most characters of a line.
pub(super) fn width(text: &str) -> usize {
    text.lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or_default()
}

/// A time in its largest unit, as kubectl tells ages.
pub(super) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago something was; nothing for what is to come, which clocks that differ make of the present.
pub(super) fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// A digest whose algorithm and first digits are enough to tell it from others.
pub(super) fn short_digest(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm, hex)) => {
            let hex: String = hex.chars().take(SHORT_DIGEST_DIGITS).collect();
            format!("{algorithm}:{hex}")
        }
        None => digest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_commands_the_terminal() {
        let rows = [
            ["a".to_owned(), "\u{1b}[2J".to_owned(), String::new()],
            ["long".to_owned(), "b".to_owned(), "c".to_owned()],
        ];
        assert_eq!(
            render(["X", "Y", "Z"], &rows),
            "X      Y      Z\na      \u{fffd}[2J\nlong   b      c\n"
        );
    }

    #[rstest]
    #[case(0, "0s")]
    #[case(119, "119s")]
    #[case(120, "2m")]
    #[case(7_199, "119m")]
    #[case(7_200, "2h")]
    #[case(172_800, "2d")]
    fn ages_are_short(#[case] seconds: u64, #[case] expected: &str) {
        assert_eq!(age(Duration::from_secs(seconds)), expected);
    }

    #[test]
    fn a_clock_that_is_behind_makes_no_age() {
        let then = Timestamp::from_second(100).unwrap();
        let now = Timestamp::from_second(90).unwrap();
        assert_eq!(since(then, now), Duration::ZERO);
        assert_eq!(since(now, then), Duration::from_secs(10));
    }

    #[test]
    fn digests_are_cut_after_the_algorithm() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(short_digest(&digest), "sha256:abababababab");
        assert_eq!(short_digest("none"), "none");
    }
}
