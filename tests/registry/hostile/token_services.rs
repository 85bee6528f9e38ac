//! Token services that answer with something else than a token, or with one that does harm.

use super::{Ask, End, Endpoint, Rule, Trap, Wire};

use End::{Home, Refused};

/// Statuses that a browser would follow, and some that nobody follows.
const REDIRECTS: [u16; 10] = [300, 301, 302, 303, 304, 305, 306, 307, 308, 201];

/// A challenge of the token service itself.
const CHALLENGES: [(u16, &str, &str); 6] = [
    (
        401,
        "www-authenticate",
        "Bearer realm=\"http://{sink}/token\"",
    ),
    (401, "www-authenticate", "Basic realm=\"http://{sink}/\""),
    (401, "location", "http://{sink}/token"),
    (407, "proxy-authenticate", "Basic realm=\"http://{sink}/\""),
    (403, "link", "<http://{sink}/token>; rel=\"next\""),
    (503, "refresh", "0; url=http://{sink}/token"),
];

/// Bodies that are no use, with the status 200.
const BODIES: [&str; 23] = [
    "",
    "null",
    "[]",
    "\"token\"",
    "7",
    "{",
    "{}",
    "{\"token\":null}",
    "{\"token\":\"\"}",
    "{\"token\":7}",
    "{\"token\":[]}",
    "{\"token\":{}}",
    "{\"token\":true,\"access_token\":\"x\"}",
    "{\"token\":\"one\",\"token\":\"two\"}",
    "{\"token\":\"one\"} {\"token\":\"two\"}",
    "{\"token\":\"a\\r\\nhost: {sink}\"}",
    "{\"token\":\"a\\nb\"}",
    "{\"token\":\"a\\u0000b\"}",
    "{\"token\":\"a\\u007fb\"}",
    "{\"token\":\"x\",\"expires_in\":\"soon\"}",
    "{\"token\":\"x\",\"expires_in\":1e999}",
    "{\"token\":\"x\",\"expires_in\":NaN}",
    "<html><meta http-equiv=\"refresh\" content=\"0; url=http://{sink}/\"></html>",
];

/// Bodies with a token and something beside it that leads elsewhere. The registry takes any token here.
const BESIDE: [&str; 7] = [
    "{\"token\":\"x\",\"realm\":\"http://{sink}/token\"}",
    "{\"token\":\"x\",\"refresh_token\":\"y\",\"token_uri\":\"http://{sink}/\"}",
    "{\"token\":\"x\",\"redirect_uri\":\"http://{sink}/\"}",
    "{\"token\":\"x\",\"access_token\":\"http://{sink}/\"}",
    "{\"token\":\"x\",\"expires_in\":-1,\"issued_at\":\"http://{sink}/\"}",
    "{\"token\":\"x, Basic realm=http://{sink}/\"}",
    "{\"token\":\"http://{sink}/\"}",
];

pub(super) fn names() -> impl Iterator<Item = String> {
    let redirects = REDIRECTS
        .iter()
        .map(|status| format!("token service {status}"));
    let challenges = CHALLENGES.iter().map(|it| format!("token service {it:?}"));
    let bodies = BODIES
        .iter()
        .chain(&BESIDE)
        .map(|body| format!("token {body}"));
    redirects.chain(challenges).chain(bodies)
}

#[tokio::test]
async fn a_token_service_is_not_followed() {
    for status in REDIRECTS {
        let trap = Trap::set(Wire::Plain, None).await;
        let answer = trap.answer(status, &[("location", "http://{sink}/token")], "");
        trap.registry.add(Rule::on(Endpoint::Token, answer));
        trap.spring(&status.to_string(), Ask::LookUp, Refused).await;
    }
}

#[tokio::test]
async fn a_token_service_asks_for_nothing() {
    for (status, name, value) in CHALLENGES {
        let trap = Trap::set(Wire::Plain, None).await;
        let answer = trap.answer(status, &[(name, value)], "");
        trap.registry.add(Rule::on(Endpoint::Token, answer));
        trap.spring(value, Ask::LookUp, Refused).await;
    }
}

#[tokio::test]
async fn what_is_no_token_is_not_sent() {
    let deep = format!("{{\"x\":{}}}", "[".repeat(20_000));
    let large = format!("{{\"token\":\"{}\"}}", "t".repeat(70_000));
    for body in BODIES.into_iter().chain([deep.as_str(), large.as_str()]) {
        let trap = Trap::set(Wire::Plain, None).await;
        trap.registry
            .add(Rule::on(Endpoint::Token, trap.answer(200, &[], body)));
        trap.spring(body, Ask::LookUp, Refused).await;
        let requests = trap.registry.requests();
        let mut sent = requests
            .iter()
            .filter_map(|asked| asked.header("authorization"));
        assert!(
            sent.all(|it| it.starts_with("Basic ")),
            "{body}: sent to the registry"
        );
    }
}

#[tokio::test]
async fn what_stands_beside_a_token_leads_nowhere() {
    for body in BESIDE {
        let trap = Trap::set(Wire::Plain, None).await;
        trap.registry
            .add(Rule::on(Endpoint::Token, trap.answer(200, &[], body)));
        let takes_all = Rule::on(Endpoint::Blob, trap.answer(200, &[], ""));
        trap.registry.add(takes_all.when(|asked| {
            asked
                .header("authorization")
                .is_some_and(|it| it.starts_with("Bearer "))
        }));
        trap.spring(body, Ask::LookUp, Home).await;
    }
}
