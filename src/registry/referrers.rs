//! Manifests that refer to another: the referrers API (distribution-spec, "Listing Referrers") and
//! the tag that stands in for it where a registry has none ("Referrers Tag Schema").

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use serde_json::json;

use super::auth::Scopes;
use super::error::{Operation, Problem};
use super::exchange::Request;
use super::manifests::ManifestReference;
use super::{Client, Error};
use crate::oci::{
    Content, Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest, MediaType, Repository, Tag,
};

/// Most pages of one listing.
const MAX_PAGES: usize = 100;
/// How often a fallback tag is written again because somebody else wrote it at the same time.
const MERGES: u32 = 8;

impl Client {
    /// What refers to `subject`.
    ///
    /// A registry without the referrers API is asked for the fallback tag, unless `tags`, all tags
    /// of the repository, are given and do not contain it.
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        tags: Option<&BTreeSet<Tag>>,
    ) -> Result<Vec<Descriptor>, Error> {
        self.find_referrers(repository, subject, tags)
            .await
            .map_err(|problem| {
                Error::new(
                    Operation::ListReferrers,
                    self.subject(repository, format!("@{subject}")),
                    problem,
                )
            })
    }

    async fn find_referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        tags: Option<&BTreeSet<Tag>>,
    ) -> Result<Vec<Descriptor>, Problem> {
        if let Some(referrers) = self.ask_api(repository, subject).await? {
            return Ok(referrers);
        }
        let tag = fallback_tag(subject)?;
        if tags.is_some_and(|tags| !tags.contains(&tag)) {
            return Ok(Vec::new());
        }
        Ok(self.read_fallback(repository, &tag).await?.entries)
    }

    /// What the referrers API lists; [`None`] when the registry has turned out to have none. The first
    /// question goes alone, so that its answer tells all others.
    async fn ask_api(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, Problem> {
        let inner = &self.inner;
        let ask = || async {
            match self.list_referrers(repository, subject).await {
                // Case 55: whatever a registry says that does not know the API.
                Err(
                    Problem::NotFound { .. }
                    | Problem::ReadOnly { .. }
                    | Problem::Denied { .. }
                    | Problem::Rejected { .. },
                )
                | Ok(None) => {
                    inner.lacks_referrers.store(true, Ordering::Relaxed);
                    Ok(None)
                }
                listed => listed,
            }
        };
        let mut first = None;
        inner
            .referrers_asked
            .get_or_init(|| async { first = Some(ask().await) })
            .await;
        match first {
            Some(listed) => listed,
            None if inner.lacks_referrers.load(Ordering::Relaxed) => Ok(None),
            None => ask().await,
        }
    }

    /// Asks the referrers API; [`None`] when what answers is something else.
    async fn list_referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, Problem> {
        let mut referrers = Vec::new();
        let mut target = format!("/v2/{repository}/referrers/{subject}");
        for _ in 0..MAX_PAGES {
            let mut request = Request::new(Method::GET, target, Scopes::pull(repository));
            request
                .headers
                .insert(ACCEPT, HeaderValue::from_static(MediaType::OCI_INDEX));
            let fetched = self
                .fetch(&request, MAX_MANIFEST_BYTES, "a list of referrers")
                .await?;
            let next = self.next_page(&fetched).await?;
            let index = Manifest::new(fetched.body, MediaType::new(MediaType::OCI_INDEX));
            let Ok(Content::Index { manifests, .. }) = index.content() else {
                return Ok(None);
            };
            let grew = !manifests.is_empty();
            referrers.extend(manifests);
            match next.filter(|_| grew) {
                Some(next) => target = next,
                None => return Ok(Some(referrers)),
            }
        }
        Err(Problem::Malformed("a list of referrers has no end"))
    }

    async fn read_fallback(&self, repository: &Repository, tag: &Tag) -> Result<Fallback, Problem> {
        match self
            .fetch_manifest(repository, ManifestReference::Tag(tag))
            .await
        {
            Ok((index, headers)) => match index.content() {
                Ok(Content::Index { manifests, .. }) => Ok(Fallback {
                    entries: manifests,
                    unchanged: strong_tag(&headers).map(|tag| (IF_MATCH, tag)),
                }),
                _ => Err(Problem::Malformed(
                    "the fallback tag of referrers is no index",
                )),
            },
            Err(Problem::NotFound { .. }) => Ok(Fallback {
                entries: Vec::new(),
                unchanged: Some((IF_NONE_MATCH, HeaderValue::from_static("*"))),
            }),
            Err(problem) => Err(problem),
        }
    }

    /// Adds `manifest` to the fallback tag of its subject, for a registry that did not take note of
    /// the subject itself (case 53).
    ///
    /// Within this process one tag is written by one at a time. Others are noticed by a registry that
    /// knows conditions, and elsewhere by reading the tag again; their entries are kept.
    pub(super) async fn add_to_fallback(
        &self,
        repository: &Repository,
        subject: &Digest,
        manifest: &Manifest,
        content: &Content,
    ) -> Result<(), Problem> {
        let tag = fallback_tag(subject)?;
        let _alone = self.inner.fallback_writes.lock().await;
        let mut refused = None;
        for _ in 0..MERGES {
            let Fallback { entries, unchanged } = self.read_fallback(repository, &tag).await?;
            if entries
                .iter()
                .any(|entry| entry.digest == *manifest.digest())
            {
                return Ok(());
            }
            let index = merged(&entries, manifest, content)?;
            // Whoever refuses although nothing has changed does not understand the condition.
            let condition = unchanged.filter(|condition| refused.as_ref() != Some(condition));
            let tag = ManifestReference::Tag(&tag);
            let written = self
                .write_manifest(repository, &index, tag, condition.clone())
                .await;
            match written {
                Err(Problem::TagImmutable) if condition.is_some() => refused = condition,
                written => {
                    written?;
                }
            }
        }
        Err(Problem::Malformed(
            "the fallback tag of referrers does not keep what is written to it",
        ))
    }
}

/// What the fallback tag of a subject lists.
struct Fallback {
    entries: Vec<Descriptor>,
    /// The condition for it to be still so when it is written.
    unchanged: Option<(HeaderName, HeaderValue)>,
}

/// The entity tag of an answer, when conditions of writing can name it (RFC 9110 §13.1.1).
fn strong_tag(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = headers.get(ETAG)?;
    tag.as_bytes().starts_with(b"\"").then(|| tag.clone())
}

/// The tag that lists the referrers of `subject`: the algorithm cut to 32 characters and the encoded
/// part to 64 (case 56).
fn fallback_tag(subject: &Digest) -> Result<Tag, Problem> {
    let (algorithm, encoded) = subject
        .as_str()
        .split_once(':')
        .ok_or(Problem::Malformed("a digest has no algorithm"))?;
    let cut = |text: &str, length| text.chars().take(length).collect::<String>();
    format!("{}-{}", cut(algorithm, 32), cut(encoded, 64))
        .parse()
        .map_err(|_| Problem::Malformed("a digest makes no tag"))
}

/// The entries that are there, and one for `manifest`.
fn merged(
    present: &[Descriptor],
    manifest: &Manifest,
    content: &Content,
) -> Result<Manifest, Problem> {
    let mut entry = Descriptor::new(
        manifest.media_type().clone(),
        manifest.digest().clone(),
        manifest.bytes().len() as u64,
    );
    entry.artifact_type = content.artifact_type().cloned();
    let (Content::Image { annotations, .. }
    | Content::Index { annotations, .. }
    | Content::Artifact { annotations, .. }) = content;
    entry.annotations.clone_from(annotations);
    let entries: Vec<&Descriptor> = present.iter().chain([&entry]).collect();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": entries,
    });
    let bytes = serde_json::to_vec(&index)
        .map_err(|_| Problem::Malformed("a list of referrers cannot be written"))?;
    Ok(Manifest::new(
        Bytes::from(bytes),
        MediaType::new(MediaType::OCI_INDEX),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_56_long_digests_are_cut_to_make_a_tag() {
        let sha512: Digest = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
        assert_eq!(
            fallback_tag(&sha512).unwrap().as_str(),
            format!("sha512-{}", "ab".repeat(32))
        );
        let sha256 = Digest::sha256(b"");
        assert_eq!(
            fallback_tag(&sha256).unwrap().as_str(),
            sha256.as_str().replace(':', "-")
        );
    }
}
