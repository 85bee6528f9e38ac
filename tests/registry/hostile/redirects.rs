//! Redirects of requests that read: they may lead anywhere, and credentials stay behind.

use super::{Ask, End, Endpoint, Trap, Wire, authorized};

use End::{Bare, Home, Refused};

const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];
/// Requests that read, with the endpoint that redirects them.
const READS: [(Ask, Endpoint); 5] = [
    (Ask::LookUp, Endpoint::Blob),
    (Ask::Read, Endpoint::Blob),
    (Ask::Manifest, Endpoint::Manifest),
    (Ask::Tags, Endpoint::Tags),
    (Ask::Referrers, Endpoint::Referrers),
];

/// Where a blob is said to be.
const LOCATIONS: [(Wire, &str, End); 42] = [
    (Wire::Plain, "http://localhost:{port}/b", Bare),
    (Wire::Plain, "http://127.1:{port}/b", Bare),
    (Wire::Plain, "http://2130706433:{port}/b", Bare),
    (Wire::Plain, "http://0x7f.0.0.1:{port}/b", Bare),
    (Wire::Plain, "http://[::ffff:127.0.0.1]:{port}/b", Bare),
    (Wire::Plain, "http://127.0.0.2:{port}/b", Bare),
    (Wire::Plain, "http://%31%32%37.0.0.1:{port}/b", Bare),
    (Wire::Plain, "HTTP://{sink}/b", Bare),
    (Wire::Plain, "//{sink}/b", Bare),
    (Wire::Plain, "///{sink}/b", Refused),
    (Wire::Plain, "/\\{sink}/b", Bare),
    (Wire::Plain, "\\\\{sink}\\b", Bare),
    (Wire::Plain, "http:\\\\{sink}\\b", Bare),
    (Wire::Plain, " http://{sink}/b ", Bare),
    (Wire::Plain, "ht\ttp://{sink}/b", Bare),
    (Wire::Plain, "http://{sink}#{registry}", Bare),
    (
        Wire::Plain,
        "http://{sink}/?X-Amz-Signature=1&response-content-type=text/html",
        Bare,
    ),
    (Wire::Plain, "https://{sink}/b", Bare),
    (Wire::Plain, "http://{registry}@{sink}/b", Refused),
    (Wire::Plain, "http://user:word@{sink}/b", Refused),
    (Wire::Plain, "http://:word@{sink}/b", Refused),
    (Wire::Plain, "http://user@{registry}/b", Refused),
    (Wire::Plain, "http://{sink}@{registry}/b", Refused),
    (Wire::Plain, "ftp://{sink}/b", Refused),
    (Wire::Plain, "ws://{sink}/b", Refused),
    (Wire::Plain, "file:///etc/passwd", Refused),
    (Wire::Plain, "data:,content", Refused),
    (Wire::Plain, "javascript:location='http://{sink}'", Refused),
    (Wire::Plain, "unix:/var/run/docker.sock", Refused),
    (Wire::Plain, "http://", Refused),
    (Wire::Plain, "http://[::1", Refused),
    (Wire::Plain, "http://{sink}:99999/b", Refused),
    (Wire::Plain, "", Refused),
    (Wire::Plain, "#b", Refused),
    // The registry under another name is another origin: it gets no token and refuses.
    (
        Wire::Plain,
        "http://localhost:{own_port}/v2/app/blobs/x",
        Refused,
    ),
    (Wire::Tls, "http://{sink}/b", Refused),
    (Wire::Tls, "http://{registry}/b", Refused),
    (Wire::Tls, "HTTP:{sink}/b", Refused),
    (Wire::Tls, "https://{sink}/b", Bare),
    (Wire::Tls, "//{sink}/b", Bare),
    // The certificate is for 127.0.0.1 alone: who answers here has not proved who it is.
    (Wire::Tls, "https://localhost:{port}/b", Bare),
    (Wire::Tls, "https://user:word@{sink}/b", Refused),
];

/// Answers that name another place and are no redirects.
const NO_REDIRECTS: [(u16, &str, &str, End); 9] = [
    (200, "location", "http://{sink}/b", Home),
    (200, "content-location", "http://{sink}/b", Home),
    (200, "refresh", "0; url=http://{sink}/b", Home),
    (200, "link", "<http://{sink}/b>; rel=\"preload\"", Home),
    (200, "alt-svc", "http/1.1=\"{sink}\"; ma=60", Home),
    (300, "location", "http://{sink}/b", Refused),
    (304, "location", "http://{sink}/b", Refused),
    (305, "location", "http://{sink}/b", Refused),
    (306, "location", "http://{sink}/b", Refused),
];

/// What the place says to which a blob was redirected.
const AFTERWARDS: [&str; 7] = [
    "401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"",
    "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://{registry}/token\"",
    "407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"x\"",
    "302 Found\r\nlocation: http://{registry}/v2/app/blobs/back",
    "302 Found\r\nlocation: /again",
    "302 Found\r\nlocation: ftp://{registry}/",
    "200 OK\r\nset-cookie: canary-user=canary-password\r\nlocation: http://{registry}/",
];

pub(super) fn names() -> impl Iterator<Item = String> {
    let reads = STATUSES.iter().flat_map(|status| {
        READS
            .iter()
            .map(move |(ask, _)| format!("{status} to {ask:?}"))
    });
    let locations = LOCATIONS
        .iter()
        .map(|(wire, to, _)| format!("redirect {wire:?} {to}"));
    let others = NO_REDIRECTS.iter().map(|it| format!("no redirect {it:?}"));
    let afterwards = AFTERWARDS.iter().map(|head| format!("afterwards {head}"));
    reads.chain(locations).chain(others).chain(afterwards)
}

#[tokio::test]
async fn a_request_that_reads_is_redirected_without_credentials() {
    for status in STATUSES {
        for (ask, endpoint) in READS {
            let trap = Trap::set(Wire::Plain, None).await;
            let answer = trap.answer(status, &[("location", "http://{sink}/b")], "");
            trap.registry.add(authorized(endpoint, answer));
            trap.spring(&format!("{status} to {ask:?}"), ask, Bare)
                .await;
        }
    }
}

#[tokio::test]
async fn wherever_a_blob_is_said_to_be_no_credential_goes_there() {
    for (wire, location, end) in LOCATIONS {
        let trap = Trap::set(wire, None).await;
        let answer = trap.answer(307, &[("location", location)], "");
        trap.registry.add(authorized(Endpoint::Blob, answer));
        trap.spring(&format!("{wire:?} {location}"), Ask::Read, end)
            .await;
    }
}

#[tokio::test]
async fn what_is_no_redirect_is_not_followed() {
    for (status, name, value, end) in NO_REDIRECTS {
        let trap = Trap::set(Wire::Plain, None).await;
        let answer = trap.answer(status, &[(name, value)], "content");
        trap.registry.add(authorized(Endpoint::Blob, answer));
        trap.spring(&format!("{status} {name}: {value}"), Ask::Read, end)
            .await;
    }
}

#[tokio::test]
async fn whatever_is_said_elsewhere_no_credential_follows() {
    for head in AFTERWARDS {
        let says =
            format!("HTTP/1.1 {head}\r\ncontent-length: 7\r\nconnection: close\r\n\r\ncontent");
        let trap = Trap::set(Wire::Plain, Some(&says)).await;
        let answer = trap.answer(307, &[("location", "http://{sink}/b")], "");
        trap.registry
            .add(authorized(Endpoint::Blob, answer).times(1));
        trap.spring(head, Ask::Read, Bare).await;
        let back = trap.registry.requests().into_iter();
        let mut back = back.filter(|asked| asked.path.ends_with("/back"));
        assert!(
            back.all(|asked| asked.header("authorization").is_none()),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_detour_within_the_registry_changes_nothing() {
    let trap = Trap::set(Wire::Plain, None).await;
    let detour = trap.answer(307, &[("location", "/v2/app/manifests/detour")], "");
    trap.registry.add(authorized(Endpoint::Blob, detour));
    let away = trap.answer(307, &[("location", "http://{sink}/b")], "");
    trap.registry.add(authorized(Endpoint::Manifest, away));
    trap.spring("a detour", Ask::Read, Bare).await;
}
