//! Lists the tags of a repository (distribution-spec, "Listing Tags").

use std::collections::{BTreeSet, HashSet};

use reqwest::Method;
use reqwest::header::LINK;
use serde::Deserialize;

use super::answer::text;
use super::auth::Scopes;
use super::error::{Operation, Pointer, Problem};
use super::exchange::{Fetched, Request};
use super::origin::Refusal;
use super::{Client, Error, link, origin};
use crate::oci::{Repository, Tag};

/// Most bytes of one page; a thousand tags of the longest name have 130 KB.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Most pages of one listing, whatever they hold.
const MAX_PAGES: usize = 10_000;
/// Tags asked for at once. Some registries refuse more than 1000.
const PAGE_SIZE: usize = 1000;

/// The tags of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagList {
    /// Each tag once, sorted by its bytes.
    pub tags: Vec<Tag>,
    /// Whether there were more than asked for.
    pub truncated: bool,
}

/// One page. Registries write `null` for a repository whose last tag was removed.
#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

impl Client {
    /// Lists at most `limit` tags of a repository; [`None`] when the registry does not know it.
    ///
    /// Registries give pages in any order. The listing ends with the page that names no next one,
    /// and fails when a page is named twice or the next one is at another origin. Names that are no
    /// tags by the specification's grammar are left out: they could not be asked for.
    pub async fn list_tags(
        &self,
        repository: &Repository,
        limit: usize,
    ) -> Result<Option<TagList>, Error> {
        match self.read_tags(repository, limit).await {
            Ok(tags) => Ok(Some(tags)),
            Err(Problem::NotFound { .. }) => Ok(None),
            Err(problem) => Err(Error::new(
                Operation::ListTags,
                self.subject(repository, String::new()),
                problem,
            )),
        }
    }

    async fn read_tags(&self, repository: &Repository, limit: usize) -> Result<TagList, Problem> {
        let mut target = format!("/v2/{repository}/tags/list?n={}", limit.clamp(1, PAGE_SIZE));
        let mut tags = BTreeSet::new();
        let mut seen = HashSet::new();
        while seen.len() < MAX_PAGES {
            if !seen.insert(target.clone()) {
                return Err(Problem::Malformed("the pages of a list go in a circle"));
            }
            let request = Request::new(Method::GET, target, Scopes::pull(repository));
            let fetched = self
                .fetch(&request, MAX_PAGE_BYTES, "a page of tags")
                .await?;
            let next = self.next_page(&fetched).await?;
            let page: Page = serde_json::from_slice(&fetched.body)
                .map_err(|_| Problem::Malformed("a list of tags is not the JSON it should be"))?;
            let page = page.tags.unwrap_or_default();
            tags.extend(page.into_iter().filter_map(|tag| tag.parse::<Tag>().ok()));
            match next {
                Some(next) if tags.len() < limit => target = next,
                next => {
                    return Ok(TagList {
                        truncated: tags.len() > limit || next.is_some(),
                        tags: tags.into_iter().take(limit).collect(),
                    });
                }
            }
        }
        Err(Problem::Malformed("a list has too many pages"))
    }

    /// The next page that an answer names. It is asked for as it is written: what its query means is
    /// the registry's secret.
    pub(super) async fn next_page(&self, fetched: &Fetched) -> Result<Option<String>, Problem> {
        let Some(target) = text(&fetched.headers, LINK).and_then(link::next) else {
            return Ok(None);
        };
        let refused = |refusal| Problem::Refused {
            pointer: Pointer::NextPage,
            refusal,
        };
        let url = origin::redirect_target(&fetched.url, target).map_err(refused)?;
        if !origin::same_origin(self.base().await?, &url) {
            return Err(refused(Refusal::OtherOrigin));
        }
        Ok(Some(url.into()))
    }
}
