//! The tags of an image, from the templates of its spec. Pure.

use std::collections::BTreeSet;

use super::spec_error::SpecError;
use crate::api::SourceStatus;
use crate::oci::Tag;

/// Digits of a short commit.
const SHORT: usize = 7;

/// What templates may name.
pub(super) struct TagContext<'a> {
    /// What is built.
    pub(super) source: &'a SourceStatus,
    /// The number of the build.
    pub(super) number: i64,
}

/// The tags that `templates` make. The error names the template.
pub(super) fn tags(
    templates: &[String],
    context: &TagContext<'_>,
) -> Result<BTreeSet<Tag>, SpecError> {
    let tags = templates.iter().enumerate().map(|(index, template)| {
        let text = fill(template, context).map_err(|problem| SpecError::Tag { index, problem })?;
        text.parse().map_err(|_| SpecError::Tag {
            index,
            problem: format!("{text} is no tag"),
        })
    });
    tags.collect()
}

fn fill(template: &str, context: &TagContext<'_>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after
            .split_once('}')
            .ok_or_else(|| format!("{template} has a {{ without a }}"))?;
        text.push_str(before);
        text.push_str(&value(name, context)?);
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

fn value(name: &str, context: &TagContext<'_>) -> Result<String, String> {
    let missing = || format!("{{{name}}} has no value here");
    let commit = context.source.commit.as_deref();
    let of_reference = |kind: &str| {
        let reference = context.source.r#ref.as_deref()?;
        Some(reference.strip_prefix(kind)?.replace('/', "-"))
    };
    match name {
        "git.sha" => commit.map(str::to_owned).ok_or_else(missing),
        "git.shortSha" => commit
            .and_then(|commit| commit.get(..SHORT))
            .map(str::to_owned)
            .ok_or_else(missing),
        "git.branch" => of_reference("refs/heads/").ok_or_else(missing),
        "git.tag" => of_reference("refs/tags/").ok_or_else(missing),
        "build.number" => Ok(context.number.to_string()),
        _ => Err(format!("{{{name}}} is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> SourceStatus {
        SourceStatus {
            commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            r#ref: Some("refs/heads/feature/login".to_owned()),
            ..SourceStatus::default()
        }
    }

    fn filled(template: &str) -> Result<Vec<String>, String> {
        let source = source();
        let context = TagContext {
            source: &source,
            number: 7,
        };
        let tags = tags(&[template.to_owned()], &context).map_err(|error| error.to_string())?;
        Ok(tags.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn placeholders_have_values() {
        for (template, expected) in [
            ("main", "main"),
            ("{git.shortSha}", "0123456"),
            ("v-{git.sha}", "v-0123456789abcdef0123456789abcdef01234567"),
            ("{git.branch}-{build.number}", "feature-login-7"),
        ] {
            assert_eq!(filled(template), Ok(vec![expected.to_owned()]));
        }
    }

    #[test]
    fn what_is_no_tag_names_its_template() {
        for (template, part) in [
            ("{git.tag}", "output.tags[0]: {git.tag} has no value here"),
            ("{git.date}", "{git.date} is not known"),
            ("{git.sha", "without a }"),
            ("-x", "-x is no tag"),
        ] {
            let error = filled(template).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
