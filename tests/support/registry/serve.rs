//! One request from its arrival to its answer: rules, authentication, endpoint, record.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use transship::oci::Digest;

use super::answer::{answer, error};
use super::fault::Action;
use super::listener::Scissors;
use super::log::Recorded;
use super::route::{Endpoint, Route};
use super::storage::Storage;
use super::{Shared, content, uploads};

/// More than any test sends in one request.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// How much of a response is handed to the connection at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Answers one request.
pub(super) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let mut recorded = Recorded {
        endpoint: Route::parse(&path).endpoint,
        method: head.method,
        version: head.version,
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body_bytes: 0,
        status: 0,
        sent: Arc::new(AtomicU64::new(0)),
        path,
    };
    let actions: Vec<_> = {
        let mut state = shared.state.lock().unwrap();
        let rules = state.rules.iter_mut();
        rules.filter_map(|rule| rule.matches(&recorded)).collect()
    };
    let mut limit = None;
    for action in &actions {
        match action {
            Action::Delay(time) => tokio::time::sleep(*time).await,
            Action::CutRequest(bytes) => limit = Some(*bytes),
            _ => {}
        }
    }
    let mut content = BytesMut::new();
    let is_whole = receive(body, limit, &mut content).await;
    recorded.body_bytes = content.len() as u64;
    if !is_whole {
        let mut state = shared.state.lock().unwrap();
        let keeps = |action: &Action| matches!(action, Action::KeepArrived);
        if actions.iter().any(keeps) {
            uploads::keep(&mut state.storage, &Route::parse(&recorded.path), &content);
        }
        state.requests.push(recorded);
        shared.answered.notify_one();
        scissors.cut();
        return answer(500, &[], "");
    }
    let body = actions.iter().fold(content.freeze(), damage);
    let response = shared.handle(&recorded, body, &actions);
    finish(&shared, response, recorded, &actions, scissors).await
}

/// Takes the body of a request; `false` when it breaks off, is too large or is to be cut off at
/// `limit`.
async fn receive(body: Body, limit: Option<usize>, content: &mut BytesMut) -> bool {
    let mut body = body.into_data_stream();
    while limit.is_none_or(|limit| content.len() < limit) {
        match body.next().await {
            Some(Ok(piece)) => content.extend_from_slice(&piece),
            Some(Err(_)) => return false,
            None => break,
        }
        if content.len() > MAX_BODY_BYTES {
            return false;
        }
    }
    limit.is_none()
}

/// The body as it arrives at the registry.
fn damage(body: Bytes, action: &Action) -> Bytes {
    let Action::FlipReceivedBit(at) = action else {
        return body;
    };
    let mut body = Vec::from(body);
    if let Some(byte) = body.get_mut(*at) {
        *byte ^= 1;
    }
    body.into()
}

/// The answer that an action gives in the place of the registry.
fn instead(action: &Action, request: &Recorded, body: &Bytes) -> Option<Response<Body>> {
    match action {
        Action::Answer {
            status,
            headers,
            body,
        } => {
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, &**value))
                .collect();
            Some(answer(*status, &headers, body.clone()))
        }
        Action::MaxBody(bytes) if body.len() > *bytes => Some(error(413, "SIZE_INVALID")),
        Action::RedirectTo(origin) => {
            let mut location = format!("{origin}{}", request.path);
            if !request.query.is_empty() {
                location = format!("{location}?{}", request.query);
            }
            Some(answer(307, &[("location", &location)], ""))
        }
        _ => None,
    }
}

/// What a write may replace, as it was before.
struct Before {
    has_blob: bool,
    has_manifest: bool,
    tag: Option<Digest>,
}

impl Before {
    fn of(storage: &mut Storage, route: &Route<'_>, request: &Recorded) -> Self {
        let repository = storage.repository(route.repository);
        let digest = uploaded(request);
        let manifest = repository.resolve(route.item);
        Self {
            has_blob: digest.is_some_and(|digest| repository.blobs.contains_key(&digest)),
            has_manifest: manifest.is_some(),
            tag: repository.tags.get(route.item).cloned(),
        }
    }
}

/// The digest of the blob whose upload a request ends.
fn uploaded(request: &Recorded) -> Option<Digest> {
    request.query_value("digest")?.parse().ok()
}

/// Does to the storage what an action does after the registry acknowledged the request.
fn afterwards(storage: &mut Storage, action: &Action, request: &Recorded, before: &Before) {
    let route = Route::parse(&request.path);
    let puts_manifest = request.method == Method::PUT && route.endpoint == Endpoint::Manifest;
    let puts_tag = puts_manifest && !route.item.contains(':');
    match (action, uploaded(request)) {
        (Action::Forget, Some(digest)) if !before.has_blob => {
            storage.repository(route.repository).blobs.remove(&digest);
            storage.check(route.repository);
        }
        (Action::Forget, None) if puts_tag => {
            let tags = &mut storage.repository(route.repository).tags;
            match &before.tag {
                Some(earlier) => tags.insert(route.item.to_owned(), earlier.clone()),
                None => tags.remove(route.item),
            };
        }
        (Action::ShowLater(requests), Some(digest)) if !before.has_blob => {
            storage.hide_blob(route.repository, &digest, *requests);
        }
        (Action::ShowLater(requests), None) if puts_manifest && !before.has_manifest => {
            storage.hide_manifest(route.repository, route.item, *requests);
        }
        (Action::MoveTag(digest), _) if puts_tag => {
            let tags = &mut storage.repository(route.repository).tags;
            tags.insert(route.item.to_owned(), digest.clone());
            storage.check(route.repository);
        }
        _ => {}
    }
}

impl Shared {
    /// What the registry does, with the rules that act before it.
    fn handle(&self, request: &Recorded, body: Bytes, actions: &[Action]) -> Response<Body> {
        let route = Route::parse(&request.path);
        let mut state = self.state.lock().unwrap();
        let state = &mut *state;
        let mut request = request.clone();
        state.storage.show_hidden();
        let keeps = |action: &Action| matches!(action, Action::KeepArrived);
        for action in actions {
            if let Some(answer) = instead(action, &request, &body) {
                if actions.iter().any(keeps) {
                    uploads::keep(&mut state.storage, &route, &body);
                }
                return answer;
            }
            match action {
                Action::IgnoreRange => {
                    request.headers.remove("range");
                }
                Action::LoseSession => {
                    let repository = state.storage.repository(route.repository);
                    repository.sessions.remove(route.item);
                }
                Action::LastChunkWins if request.method == Method::PATCH => {
                    let repository = state.storage.repository(route.repository);
                    if let Some(received) = repository.sessions.get_mut(route.item) {
                        received.clear();
                    }
                    request.headers.remove("content-range");
                }
                Action::CollectGarbage => state.storage.collect_garbage(route.repository),
                _ => {}
            }
        }
        let tokens = &state.tokens;
        if let Some(refusal) = tokens.refuse(&self.guard, &self.realm, &route, &request) {
            return refusal;
        }
        let storage = &mut state.storage;
        if let Some(dialect) = self.dialect {
            let exists = storage.repositories.contains_key(route.repository);
            if let Some(refusal) = dialect.refuse(&route, &request, body.len(), exists) {
                return refusal;
            }
            request.query = dialect.understand(&route, &request.query);
        }
        let writes = matches!(request.method, Method::PUT | Method::POST);
        let before = writes.then(|| Before::of(storage, &route, &request));
        let mut response = match route.endpoint {
            Endpoint::Ping => answer(200, &[], ""),
            Endpoint::Token => return state.tokens.issue(&self.guard, &request),
            Endpoint::Blob => content::blob(storage, &route, &request),
            Endpoint::Uploads => uploads::start(storage, &route, &request, body, |from| {
                tokens.may_pull(&self.guard, from, &request)
            }),
            Endpoint::Session => uploads::session(storage, &route, &request, &body),
            Endpoint::Manifest => {
                content::manifest(storage, &route, &request, body, self.permissive)
            }
            Endpoint::Tags => content::tags(storage, &route, &request),
            Endpoint::Referrers => content::referrers(storage, &route, &request),
            Endpoint::Unknown => error(404, "NOT_FOUND"),
        };
        if let Some(before) = before.filter(|_| response.status().is_success()) {
            for action in actions {
                afterwards(storage, action, &request, &before);
            }
        }
        if let Some(dialect) = self.dialect {
            let reads = state.requests.iter().filter(|earlier| {
                earlier.method == Method::GET && earlier.endpoint == Endpoint::Manifest
            });
            let reads = reads.count() + usize::from(request.method == Method::GET);
            dialect.speak(&route, &request, &mut response, &self.origin, reads);
        }
        response
    }
}

/// A gzip stream of stored blocks (RFC 1951 §3.2.4, RFC 1952).
fn compress(content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    for block in content.chunks(0xffff) {
        let length = u16::try_from(block.len()).unwrap();
        stream.push(0);
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    // The last block is empty.
    stream.extend([1, 0, 0, 0xff, 0xff]);
    let checksum = !content.iter().fold(u32::MAX, |checksum, byte| {
        (0..8).fold(checksum ^ u32::from(*byte), |checksum, _| {
            (checksum >> 1) ^ (0xedb8_8320 * (checksum & 1))
        })
    });
    stream.extend(checksum.to_le_bytes());
    stream.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    stream
}

/// Records the request and does to its answer what rules say.
async fn finish(
    shared: &Shared,
    response: Response<Body>,
    mut recorded: Recorded,
    actions: &[Action],
    scissors: Scissors,
) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut body = Vec::from(body);
    let mut cut = None;
    for action in actions {
        match action {
            Action::SetStatus(status) => head.status = StatusCode::from_u16(*status).unwrap(),
            Action::SetHeader(name, value) => {
                let name = HeaderName::from_static(name);
                head.headers.insert(name, value.parse().unwrap());
            }
            Action::RemoveHeader(name) => {
                head.headers.remove(*name);
            }
            Action::FlipBit(at) => {
                if let Some(byte) = body.get_mut(*at) {
                    *byte ^= 1;
                }
            }
            Action::CutResponse(bytes) => cut = Some(*bytes),
            Action::Compress => {
                body = compress(&body);
                head.headers.remove("content-length");
                let encoding = HeaderValue::from_static("gzip");
                head.headers.insert("content-encoding", encoding);
            }
            Action::EndlessPages => {
                let page = shared.state.lock().unwrap().requests.len();
                let link = format!("<{}?n=1&last=page-{page}>; rel=\"next\"", recorded.path);
                head.headers.insert("link", link.parse().unwrap());
            }
            Action::LoseAnswer => scissors.cut(),
            _ => {}
        }
    }
    recorded.status = head.status.as_u16();
    let sent = recorded.sent.clone();
    shared.state.lock().unwrap().requests.push(recorded);
    shared.answered.notify_one();
    if body.is_empty() && cut.is_none() {
        return Response::from_parts(head, Body::empty());
    }
    if !head.headers.contains_key("content-length") {
        head.headers.insert("content-length", body.len().into());
    }
    let body = Bytes::from(body);
    let whole = body.slice(..cut.unwrap_or(body.len()).min(body.len()));
    let pieces: Vec<_> = (0..whole.len())
        .step_by(PIECE_BYTES)
        .map(|at| whole.slice(at..whole.len().min(at + PIECE_BYTES)))
        .collect();
    let pieces = stream::iter(pieces).map(move |piece| {
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok::<_, io::Error>(piece)
    });
    if cut.is_none() {
        return Response::from_parts(head, Body::from_stream(pieces));
    }
    let end = stream::once(async move {
        // What came before is flushed only when there is nothing to add for now.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        scissors.cut();
        Err::<Bytes, _>(io::ErrorKind::ConnectionReset.into())
    });
    Response::from_parts(head, Body::from_stream(pieces.chain(end)))
}
