//! Uploads that are sent elsewhere: content and token stay at the registry.

use axum::http::Method;

use super::{Ask, End, Endpoint, Rule, Trap, Wire, authorized};

use End::{Home, Refused};

const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// Where an upload session is said to be.
const LOCATIONS: [(Wire, &str, End); 39] = [
    (Wire::Plain, "http://{sink}/v2/app/blobs/uploads/1", Refused),
    (
        Wire::Plain,
        "https://{sink}/v2/app/blobs/uploads/1",
        Refused,
    ),
    (
        Wire::Plain,
        "https://{registry}/v2/app/blobs/uploads/1",
        Refused,
    ),
    (Wire::Plain, "http://localhost:{port}/u", Refused),
    (Wire::Plain, "http://localhost:{own_port}/u", Refused),
    (Wire::Plain, "http://127.1:{port}/u", Refused),
    (Wire::Plain, "http://2130706433:{port}/u", Refused),
    (Wire::Plain, "http://0x7f000001:{port}/u", Refused),
    (Wire::Plain, "http://0177.0.0.1:{port}/u", Refused),
    (Wire::Plain, "http://[::1]:{port}/u", Refused),
    (Wire::Plain, "http://[::ffff:127.0.0.1]:{port}/u", Refused),
    (Wire::Plain, "http://127.0.0.2:{port}/u", Refused),
    (Wire::Plain, "http://0.0.0.0:{port}/u", Refused),
    (Wire::Plain, "http://%31%32%37.0.0.1:{port}/u", Refused),
    (Wire::Plain, "http://127.0.0.1/u", Refused),
    (Wire::Plain, "//{sink}/u", Refused),
    (Wire::Plain, "///{sink}/u", Refused),
    (Wire::Plain, "/\\{sink}/u", Refused),
    (Wire::Plain, "\\\\{sink}\\u", Refused),
    (Wire::Plain, "http:\\\\{sink}\\u", Refused),
    (Wire::Plain, "ht\ttp://{sink}/u", Refused),
    (Wire::Plain, " http://{sink}/u ", Refused),
    (Wire::Plain, "http://{registry}@{sink}/u", Refused),
    (Wire::Plain, "http://{registry}:word@{sink}/u", Refused),
    (Wire::Plain, "http://user@{registry}/u", Refused),
    (Wire::Plain, "http://{registry}.{sink}/u", Refused),
    (Wire::Plain, "ftp://{registry}/u", Refused),
    (Wire::Plain, "ws://{registry}/u", Refused),
    (Wire::Plain, "file:///tmp/u", Refused),
    (Wire::Plain, "data:,u", Refused),
    (Wire::Plain, "javascript:u", Refused),
    (Wire::Plain, "http://", Refused),
    // Paths of the registry, where no session is.
    (Wire::Plain, "", Refused),
    (Wire::Plain, "@{sink}/u", Refused),
    (Wire::Plain, "../../../../../../{sink}/u", Refused),
    (
        Wire::Tls,
        "http://{registry}/v2/app/blobs/uploads/1",
        Refused,
    ),
    (Wire::Tls, "http://{sink}/u", Refused),
    (Wire::Tls, "https://{sink}/u", Refused),
    (Wire::Tls, "//{sink}/u", Refused),
];

/// Requests that write, with the endpoint and the method that are redirected.
const WRITES: [(Ask, Endpoint, Method); 4] = [
    (Ask::Mount, Endpoint::Uploads, Method::POST),
    (Ask::Upload, Endpoint::Uploads, Method::POST),
    (Ask::Upload, Endpoint::Session, Method::PUT),
    (Ask::Put, Endpoint::Manifest, Method::PUT),
];

/// Headers of an answer that accepts, which lead elsewhere and need not be looked at.
const ACCEPTED: [(Ask, Endpoint, &str, &str); 6] = [
    (
        Ask::Upload,
        Endpoint::Session,
        "location",
        "http://{sink}/v2/app/blobs/x",
    ),
    (
        Ask::Upload,
        Endpoint::Session,
        "refresh",
        "0; url=http://{sink}/",
    ),
    (
        Ask::Upload,
        Endpoint::Uploads,
        "content-location",
        "http://{sink}/",
    ),
    (
        Ask::Upload,
        Endpoint::Uploads,
        "docker-upload-uuid",
        "http://{sink}/",
    ),
    (
        Ask::Put,
        Endpoint::Manifest,
        "location",
        "http://{sink}/v2/app/manifests/x",
    ),
    (
        Ask::Put,
        Endpoint::Manifest,
        "oci-subject",
        "http://{sink}/",
    ),
];

pub(super) fn names() -> impl Iterator<Item = String> {
    let locations = LOCATIONS
        .iter()
        .map(|(wire, to, _)| format!("session {wire:?} {to}"));
    let writes = STATUSES.iter().flat_map(|status| {
        let writes = WRITES.iter();
        writes.map(move |(ask, endpoint, _)| format!("{status} of {ask:?} at {endpoint:?}"))
    });
    let accepted = ACCEPTED.iter().map(|it| format!("accepted {it:?}"));
    locations.chain(writes).chain(accepted)
}

#[tokio::test]
async fn a_session_is_at_the_registry_or_nowhere() {
    for (wire, location, end) in LOCATIONS {
        for ask in [Ask::Upload, Ask::Mount] {
            // Whoever mounts does not use the session yet.
            let is_path = location.is_empty() || location.starts_with(['@', '.']);
            if ask == Ask::Mount && is_path {
                continue;
            }
            let trap = Trap::set(wire, None).await;
            let answer = trap.answer(202, &[("location", location)], "");
            trap.registry
                .add(authorized(Endpoint::Uploads, answer).method(Method::POST));
            trap.spring(&format!("{ask:?} {wire:?} {location}"), ask, end)
                .await;
        }
    }
}

#[tokio::test]
async fn a_request_that_writes_is_not_redirected() {
    for status in STATUSES {
        for (ask, endpoint, method) in WRITES {
            let trap = Trap::set(Wire::Plain, None).await;
            let answer = trap.answer(status, &[("location", "http://{sink}/stolen")], "");
            trap.registry
                .add(authorized(endpoint, answer).method(method));
            trap.spring(&format!("{status} of {ask:?}"), ask, Refused)
                .await;
        }
    }
}

#[tokio::test]
async fn what_stands_beside_an_acceptance_leads_nowhere() {
    for (ask, endpoint, name, value) in ACCEPTED {
        let trap = Trap::set(Wire::Plain, None).await;
        let header = super::Action::SetHeader(name, trap.fill(value));
        trap.registry.add(Rule::on(endpoint, header));
        trap.spring(&format!("{ask:?} {name}: {value}"), ask, Home)
            .await;
    }
}
