//! Reads `Link` headers (RFC 8288 §3), as far as paging needs it.
//!
//! Pure: the target is text here, `origin.rs` judges it.

/// The target of the first link whose relation is `next`.
pub(super) fn next(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        // Targets may hold commas, so that only what comes after one may be split.
        let end = after.find(['<']).unwrap_or(after.len());
        let (parameters, following) = after.split_at_checked(end)?;
        if parameters.split([';', ',']).any(is_next) {
            return Some(target);
        }
        rest = following;
    }
}

fn is_next(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("rel")
            && value
                .trim()
                .trim_matches('"')
                .split_ascii_whitespace()
                .any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::usual(
        "</v2/a/tags/list?last=b&n=2>; rel=\"next\"",
        Some("/v2/a/tags/list?last=b&n=2")
    )]
    #[case::bare("</x>;rel=next", Some("/x"))]
    #[case::several_relations("</x>; rel=\"last NEXT\"", Some("/x"))]
    #[case::comma_in_target("</x?last=a,b>; rel=\"next\"", Some("/x?last=a,b"))]
    #[case::second_link("</p>; rel=\"prev\", </x>; title=\"t\"; rel=\"next\"", Some("/x"))]
    #[case::other_relation("</x>; rel=\"prev\"", None)]
    #[case::no_relation("</x>", None)]
    #[case::no_target("/x; rel=\"next\"", None)]
    #[case::open_target("</x; rel=\"next\"", None)]
    #[case::empty("", None)]
    fn the_next_link(#[case] header: &str, #[case] expected: Option<&str>) {
        assert_eq!(next(header), expected);
    }
}
