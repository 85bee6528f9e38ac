//! The endpoints for uploads: sessions, chunks, monolithic uploads and mounts.

use axum::body::Body;
use axum::http::{Method, Response};
use bytes::Bytes;
use transship::oci::Digest;

use super::answer::{answer, error};
use super::log::Recorded;
use super::route::Route;
use super::storage::Storage;

/// `POST /v2/NAME/blobs/uploads/`; `may_mount` says whether the client may read what it mounts.
pub(super) fn start(
    storage: &mut Storage,
    route: &Route<'_>,
    request: &Recorded,
    body: Bytes,
    may_mount: impl Fn(&str) -> bool,
) -> Response<Body> {
    if request.method != Method::POST {
        return error(405, "UNSUPPORTED");
    }
    if let Some(digest) = request.query_value("digest") {
        return store(storage, route.repository, &digest, body);
    }
    if let Some(digest) = request
        .query_value("mount")
        .and_then(|text| text.parse().ok())
    {
        let found = match request.query_value("from") {
            Some(from) if may_mount(&from) => storage
                .repositories
                .get(&from)
                .and_then(|repository| repository.blobs.get(&digest).cloned()),
            Some(_) => None,
            // Without `from`, what the repository itself holds; the others may be secret.
            None => storage
                .repository(route.repository)
                .blobs
                .get(&digest)
                .cloned(),
        };
        if let Some(content) = found {
            let repository = storage.repository(route.repository);
            repository.blobs.insert(digest.clone(), content);
            return created(route.repository, &digest);
        }
    }
    let session = storage.open(route.repository);
    progress(202, route.repository, &session, 0)
}

/// `/v2/NAME/blobs/uploads/SESSION`
pub(super) fn session(
    storage: &mut Storage,
    route: &Route<'_>,
    request: &Recorded,
    body: &Bytes,
) -> Response<Body> {
    let sessions = &mut storage.repository(route.repository).sessions;
    let Some(received) = sessions.get_mut(route.item) else {
        return error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    let begins = request
        .header("content-range")
        .map(|range| range.split('-').next().and_then(|first| first.parse().ok()));
    match request.method {
        Method::GET => progress(204, route.repository, route.item, received.len()),
        Method::DELETE => {
            sessions.remove(route.item);
            answer(204, &[], "")
        }
        Method::PATCH | Method::PUT if begins.is_some_and(|at| at != Some(received.len())) => {
            progress(416, route.repository, route.item, received.len())
        }
        Method::PATCH => {
            received.extend_from_slice(body);
            progress(202, route.repository, route.item, received.len())
        }
        Method::PUT => {
            let Some(digest) = request.query_value("digest") else {
                return error(400, "DIGEST_INVALID");
            };
            received.extend_from_slice(body);
            let content = sessions.remove(route.item).unwrap_or_default().freeze();
            store(storage, route.repository, &digest, content)
        }
        _ => error(405, "UNSUPPORTED"),
    }
}

/// Takes what a request has brought that did not come to its end.
pub(super) fn keep(storage: &mut Storage, route: &Route<'_>, arrived: &[u8]) {
    let sessions = &mut storage.repository(route.repository).sessions;
    if let Some(received) = sessions.get_mut(route.item) {
        received.extend_from_slice(arrived);
    }
}

fn store(storage: &mut Storage, repository: &str, digest: &str, content: Bytes) -> Response<Body> {
    match digest.parse::<Digest>() {
        Ok(digest) if digest.matches(&content) => {
            let answer = created(repository, &digest);
            storage.receive(repository, digest, content);
            answer
        }
        _ => error(400, "DIGEST_INVALID"),
    }
}

fn created(repository: &str, digest: &Digest) -> Response<Body> {
    let location = format!("/v2/{repository}/blobs/{digest}");
    answer(
        201,
        &[
            ("location", &location),
            ("docker-content-digest", digest.as_str()),
        ],
        "",
    )
}

/// An answer that says where a session is and how much of it has arrived.
fn progress(status: u16, repository: &str, session: &str, received: usize) -> Response<Body> {
    let location = format!("/v2/{repository}/blobs/uploads/{session}");
    let range = format!("0-{}", received.saturating_sub(1));
    answer(
        status,
        &[
            ("location", &location),
            ("range", &range),
            ("docker-upload-uuid", session),
        ],
        "",
    )
}
