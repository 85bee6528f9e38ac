//! What commands print: data on standard output, talk on standard error.

use std::fmt::Display;
use std::io::{self, Write as _};

use indicatif::BinaryBytes;
use serde::Serialize;

/// Writes one line of data.
pub(super) fn line(text: impl Display) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Writes bytes as they are.
pub(super) fn raw(bytes: &[u8]) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(bytes)?;
    output.flush()?;
    Ok(())
}

/// Writes one JSON document in one line.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

/// Tells people something. Nobody may be listening, which is no failure.
pub(super) fn tell(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The columns of the terminal that standard output is, if it is one.
pub(super) fn width_of_stdout() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(width.0))
}

/// The columns of the terminal that standard error is, if it is one.
pub(super) fn width_of_stderr() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(io::stderr())?;
    Some(usize::from(width.0))
}

/// A number of bytes as people read it.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        format!("{bytes} B")
    } else {
        BinaryBytes(bytes).to_string()
    }
}

/// Text that somebody else wrote, without what a terminal would take for a command.
pub(super) fn harmless(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                character
            }
        })
        .collect()
}

/// An error with its causes, each said once, as one sentence.
#[must_use]
pub fn sentence(error: &anyhow::Error) -> String {
    said_once(error.chain())
}

/// The texts of errors, each the cause of the one before, without those that are said already.
pub(super) fn said_once<'a>(
    chain: impl Iterator<Item = &'a (dyn std::error::Error + 'static)>,
) -> String {
    let mut text = String::new();
    for cause in chain.map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn causes_are_said_once() {
        let error = Err::<(), _>(anyhow!("no such file"))
            .context("a: no such file")
            .context("cannot start")
            .unwrap_err();
        assert_eq!(sentence(&error), "cannot start: a: no such file");
    }

    #[test]
    fn a_terminal_gets_no_commands() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{9b}"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(3 << 20), "3.00 MiB");
    }
}
