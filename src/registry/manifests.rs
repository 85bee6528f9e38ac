//! Manifests: looking up, reading and writing (distribution-spec, "Pulling manifests", "Pushing
//! Manifests").
//!
//! Bytes go through unchanged. What a manifest means is the caller's business.

use std::fmt;

use reqwest::Method;
use reqwest::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};

use super::answer::{check_content_digest, content_digest, text};
use super::auth::Scopes;
use super::error::{Operation, Problem};
use super::exchange::{Fetched, Request};
use super::{Client, Error};
use crate::oci::{Digest, MAX_MANIFEST_BYTES, Manifest, MediaType, Repository, Tag};

/// The header of a registry that has taken note of a manifest's subject (distribution-spec, "Pushing
/// Manifests with Subject").
const OCI_SUBJECT: &str = "oci-subject";

/// Names one manifest in a repository.
#[derive(Clone, Copy, Debug)]
pub enum ManifestReference<'a> {
    /// The manifest that a tag points at now.
    Tag(&'a Tag),
    /// The manifest with this digest.
    Digest(&'a Digest),
}

impl ManifestReference<'_> {
    pub(super) fn suffix(self) -> String {
        match self {
            Self::Tag(_) => format!(":{self}"),
            Self::Digest(_) => format!("@{self}"),
        }
    }
}

/// As it is written in URLs.
impl fmt::Display for ManifestReference<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(formatter),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

/// What a registry says of a manifest without sending it. Nothing of it is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// The digest under which the content can be read.
    pub digest: Digest,
    /// The media type it is served with.
    pub media_type: MediaType,
    /// The size in bytes, when the registry says.
    pub size: Option<u64>,
}

impl Client {
    /// Looks up a manifest; [`None`] when the registry does not have it.
    ///
    /// It is one HEAD request. Only a registry that leaves out digest or media type costs a GET.
    pub async fn head_manifest(
        &self,
        repository: &Repository,
        reference: ManifestReference<'_>,
    ) -> Result<Option<ManifestHead>, Error> {
        match self.find_manifest(repository, reference).await {
            Ok(head) => Ok(Some(head)),
            Err(Problem::NotFound { .. }) => Ok(None),
            Err(problem) => Err(Error::new(
                Operation::FindManifest,
                self.subject(repository, reference.suffix()),
                problem,
            )),
        }
    }

    /// Reads a manifest of at most [`MAX_MANIFEST_BYTES`].
    ///
    /// By digest, the content is verified against it. By tag, the digest is computed from the
    /// content and must be the one that the registry claims, if it claims one.
    pub async fn get_manifest(
        &self,
        repository: &Repository,
        reference: ManifestReference<'_>,
    ) -> Result<Manifest, Error> {
        self.read_manifest(repository, reference)
            .await
            .map_err(|problem| {
                Error::new(
                    Operation::ReadManifest,
                    self.subject(repository, reference.suffix()),
                    problem,
                )
            })
    }

    /// Writes a manifest, under `tag` or else under its digest alone.
    ///
    /// A manifest that names a subject is then found by that, also in a registry without the
    /// referrers API.
    pub async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        let reference = tag.map_or(
            ManifestReference::Digest(manifest.digest()),
            ManifestReference::Tag,
        );
        self.write_with_subject(repository, manifest, reference, None)
            .await
            .map_err(|problem| self.not_written(repository, reference, problem))
    }

    /// Writes a manifest under a tag that is not to be moved if it is there.
    ///
    /// A registry that knows conditions of writing answers with [`ErrorKind::TagImmutable`] if the
    /// tag is there, which it also is when the answer to an earlier attempt was lost. Others move it:
    /// whoever asks has looked for it before.
    ///
    /// [`ErrorKind::TagImmutable`]: super::ErrorKind::TagImmutable
    pub async fn create_tag(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        tag: &Tag,
    ) -> Result<(), Error> {
        let reference = ManifestReference::Tag(tag);
        let absent = (IF_NONE_MATCH, HeaderValue::from_static("*"));
        self.write_with_subject(repository, manifest, reference, Some(absent))
            .await
            .map_err(|problem| self.not_written(repository, reference, problem))
    }

    fn not_written(
        &self,
        repository: &Repository,
        reference: ManifestReference<'_>,
        problem: Problem,
    ) -> Error {
        let subject = self.subject(repository, reference.suffix());
        Error::new(Operation::WriteManifest, subject, problem)
    }

    async fn find_manifest(
        &self,
        repository: &Repository,
        reference: ManifestReference<'_>,
    ) -> Result<ManifestHead, Problem> {
        let response = self
            .send(&read_request(Method::HEAD, repository, reference))
            .await?;
        let headers = response.headers();
        let digest = match reference {
            ManifestReference::Tag(_) => content_digest(headers),
            ManifestReference::Digest(digest) => {
                check_content_digest(headers, digest)?;
                Some(digest.clone())
            }
        };
        if let (Some(digest), Some(media_type)) = (digest, specific_media_type(headers)) {
            return Ok(ManifestHead {
                digest,
                media_type,
                // The body of an answer to HEAD has no length, the header tells that of the content.
                size: text(headers, CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            });
        }
        let manifest = self.read_manifest(repository, reference).await?;
        Ok(ManifestHead {
            digest: manifest.digest().clone(),
            media_type: manifest.media_type().clone(),
            size: u64::try_from(manifest.bytes().len()).ok(),
        })
    }

    pub(super) async fn read_manifest(
        &self,
        repository: &Repository,
        reference: ManifestReference<'_>,
    ) -> Result<Manifest, Problem> {
        let (manifest, _) = self.fetch_manifest(repository, reference).await?;
        Ok(manifest)
    }

    /// A manifest with the headers that it came with.
    pub(super) async fn fetch_manifest(
        &self,
        repository: &Repository,
        reference: ManifestReference<'_>,
    ) -> Result<(Manifest, HeaderMap), Problem> {
        let request = read_request(Method::GET, repository, reference);
        let Fetched { headers, body, .. } = self
            .fetch(&request, MAX_MANIFEST_BYTES, "a manifest")
            .await?;
        let media_type = specific_media_type(&headers)
            .or_else(|| MediaType::of_manifest(&body))
            .ok_or(Problem::Malformed("a manifest has no media type"))?;
        let manifest = match reference {
            ManifestReference::Digest(expected) => {
                let mut hasher = expected.hasher();
                hasher.update(&body);
                let actual = hasher.finish();
                Manifest::verified(body, media_type, expected).map_err(|_| Problem::Digest {
                    expected: expected.clone(),
                    actual,
                })?
            }
            ManifestReference::Tag(_) => {
                let manifest = Manifest::new(body, media_type);
                check_content_digest(&headers, manifest.digest())?;
                manifest
            }
        };
        Ok((manifest, headers))
    }

    async fn write_with_subject(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        reference: ManifestReference<'_>,
        condition: Option<(HeaderName, HeaderValue)>,
    ) -> Result<(), Problem> {
        let headers = self
            .write_manifest(repository, manifest, reference, condition)
            .await?;
        if headers.contains_key(OCI_SUBJECT) {
            return Ok(());
        }
        // A document that cannot be walked names no subject that we would know of.
        if let Ok(content) = manifest.content()
            && let Some(subject) = content.subject()
        {
            self.add_to_fallback(repository, &subject.digest, manifest, &content)
                .await?;
        }
        Ok(())
    }

    /// Writes a manifest, on a condition (RFC 9110 §13.1) if there is one, and gives the headers of the
    /// answer.
    pub(super) async fn write_manifest(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        reference: ManifestReference<'_>,
        condition: Option<(HeaderName, HeaderValue)>,
    ) -> Result<HeaderMap, Problem> {
        let mut request = Request::new(
            Method::PUT,
            target(repository, reference),
            Scopes::push(repository),
        );
        let media_type = HeaderValue::from_str(manifest.media_type().as_str())
            .map_err(|_| Problem::Malformed("the media type cannot be sent in a header"))?;
        request.headers.insert(CONTENT_TYPE, media_type);
        request.headers.extend(condition);
        request.body = Some(manifest.bytes().clone());
        let by_tag = matches!(reference, ManifestReference::Tag(_));
        let response = self
            .send(&request)
            .await
            .map_err(|problem| why_not_written(problem, by_tag))?;
        check_content_digest(response.headers(), manifest.digest())?;
        Ok(response.headers().clone())
    }
}

/// What the refusal of a manifest means. Of a manifest that is being written only its parts can be
/// unknown. Registries with immutable tags agree on no code; a conflict,
/// a failed precondition and a tag that was valid by the grammar are what they answer.
fn why_not_written(problem: Problem, by_tag: bool) -> Problem {
    match &problem {
        Problem::Rejected { code, .. } | Problem::NotFound { code }
            if matches!(
                code,
                Some("MANIFEST_BLOB_UNKNOWN" | "MANIFEST_UNKNOWN" | "BLOB_UNKNOWN")
            ) =>
        {
            Problem::ContentMissing
        }
        Problem::Rejected { status, code }
            if by_tag && (matches!(status.as_u16(), 409 | 412) || *code == Some("TAG_INVALID")) =>
        {
            Problem::TagImmutable
        }
        _ => problem,
    }
}

fn target(repository: &Repository, reference: ManifestReference<'_>) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

fn read_request(
    method: Method,
    repository: &Repository,
    reference: ManifestReference<'_>,
) -> Request {
    let mut request = Request::new(
        method,
        target(repository, reference),
        Scopes::pull(repository),
    );
    // One line each, as Docker sends them.
    for media_type in MediaType::ACCEPTED_MANIFESTS {
        request
            .headers
            .append(ACCEPT, HeaderValue::from_static(media_type));
    }
    request
}

/// The `Content-Type`, unless it is one that servers give to anything.
fn specific_media_type(headers: &HeaderMap) -> Option<MediaType> {
    let media_type = MediaType::new(text(headers, CONTENT_TYPE)?);
    let says_nothing = matches!(
        media_type.as_str(),
        "" | "application/json" | "application/octet-stream" | "text/plain" | "text/html"
    );
    (!says_nothing).then_some(media_type)
}
