//! Which endpoint of the distribution specification a request asks for.

use axum::http::Method;

/// The endpoints that a rule or an assertion can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// `/v2/`
    Ping,
    /// The token service.
    Token,
    /// `/v2/NAME/blobs/DIGEST`
    Blob,
    /// `POST /v2/NAME/blobs/uploads/`: sessions, monolithic uploads and mounts.
    Uploads,
    /// `/v2/NAME/blobs/uploads/SESSION`
    Session,
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest,
    /// `/v2/NAME/tags/list`
    Tags,
    /// `/v2/NAME/referrers/DIGEST`
    Referrers,
    /// Anything else.
    Unknown,
}

/// A path taken apart.
pub(super) struct Route<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) repository: &'a str,
    /// Digest, tag or session; empty where there is none.
    pub(super) item: &'a str,
}

impl<'a> Route<'a> {
    pub(super) fn parse(path: &'a str) -> Self {
        let of = |endpoint, repository, item| Self {
            endpoint,
            repository,
            item,
        };
        if path == "/token" {
            return of(Endpoint::Token, "", "");
        }
        let Some(rest) = path.strip_prefix("/v2/") else {
            return of(Endpoint::Unknown, "", "");
        };
        if rest.is_empty() {
            return of(Endpoint::Ping, "", "");
        }
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return of(Endpoint::Tags, repository, "");
        }
        if let Some((repository, session)) = rest.rsplit_once("/blobs/uploads/") {
            return match session {
                "" => of(Endpoint::Uploads, repository, ""),
                session => of(Endpoint::Session, repository, session),
            };
        }
        if let Some(repository) = rest.strip_suffix("/blobs/uploads") {
            return of(Endpoint::Uploads, repository, "");
        }
        for (part, endpoint) in [
            ("/blobs/", Endpoint::Blob),
            ("/manifests/", Endpoint::Manifest),
            ("/referrers/", Endpoint::Referrers),
        ] {
            if let Some((repository, item)) = rest.rsplit_once(part) {
                return of(endpoint, repository, item);
            }
        }
        of(Endpoint::Unknown, "", "")
    }
}

/// What a token must allow for a request with this method.
pub(super) fn action(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "pull",
        Method::DELETE => "delete",
        _ => "push",
    }
}
