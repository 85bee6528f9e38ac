//! The endpoints for blobs, manifests, tags and referrers.

use axum::body::Body;
use axum::http::{Method, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use transship::oci::Digest;

use super::answer::{answer, error, error_about, json};
use super::log::Recorded;
use super::route::Route;
use super::storage::{Storage, StoredManifest};

/// As much as the specification asks every registry to take.
const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

pub(super) fn blob(storage: &mut Storage, route: &Route<'_>, request: &Recorded) -> Response<Body> {
    let Ok(digest) = route.item.parse::<Digest>() else {
        return error(400, "DIGEST_INVALID");
    };
    let repository = storage.repositories.get_mut(route.repository);
    let Some((repository, content)) = repository.and_then(|repository| {
        let content = repository.blobs.get(&digest)?.clone();
        Some((repository, content))
    }) else {
        return error(404, "BLOB_UNKNOWN");
    };
    match request.method {
        Method::GET | Method::HEAD => {}
        Method::DELETE => {
            repository.blobs.remove(&digest);
            storage.check(route.repository);
            return answer(202, &[], "");
        }
        _ => return error(405, "UNSUPPORTED"),
    }
    let headers = [
        ("content-type", "application/octet-stream"),
        ("docker-content-digest", digest.as_str()),
        ("accept-ranges", "bytes"),
    ];
    let total = content.len();
    if request.method == Method::HEAD {
        let mut response = answer(200, &headers, "");
        response
            .headers_mut()
            .insert("content-length", total.into());
        return response;
    }
    let Some(range) = request
        .header("range")
        .and_then(|text| parse_range(text, total))
    else {
        return answer(200, &headers, content);
    };
    let Range::Part(first, last) = range else {
        return answer(416, &[("content-range", &format!("bytes */{total}"))], "");
    };
    let mut response = answer(206, &headers, content.slice(first..=last));
    let value = format!("bytes {first}-{last}/{total}");
    response
        .headers_mut()
        .insert("content-range", value.parse().unwrap());
    response
}

/// What a `Range` header asks for.
enum Range {
    /// First and last byte.
    Part(usize, usize),
    Unsatisfiable,
}

/// [`None`] if the header is to be ignored.
fn parse_range(text: &str, total: usize) -> Option<Range> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = if first.is_empty() {
        let count: usize = last.parse().ok()?;
        (total.saturating_sub(count), usize::MAX)
    } else {
        let first: usize = first.parse().ok()?;
        let last = match last {
            "" => usize::MAX,
            last => last.parse().ok().filter(|last| *last >= first)?,
        };
        (first, last)
    };
    if first < total {
        return Some(Range::Part(first, last.min(total - 1)));
    }
    Some(Range::Unsatisfiable)
}

pub(super) fn manifest(
    storage: &mut Storage,
    route: &Route<'_>,
    request: &Recorded,
    body: Bytes,
    permissive: bool,
) -> Response<Body> {
    if request.method == Method::PUT {
        return put_manifest(storage, route, request, body, permissive);
    }
    let Some(repository) = storage.repositories.get_mut(route.repository) else {
        return error(404, "NAME_UNKNOWN");
    };
    match request.method {
        Method::GET | Method::HEAD => {
            let Some((digest, manifest)) = repository.resolve(route.item) else {
                return error(404, "MANIFEST_UNKNOWN");
            };
            let entity_tag = format!("\"{digest}\"");
            let headers = [
                ("content-type", manifest.media_type.as_str()),
                ("docker-content-digest", digest.as_str()),
                ("etag", &entity_tag),
            ];
            if request.method == Method::GET {
                return answer(200, &headers, manifest.bytes);
            }
            let mut response = answer(200, &headers, "");
            let length = manifest.bytes.len();
            response
                .headers_mut()
                .insert("content-length", length.into());
            response
        }
        Method::DELETE => {
            if repository.tags.remove(route.item).is_some() {
                return answer(202, &[], "");
            }
            let digest = route.item.parse::<Digest>().ok();
            if digest
                .and_then(|digest| repository.manifests.remove(&digest))
                .is_none()
            {
                return error(404, "MANIFEST_UNKNOWN");
            }
            let manifests = &repository.manifests;
            repository
                .tags
                .retain(|_, digest| manifests.contains_key(digest));
            storage.check(route.repository);
            answer(202, &[], "")
        }
        _ => error(405, "UNSUPPORTED"),
    }
}

/// Whether the conditions of a request hold for what is there (RFC 9110 §13.1).
fn is_met(request: &Recorded, present: Option<&Digest>) -> bool {
    let present = present.map(|digest| format!("\"{digest}\""));
    let holds = |condition: &str| condition == "*" || Some(condition) == present.as_deref();
    let names = |condition: &str| present.is_some() && holds(condition);
    request.header("if-match").is_none_or(names)
        && !request.header("if-none-match").is_some_and(names)
}

fn put_manifest(
    storage: &mut Storage,
    route: &Route<'_>,
    request: &Recorded,
    body: Bytes,
    permissive: bool,
) -> Response<Body> {
    if body.len() > MAX_MANIFEST_BYTES {
        return error(413, "SIZE_INVALID");
    }
    let document = match serde_json::from_slice::<Value>(&body) {
        Ok(document) if document.is_object() => document,
        _ => return error(400, "MANIFEST_INVALID"),
    };
    let Some(media_type) = request.header("content-type") else {
        return error(400, "MANIFEST_INVALID");
    };
    if document
        .get("mediaType")
        .is_some_and(|own| own != media_type)
    {
        return error(400, "MANIFEST_INVALID");
    }
    let (digest, tag) = match route.item.parse::<Digest>() {
        Ok(digest) if !digest.matches(&body) => return error(400, "DIGEST_INVALID"),
        Ok(digest) => (digest, None),
        Err(_) if route.item.contains(':') => return error(400, "DIGEST_INVALID"),
        Err(_) => (Digest::sha256(&body), Some(route.item.to_owned())),
    };
    let repository = storage.repository(route.repository);
    let present = repository.resolve(route.item).map(|(digest, _)| digest);
    if !is_met(request, present.as_ref()) {
        return error(412, "PRECONDITION_FAILED");
    }
    let missing = repository.missing(&document);
    if !missing.is_empty() && !permissive {
        return error_about(400, "MANIFEST_BLOB_UNKNOWN", &json!({"digest": missing}));
    }
    let manifest = StoredManifest {
        bytes: body,
        media_type: media_type.to_owned(),
    };
    repository.manifests.insert(digest.clone(), manifest);
    if let Some(tag) = tag {
        repository.tags.insert(tag, digest.clone());
        storage.check(route.repository);
    }
    let location = format!("/v2/{}/manifests/{digest}", route.repository);
    let mut headers = vec![
        ("location", location.as_str()),
        ("docker-content-digest", digest.as_str()),
    ];
    if let Some(subject) = document.pointer("/subject/digest").and_then(Value::as_str) {
        headers.push(("oci-subject", subject));
    }
    answer(201, &headers, "")
}

pub(super) fn tags(storage: &Storage, route: &Route<'_>, request: &Recorded) -> Response<Body> {
    let Some(repository) = storage.repositories.get(route.repository) else {
        return error(404, "NAME_UNKNOWN");
    };
    let last = request.query_value("last").unwrap_or_default();
    let mut tags: Vec<_> = repository.tags.keys().filter(|tag| **tag > last).collect();
    let count = request
        .query_value("n")
        .and_then(|n| n.parse::<usize>().ok());
    let more = count.filter(|count| tags.len() > *count && *count > 0);
    tags.truncate(count.unwrap_or(usize::MAX));
    let mut response = json(200, &json!({"name": route.repository, "tags": tags}));
    if let (Some(count), Some(last)) = (more, tags.last()) {
        let path = &request.path;
        let link = format!("<{path}?n={count}&last={last}>; rel=\"next\"");
        response.headers_mut().insert("link", link.parse().unwrap());
    }
    response
}

pub(super) fn referrers(
    storage: &Storage,
    route: &Route<'_>,
    request: &Recorded,
) -> Response<Body> {
    if route.item.parse::<Digest>().is_err() {
        return error(400, "DIGEST_INVALID");
    }
    let repository = storage.repositories.get(route.repository);
    let mut manifests = repository.map_or_else(Vec::new, |it| it.referrers(route.item));
    let wanted = request.query_value("artifactType");
    if let Some(wanted) = &wanted {
        manifests.retain(|manifest| manifest["artifactType"] == wanted.as_str());
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    let mut response = answer(200, &[("content-type", media_type)], index.to_string());
    if wanted.is_some() {
        let value = "artifactType".parse().unwrap();
        response.headers_mut().insert("oci-filters-applied", value);
    }
    response
}
