//! Lists the tags of a repository (distribution-spec, "Listing Tags").

use std::collections::BTreeSet;

use reqwest::Method;
use reqwest::header::{HeaderMap, LINK};
use serde::Deserialize;
use url::Url;

use super::auth::Scopes;
use super::error::{Operation, Pointer, Problem};
use super::exchange::Request;
use super::{Client, Error, origin};
use crate::oci::{Repository, Tag};

/// Tags that are asked for at once; some registries refuse to list more.
const PAGE: usize = 1000;
/// The largest page in bytes; a registry may ignore how many tags were asked for.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;
/// Most pages of one listing, whatever they hold.
const MAX_PAGES: usize = 10_000;

/// The tags of a repository, as far as they were listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagList {
    /// The tags, each once, sorted. What is no valid tag is left out.
    pub tags: BTreeSet<Tag>,
    /// Whether these are all.
    pub complete: bool,
}

#[derive(Deserialize)]
struct Page {
    /// `null` where a repository has none, in some registries.
    tags: Option<Vec<String>>,
}

impl Client {
    /// Lists tags until there are no more, or more than `limit`. [`None`] when the registry does not
    /// know the repository.
    pub async fn list_tags(
        &self,
        repository: &Repository,
        limit: usize,
    ) -> Result<Option<TagList>, Error> {
        match self.read_tags(repository, limit).await {
            Ok(list) => Ok(Some(list)),
            Err(Problem::NotFound { .. }) => Ok(None),
            Err(problem) => Err(Error::new(
                Operation::ListTags,
                self.subject(repository, String::new()),
                problem,
            )),
        }
    }

    async fn read_tags(&self, repository: &Repository, limit: usize) -> Result<TagList, Problem> {
        let mut list = TagList::default();
        let mut target = format!("/v2/{repository}/tags/list?n={PAGE}");
        for _ in 0..MAX_PAGES {
            let request = Request::new(Method::GET, target, Scopes::pull(repository));
            let response = self.send(&request).await?;
            let (url, headers) = (response.url().clone(), response.headers().clone());
            let body = self
                .inner
                .transport
                .read_body(response, MAX_PAGE_BYTES, "a list of tags")
                .await?;
            let page: Page = serde_json::from_slice(&body)
                .map_err(|_| Problem::Malformed("a list of tags is not JSON"))?;
            let page = page.tags.unwrap_or_default();
            let known = list.tags.len();
            let (size, final_tag) = (page.len(), page.last().cloned());
            list.tags
                .extend(page.iter().filter_map(|tag| tag.parse().ok()));
            let grew = list.tags.len() > known;
            let next = match next_page(&url, &headers)? {
                Some(next) => Some(String::from(next)),
                // Without a Link, only a page that is exactly full may have a successor.
                None if size == PAGE => final_tag
                    .and_then(|last| last.parse::<Tag>().ok())
                    .map(|last| format!("/v2/{repository}/tags/list?n={PAGE}&last={last}")),
                None => None,
            };
            // A page without anything new ends a listing that would go in circles.
            let Some(next) = next.filter(|_| grew) else {
                list.complete = true;
                return Ok(list);
            };
            if list.tags.len() > limit {
                return Ok(list);
            }
            target = next;
        }
        Ok(list)
    }
}

/// The URL of the next page, as `Link` gives it (RFC 8288). It is followed as it is, and only at the
/// registry's own origin.
pub(super) fn next_page(answering: &Url, headers: &HeaderMap) -> Result<Option<Url>, Problem> {
    headers
        .get_all(LINK)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(next_link)
        .map(|target| {
            origin::page_location(answering, target).map_err(|refusal| Problem::Refused {
                pointer: Pointer::Link,
                refusal,
            })
        })
        .transpose()
}

/// The target of the link with the relation `next` in one `Link` header.
fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, after) = link.split_once('>')?;
        // Parameters end where the next link begins; targets are delimited, so that this is exact.
        let (parameters, following) = after.split_once('<').map_or((after, ""), |(own, _)| {
            (own, after.get(own.len()..).unwrap_or_default())
        });
        let is_next = parameters.split([';', ',']).any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split_ascii_whitespace()
                        .any(|relation| relation.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(target);
        }
        rest = following;
    }
    None
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain(
        r#"</v2/a/tags/list?n=2&last=b>; rel="next""#,
        Some("/v2/a/tags/list?n=2&last=b")
    )]
    #[case::token("<next>; rel=next", Some("next"))]
    #[case::several(r#"<a>; rel="prev", <b>; title="x"; rel="last next""#, Some("b"))]
    #[case::case_of_letters("<a>; REL=Next", Some("a"))]
    #[case::comma_in_the_target("<a,b>; rel=next", Some("a,b"))]
    #[case::other_relation("<a>; rel=prev", None)]
    #[case::no_relation("<a>", None)]
    #[case::open("<a; rel=next", None)]
    #[case::nothing("", None)]
    fn case_59_the_next_page_is_the_link_called_next(
        #[case] header: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(next_link(header), expected);
    }
}
