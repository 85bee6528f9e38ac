//! Tags read as versions, as people write them: `1.29`, `v1.29.3`, `1.29-alpine`, `1.30.0-rc.1-alpine`.

use std::cmp::Ordering;
use std::str::FromStr;

use semver::{Prerelease, VersionReq};

/// First words of a suffix that mean that a release is still to come. Any other suffix names a variant of
/// the image: `alpine`, `slim-bookworm`, `windowsservercore-ltsc2022`.
const PRERELEASES: [&str; 20] = [
    "a",
    "alpha",
    "b",
    "beta",
    "canary",
    "cr",
    "dev",
    "ea",
    "edge",
    "m",
    "milestone",
    "next",
    "nightly",
    "pre",
    "preview",
    "rc",
    "snapshot",
    "test",
    "unstable",
    "wip",
];
/// Most alternatives of a range.
const MAX_ALTERNATIVES: usize = 16;

/// The version that a tag names.
///
/// Parts that are left out count as zero. Tags that differ in nothing but their number form a family:
/// `1.28-alpine` and `1.29-alpine` are of one, `1.29` is of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    number: semver::Version,
    /// How many numbers were written out: of `1.29` and `1.29.0` the longer one is newer, because it is
    /// the one that stays what it is.
    parts: usize,
    family: &'a str,
}

impl<'a> Version<'a> {
    /// Reads a tag; [`None`] when it does not begin with a number.
    #[must_use]
    pub fn parse(tag: &'a str) -> Option<Self> {
        let text = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
        let end = text.find(['-', '_']).unwrap_or(text.len());
        let (numbers, suffix) = text.split_at_checked(end)?;
        let mut values = [0; 3];
        let mut parts = 0;
        for number in numbers.split('.') {
            if !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            *values.get_mut(parts)? = number.parse().ok()?;
            parts += 1;
        }
        let [major, minor, patch] = values;
        let mut number = semver::Version::new(major, minor, patch);
        let (prerelease, family) = split_suffix(suffix);
        number.pre = prerelease;
        Some(Self {
            number,
            parts,
            family,
        })
    }

    /// Whether a release of this number is still to come.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.number.pre.is_empty()
    }

    /// What follows the number and is no pre-release, without the separator before it.
    #[must_use]
    pub const fn family(&self) -> &'a str {
        self.family
    }

    /// Which of two is newer. It says nothing about their families.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        self.number
            .cmp_precedence(&other.number)
            .then(self.parts.cmp(&other.parts))
    }
}

/// Splits `-rc.1-alpine` into the pre-release `rc.1` and the family `alpine`.
fn split_suffix(suffix: &str) -> (Prerelease, &str) {
    let suffix = suffix.get(1..).unwrap_or_default();
    let end = suffix.find(['-', '_']).unwrap_or(suffix.len());
    let (first, rest) = suffix.split_at_checked(end).unwrap_or((suffix, ""));
    let word = first
        .split(|letter: char| !letter.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    let announces = PRERELEASES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(word));
    match Prerelease::new(&numbered(first)) {
        Ok(prerelease) if announces => (prerelease, rest.get(1..).unwrap_or_default()),
        _ => (Prerelease::EMPTY, suffix),
    }
}

/// `rc10` is newer than `rc9`, which semver says of `rc.10` and `rc.9` only. Zeros in front of a number, which
/// it does not allow, are left out.
fn numbered(prerelease: &str) -> String {
    let mut identifiers: Vec<String> = Vec::new();
    for part in prerelease.split('.') {
        let letters = part
            .find(|letter: char| letter.is_ascii_digit())
            .unwrap_or(part.len());
        let (word, number) = part.split_at_checked(letters).unwrap_or((part, ""));
        if !word.is_empty() {
            identifiers.push(word.to_owned());
        }
        if !number.is_empty() {
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let short = number.trim_start_matches('0');
            identifiers.push(match (digits, short.is_empty()) {
                (true, true) => "0".to_owned(),
                (true, false) => short.to_owned(),
                (false, _) => format!("x{number}"),
            });
        }
    }
    identifiers.join(".")
}

/// Ranges of versions in the syntax of Cargo: `>=1.27, <2`, `~1.29`, `1.*`; alternatives are separated by `||`.
/// `1.27` alone means what is compatible with it: 1.27 and later, before 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(Vec<VersionReq>);

/// Why something is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// One of the alternatives cannot be read.
    #[error("not a range of versions such as \">=1.27, <2\": {0}")]
    Malformed(String),
    /// There are too many.
    #[error("more than {MAX_ALTERNATIVES} alternatives")]
    TooMany,
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let alternatives: Vec<_> = text.split("||").take(MAX_ALTERNATIVES + 1).collect();
        if alternatives.len() > MAX_ALTERNATIVES {
            return Err(RangeError::TooMany);
        }
        alternatives
            .into_iter()
            .map(|alternative| {
                // As in tags, a `v` in front of a version is nothing but a habit.
                let plain: String = alternative
                    .split(',')
                    .map(|comparator| comparator.trim().replacen('v', "", 1))
                    .collect::<Vec<_>>()
                    .join(",");
                VersionReq::parse(&plain).map_err(|error| RangeError::Malformed(error.to_string()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Range {
    /// Whether a version is in one of the ranges. A pre-release is where its release will be.
    #[must_use]
    pub fn contains(&self, version: &Version<'_>) -> bool {
        let mut release = version.number.clone();
        release.pre = Prerelease::EMPTY;
        self.0
            .iter()
            .any(|range| range.matches(&release) || range.matches(&version.number))
    }
}
