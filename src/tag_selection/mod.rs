//! Which tags of a repository are meant: globs, a regular expression, version ranges, the newest few.
//!
//! Pure: names in, names out. Must not know where tags come from, nor what has them.

mod latest;
mod version;

use globset::{Glob, GlobSet, GlobSetBuilder};
use regex::{Regex, RegexBuilder};

pub use self::latest::{CreationTimes, Latest, Order};
pub use self::version::{Range, RangeError, Version};
use crate::oci::Tag;

/// Most bytes that a compiled regular expression may take; matching takes linear time in any case.
const MAX_REGEX_BYTES: usize = 256 * 1024;

/// Rules as a user writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Globs, of which one must match; without any, all tags do.
    pub include: Vec<String>,
    /// Globs, of which none may match.
    pub exclude: Vec<String>,
    /// A regular expression that must match somewhere in the tag.
    pub regex: Option<String>,
    /// Ranges of versions, see [`Range`]. A tag that is no version does not match.
    pub semver: Option<String>,
    /// Whether pre-releases are versions, too.
    pub prerelease: bool,
    /// Only the newest of those that match.
    pub latest: Option<Latest>,
    /// Most tags that may be selected.
    pub limit: usize,
}

/// Rules that are ready to be applied.
#[derive(Clone, Debug)]
pub struct TagSelection {
    include: Option<GlobSet>,
    exclude: GlobSet,
    regex: Option<Regex>,
    range: Option<Range>,
    prerelease: bool,
    latest: Option<Latest>,
    limit: usize,
}

/// Rules that cannot be applied. It names the field below `tags`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// A glob is none.
    #[error("{list}[{index}]: not a glob: {problem}")]
    Glob {
        /// `include` or `exclude`.
        list: &'static str,
        /// Which of them, from zero.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The regular expression is none, or is too large.
    #[error("regex: {0}")]
    Regex(String),
    /// The range of versions is none.
    #[error("semver: {0}")]
    Range(#[from] RangeError),
}

/// Why the rules select nothing that can be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// More tags match than may.
    #[error(
        "{count} tags match, and at most {limit} may; narrow the rules, add latest or raise limit"
    )]
    TooMany {
        /// How many match.
        count: usize,
        /// How many may.
        limit: usize,
    },
    /// There are more tags than are looked at.
    #[error("it has more than {count} tags, and no more are looked at")]
    Unlisted {
        /// How many are.
        count: usize,
    },
    /// No tag matches.
    #[error("none of {count} tags matches; correct the rules or push an image that they select")]
    None {
        /// How many tags there are.
        count: usize,
    },
}

impl TagSelection {
    /// Checks rules.
    pub fn new(rules: &Rules) -> Result<Self, RulesError> {
        let include = glob_set("include", &rules.include)?;
        Ok(Self {
            include: (!rules.include.is_empty()).then_some(include),
            exclude: glob_set("exclude", &rules.exclude)?,
            regex: rules.regex.as_deref().map(compile).transpose()?,
            range: rules.semver.as_deref().map(str::parse).transpose()?,
            prerelease: rules.prerelease,
            latest: rules.latest,
            limit: rules.limit,
        })
    }

    /// The tags of which it has to be known when their images were created, before any can be selected.
    #[must_use]
    pub fn undated<'a>(&self, tags: &'a [Tag]) -> Vec<&'a Tag> {
        match self.latest {
            Some(latest) if latest.order == Order::Created => {
                tags.iter().filter(|tag| self.matches(tag)).collect()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// The tags that the rules select, sorted as [`Tag`]s are. `created` is about those that are
    /// [`Self::undated`].
    pub fn select(
        &self,
        tags: &[Tag],
        created: &CreationTimes,
    ) -> Result<Vec<Tag>, SelectionError> {
        let matching = tags.iter().filter(|tag| self.matches(tag));
        let mut selected: Vec<Tag> = match self.latest {
            None => matching.cloned().collect(),
            Some(latest) => latest.of(matching, self.prerelease, created),
        };
        selected.sort();
        selected.dedup();
        match selected.len() {
            0 => Err(SelectionError::None { count: tags.len() }),
            count if count > self.limit => Err(SelectionError::TooMany {
                count,
                limit: self.limit,
            }),
            _ => Ok(selected),
        }
    }

    /// Whether a tag passes all filters. `latest` is not one of them: it depends on the others.
    #[must_use]
    pub fn matches(&self, tag: &Tag) -> bool {
        let name = tag.as_str();
        let included = self
            .include
            .as_ref()
            .is_none_or(|globs| globs.is_match(name));
        included
            && !self.exclude.is_match(name)
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(name))
            && self.range.as_ref().is_none_or(|range| {
                Version::parse(name).is_some_and(|version| {
                    (self.prerelease || !version.is_prerelease()) && range.contains(&version)
                })
            })
    }
}

fn glob_set(list: &'static str, globs: &[String]) -> Result<GlobSet, RulesError> {
    let error = |index, error: &globset::Error| RulesError::Glob {
        list,
        index,
        problem: error.kind().to_string(),
    };
    let mut builder = GlobSetBuilder::new();
    for (index, glob) in globs.iter().enumerate() {
        builder.add(Glob::new(glob).map_err(|problem| error(index, &problem))?);
    }
    builder.build().map_err(|problem| error(0, &problem))
}

fn compile(pattern: &str) -> Result<Regex, RulesError> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|error| {
            RulesError::Regex(match error {
                regex::Error::CompiledTooBig(_) => "too large when compiled".to_owned(),
                // The last line says what is wrong, those before show where.
                error => error
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or("not a regular expression")
                    .trim_start_matches("error: ")
                    .to_owned(),
            })
        })
}

#[cfg(test)]
mod tests;
