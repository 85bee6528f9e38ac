//! `Link` headers of lists: the next page is at the registry, or there is none.

use super::{Action, Ask, End, Endpoint, Rule, Trap, Wire};

use End::{Home, Refused};

/// What the header says of the next page.
const LINKS: [(&str, End); 34] = [
    ("<http://{sink}/v2/app/tags/list>; rel=\"next\"", Refused),
    ("<https://{sink}/v2/app/tags/list>; rel=\"next\"", Refused),
    (
        "<https://{registry}/v2/app/tags/list>; rel=\"next\"",
        Refused,
    ),
    ("<//{sink}/v2/app/tags/list>; rel=\"next\"", Refused),
    ("<///{sink}/x>; rel=\"next\"", Refused),
    ("</\\{sink}/x>; rel=\"next\"", Refused),
    ("<\\\\{sink}\\x>; rel=\"next\"", Refused),
    ("<http:\\\\{sink}\\x>; rel=\"next\"", Refused),
    ("< http://{sink}/x >; rel=\"next\"", Refused),
    ("<ht\ttp://{sink}/x>; rel=\"next\"", Refused),
    ("<http://localhost:{port}/x>; rel=\"next\"", Refused),
    ("<http://localhost:{own_port}/x>; rel=\"next\"", Refused),
    ("<http://127.1:{port}/x>; rel=\"next\"", Refused),
    ("<http://127.0.0.2:{port}/x>; rel=\"next\"", Refused),
    (
        "<http://[::ffff:127.0.0.1]:{port}/x>; rel=\"next\"",
        Refused,
    ),
    ("<http://{registry}@{sink}/x>; rel=\"next\"", Refused),
    ("<http://user:word@{registry}/x>; rel=\"next\"", Refused),
    ("<ftp://{registry}/x>; rel=\"next\"", Refused),
    ("<file:///etc/passwd>; rel=\"next\"", Refused),
    ("<data:application/json,x>; rel=\"next\"", Refused),
    ("<javascript:x>; rel=\"next\"", Refused),
    ("<http://[::1>; rel=\"next\"", Refused),
    ("<http://{sink}/x>; rel=next", Refused),
    ("<http://{sink}/x>; rel=\"prev next\"", Refused),
    ("<http://{sink}/x>; REL=\"NEXT\"", Refused),
    ("<http://{sink}/x>; title=\"a,b\"; rel=\"next\"", Refused),
    (
        "</v2/>; rel=\"prev\", <http://{sink}/x>; rel=\"next\"",
        Refused,
    ),
    // The same page again.
    ("<>; rel=\"next\"", Refused),
    ("<?n=100>; rel=\"next\"", Refused),
    // Other relations, and what is no link.
    ("<http://{sink}/x>; rel=\"prev\"", Home),
    ("<http://{sink}/x>; rel=\"nextish\"", Home),
    ("<http://{sink}/x>; rel=\"preload\"; anchor=\"next\"", Home),
    ("http://{sink}/x; rel=\"next\"", Home),
    ("<http://{sink}/x; rel=\"next\"", Home),
];

/// Places in a list of referrers, which is read by other code.
const OF_REFERRERS: [&str; 4] = [
    "<http://{sink}/v2/app/referrers/x>; rel=\"next\"",
    "<//{sink}/v2/app/referrers/x>; rel=\"next\"",
    "<http://{registry}@{sink}/referrers/x>; rel=\"next\"",
    "<ftp://{registry}/referrers/x>; rel=\"next\"",
];

pub(super) fn names() -> impl Iterator<Item = String> {
    let links = LINKS.iter().map(|(link, _)| *link).chain(OF_REFERRERS);
    links.map(|link| format!("link {link}"))
}

#[tokio::test]
async fn the_next_page_is_at_the_registry_or_nowhere() {
    for (link, end) in LINKS {
        let trap = Trap::set(Wire::Plain, None).await;
        let header = Action::SetHeader("link", trap.fill(link));
        trap.registry.add(Rule::on(Endpoint::Tags, header));
        trap.spring(link, Ask::Tags, end).await;
    }
    for link in OF_REFERRERS {
        let trap = Trap::set(Wire::Plain, None).await;
        let header = Action::SetHeader("link", trap.fill(link));
        trap.registry.add(Rule::on(Endpoint::Referrers, header));
        trap.spring(link, Ask::Referrers, Refused).await;
    }
}

#[tokio::test]
async fn a_registry_with_tls_has_no_page_without_it() {
    for link in [
        "<http://{registry}/x>; rel=\"next\"",
        "<http://{sink}/x>; rel=\"next\"",
    ] {
        let trap = Trap::set(Wire::Tls, None).await;
        let header = Action::SetHeader("link", trap.fill(link));
        trap.registry.add(Rule::on(Endpoint::Tags, header));
        trap.spring(link, Ask::Tags, Refused).await;
    }
}
