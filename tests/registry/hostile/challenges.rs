//! `WWW-Authenticate` as nobody means well: realms elsewhere, and headers that can be read in two ways.

use super::{Action, Ask, End, Endpoint, Rule, Trap, Wire};

use End::{Home, Refused};

/// Realms of a Bearer challenge.
const REALMS: [(&str, End); 44] = [
    ("http://{sink}/token", Refused),
    ("http://localhost:{port}/token", Refused),
    ("http://LOCALHOST:{port}/token", Refused),
    ("http://[::1]:{port}/token", Refused),
    ("http://[::ffff:127.0.0.1]:{port}/token", Refused),
    ("http://[::ffff:7f00:1]:{port}/token", Refused),
    ("http://2130706433:{port}/token", Refused),
    ("http://0x7f000001:{port}/token", Refused),
    ("http://0x7f.0.0.1:{port}/token", Refused),
    ("http://0177.0.0.1:{port}/token", Refused),
    ("http://127.1:{port}/token", Refused),
    ("http://127.0.0.1.:{port}/token", Refused),
    ("http://127.0.0.2:{port}/token", Refused),
    ("http://0.0.0.0:{port}/token", Refused),
    ("http://%31%32%37.0.0.1:{port}/token", Refused),
    ("http://{sink}/v2/", Refused),
    ("HTTP://{sink}", Refused),
    ("https://{sink}/token", Refused),
    ("http:///{sink}/token", Refused),
    ("http:/{sink}/token", Refused),
    ("http:{sink}/token", Refused),
    ("http:\\\\{sink}\\token", Refused),
    ("//{sink}/token", Refused),
    ("\\\\{sink}\\token", Refused),
    ("ht\ttp://{sink}/token", Refused),
    (" http://{sink}/token ", Refused),
    ("http://canary-user:canary-password@{sink}/token", Refused),
    ("http://canary-user@{registry}/token", Refused),
    ("http://{registry}@{sink}/token", Refused),
    ("http://{sink}@{registry}/token", Refused),
    ("http://{registry}%40{sink}/token", Refused),
    ("http://{registry}.{sink}/token", Refused),
    ("ftp://{sink}/token", Refused),
    ("ws://{sink}/token", Refused),
    ("gopher://{sink}/token", Refused),
    ("file:///etc/passwd", Refused),
    ("data:application/json,{\"token\":\"x\"}", Refused),
    ("javascript:fetch('http://{sink}')", Refused),
    ("/token", Refused),
    ("token", Refused),
    ("", Refused),
    // What looks like another host is a part of the path, query or fragment here.
    ("http://{registry}/token#@{sink}/token", Home),
    ("http://{registry}/token?@{sink}/token", Home),
    ("http://{registry}\\token", Home),
];

/// Whole headers, line by line.
const CHALLENGES: [(&[&str], End); 33] = [
    (&["Bearer realm=http://{sink}/token"], Refused),
    (&["Bearer realm=\"http://{sink}/token"], Refused),
    (&["Bearer realm='http://{sink}/token'"], Refused),
    (&["BEARER REALM=\"http://{sink}/token\""], Refused),
    (&["Bearer"], Refused),
    (&["Bearer service=\"http://{sink}/\""], Refused),
    (
        &["Bearer realm=\"http://{sink}/token\",realm=\"http://{registry}/token\""],
        Refused,
    ),
    (
        &["Bearer realm=\"http://{registry}/token\",realm=\"http://{sink}/token\""],
        Home,
    ),
    (
        &["Bearer realm=\"http://{sink}/token\", Bearer realm=\"http://{registry}/token\""],
        Refused,
    ),
    (
        &["Bearer realm=\"http://{registry}/token\", Bearer realm=\"http://{sink}/token\""],
        Home,
    ),
    (
        &["Bearer realm=\"http://{sink}/token\"", "Basic realm=\"x\""],
        Refused,
    ),
    (
        &["Basic realm=\"x\"", "Bearer realm=\"http://{sink}/token\""],
        Refused,
    ),
    (&["Basic realm=\"http://{sink}/token\""], Home),
    (&["Basic"], Home),
    (&["Basic realm=\"x\", charset=\"http://{sink}\""], Home),
    (
        &["Bearer realm=\"http://{registry}/token\\\"@{sink}/\""],
        Refused,
    ),
    (
        &["Bearer realm=\"http://{registry}/token\",service=\"http://{sink}/\""],
        Home,
    ),
    (
        &["Bearer realm=\"http://{registry}/token\",service=\"a&scope=repository:other:*#\""],
        Home,
    ),
    (
        &["Bearer realm=\"http://{registry}/token\",scope=\"repository:other:push,delete\""],
        Home,
    ),
    (
        &["Bearer realm=\"http://{registry}/token\",scope=\"http://{sink}/\""],
        Home,
    ),
    (
        &["Bearer realm=\"http://{registry}/token\",error_uri=\"http://{sink}/\""],
        Home,
    ),
    (
        &["Bearer realm=\"http://{registry}/token\",token_uri=\"http://{sink}/token\""],
        Home,
    ),
    (&["Bearer x=\"realm=\\\"http://{sink}/token\\\"\""], Refused),
    (
        &["Negotiate", "Bearer realm=\"http://{sink}/token\""],
        Refused,
    ),
    (
        &["Negotiate YIIaGk=, Bearer realm=\"http://{sink}/token\""],
        Refused,
    ),
    (&["NTLM realm=\"http://{sink}/\""], Refused),
    (
        &["Digest realm=\"x\", nonce=\"y\", domain=\"http://{sink}/\""],
        Refused,
    ),
    (&["OAuth realm=\"http://{sink}/token\""], Refused),
    (
        &["DPoP realm=\"http://{sink}/token\", algs=\"ES256\""],
        Refused,
    ),
    (&["AWS4-HMAC-SHA256 Credential=\"http://{sink}/\""], Refused),
    (&[",,, , ,"], Refused),
    (&["\"Bearer realm=http://{sink}/token\""], Refused),
    (&[""], Refused),
];

/// Headers beside a challenge that lead elsewhere, with the status of the answer.
const BESIDE: [(u16, &str, &str, End); 11] = [
    (401, "location", "http://{sink}/", Home),
    (401, "refresh", "0; url=http://{sink}/", Home),
    (401, "alt-svc", "h2=\"{sink}\"; ma=60, h3=\"{sink}\"", Home),
    (401, "link", "<http://{sink}/>; rel=\"authorization\"", Home),
    (
        401,
        "set-cookie",
        "canary-user=canary-password; Domain=127.0.0.1",
        Home,
    ),
    (
        401,
        "docker-distribution-api-version",
        "registry/2.0 http://{sink}",
        Home,
    ),
    (
        401,
        "proxy-authenticate",
        "Basic realm=\"http://{sink}/\"",
        Home,
    ),
    (
        401,
        "authentication-info",
        "nextnonce=\"http://{sink}/\"",
        Home,
    ),
    (
        407,
        "proxy-authenticate",
        "Basic realm=\"http://{sink}/\"",
        Refused,
    ),
    (403, "location", "http://{sink}/token", Refused),
    (511, "location", "http://{sink}/login", Refused),
];

pub(super) fn names() -> impl Iterator<Item = String> {
    let realms = REALMS.iter().map(|(realm, _)| format!("realm {realm}"));
    let lines = CHALLENGES.iter().map(|(lines, _)| format!("{lines:?}"));
    let beside = BESIDE
        .iter()
        .map(|(status, name, value, _)| format!("{status} {name}: {value}"));
    realms.chain(lines).chain(beside)
}

/// A rule that asks for authorization in this way wherever there is none.
fn asks(trap: &Trap, status: u16, headers: &[(&'static str, &str)]) -> Rule {
    Rule::on(Endpoint::Blob, trap.answer(status, headers, ""))
        .when(|request| request.header("authorization").is_none())
}

#[tokio::test]
async fn a_realm_gets_no_password_unless_it_is_at_home() {
    for (realm, end) in REALMS {
        let trap = Trap::set(Wire::Plain, None).await;
        let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
        let challenge = format!("Bearer realm=\"{quoted}\"");
        trap.registry
            .add(asks(&trap, 401, &[("www-authenticate", &challenge)]));
        trap.spring(realm, Ask::LookUp, end).await;
    }
}

#[tokio::test]
async fn a_challenge_is_answered_at_home_or_not_at_all() {
    for (lines, end) in CHALLENGES {
        let trap = Trap::set(Wire::Plain, None).await;
        let lines: Vec<_> = lines
            .iter()
            .map(|line| ("www-authenticate", *line))
            .collect();
        trap.registry.add(asks(&trap, 401, &lines));
        trap.spring(&format!("{lines:?}"), Ask::LookUp, end).await;
    }
}

#[tokio::test]
async fn what_stands_beside_a_challenge_leads_nowhere() {
    for (status, name, value, end) in BESIDE {
        let trap = Trap::set(Wire::Plain, None).await;
        let realm = "Bearer realm=\"http://{registry}/token\"";
        let headers = [("www-authenticate", realm), (name, value)];
        trap.registry.add(asks(&trap, status, &headers));
        trap.spring(&format!("{status} {name}: {value}"), Ask::LookUp, end)
            .await;
    }
}

/// What a registry makes of the names that it gives stays one value of the query.
#[tokio::test]
async fn a_service_with_signs_of_a_query_stays_one_value() {
    let trap = Trap::set(Wire::Plain, None).await;
    let service = "a&scope=repository:other:*#";
    let challenge = format!("Bearer realm=\"http://{{registry}}/token\",service=\"{service}\"");
    trap.registry
        .add(asks(&trap, 401, &[("www-authenticate", &challenge)]));
    trap.spring(service, Ask::LookUp, End::Home).await;
    let requests = trap.registry.requests();
    let token = requests
        .iter()
        .find(|asked| asked.endpoint == Endpoint::Token)
        .unwrap();
    assert_eq!(token.query_values("service"), [service]);
    assert_eq!(token.query_values("scope"), ["repository:app:pull"]);
}

#[tokio::test]
async fn a_registry_with_tls_gets_no_password_without_it() {
    for realm in [
        "http://{registry}/token",
        "http://{sink}/token",
        "http://127.0.0.1/token",
    ] {
        let trap = Trap::set(Wire::Tls, None).await;
        let challenge = format!("Bearer realm=\"{realm}\"");
        trap.registry
            .add(asks(&trap, 401, &[("www-authenticate", &challenge)]));
        trap.spring(realm, Ask::LookUp, End::Refused).await;
    }
}

/// Bearer, Basic, Bearer and so on, and no authorization is ever good enough.
#[tokio::test]
async fn challenges_without_end_end() {
    for challenge in [
        "Bearer realm=\"http://{registry}/token\"",
        "Bearer realm=\"http://{registry}/token\",error=\"insufficient_scope\",scope=\"more\"",
        "Basic realm=\"x\"",
        "Negotiate",
    ] {
        let trap = Trap::set(Wire::Plain, None).await;
        let answer: Action = trap.answer(401, &[("www-authenticate", challenge)], "");
        trap.registry.add(Rule::on(Endpoint::Blob, answer));
        trap.spring(challenge, Ask::LookUp, End::Refused).await;
        let asked = trap.registry.requests().len();
        assert!(asked <= 6, "{challenge}: {asked} requests");
    }
}
