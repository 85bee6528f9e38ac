//! TLS: who is trusted, and what is not read without it.

use transship::git::GitAccess;
use transship::reason::Reason;

use super::{Volume, Wanted, access, assert_brought, resolve_branch};
use crate::support::git_server::{GitRepository, GitServer};
use crate::support::scripted_server::respond;
use crate::support::tls::Authority;

/// Access as it is in a cluster: not without TLS.
fn secure(entries: &[(&str, &str)]) -> GitAccess {
    GitAccess {
        insecure: false,
        ..access(entries)
    }
}

#[tokio::test]
async fn a_certificate_of_an_authority_of_the_secret_is_trusted() {
    let authority = Authority::new();
    let server = GitServer::builder()
        .tls(&authority.issue("127.0.0.1"))
        .basic("user", "password")
        .start()
        .await;
    let repository = GitRepository::new();
    repository.write("file", "content");
    let commit = repository.commit();
    let url = server.serve("app.git", &repository);
    let access = secure(&[
        ("ca.crt", &authority.certificate()),
        ("username", "user"),
        ("password", "password"),
    ]);
    assert_brought(&url, &commit, &access, "content").await;
}

#[tokio::test]
async fn other_certificates_are_not() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let trusting = secure(&[("ca.crt", &authority.certificate())]);
    let issued = [
        stranger.issue("127.0.0.1"),
        authority.issue("localhost.test"),
        authority.issue_expired("127.0.0.1"),
    ];
    for issued in issued {
        let server = GitServer::builder().tls(&issued).start().await;
        let url = server.serve("app.git", &GitRepository::new());
        for access in [&trusting, &secure(&[])] {
            let error = resolve_branch(&url, "main", access).await.unwrap_err();
            assert_eq!(error.reason, Reason::TlsUntrusted, "{error}");
            assert!(error.message.contains("ca.crt"), "{error}");
        }
        assert_eq!(server.asked().len(), 0);
    }
}

#[tokio::test]
async fn without_tls_nothing_is_read_unless_it_is_allowed() {
    let server = GitServer::start().await;
    let repository = GitRepository::new();
    let commit = repository.commit();
    let url = server.serve("app.git", &repository);
    let error = resolve_branch(&url, "main", &secure(&[]))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::InvalidSpec, "{error}");
    let fetched = Volume::new()
        .fetch(&url, &commit, &Wanted::default(), &secure(&[]))
        .await;
    assert_eq!(fetched.unwrap_err().reason, Reason::InvalidSpec);
    assert_eq!(server.asked().len(), 0);
    assert_eq!(
        resolve_branch(&url, "main", &access(&[])).await.unwrap(),
        commit
    );
}

/// Neither does a server with TLS lead to one without.
#[tokio::test]
async fn no_redirect_leads_out_of_tls() {
    let open = GitServer::start().await;
    let repository = GitRepository::new();
    repository.commit();
    let plain = open.serve("app.git", &repository);
    let authority = Authority::new();
    let script = move |target: &str| {
        let rest = target.strip_prefix("/app.git")?;
        Some(respond(302, &[("location", &format!("{plain}{rest}"))], ""))
    };
    let server = GitServer::builder()
        .tls(&authority.issue("127.0.0.1"))
        .script(script)
        .start()
        .await;
    let access = secure(&[("ca.crt", &authority.certificate())]);
    let url = server.address("app.git");
    let error = resolve_branch(&url, "main", &access).await.unwrap_err();
    assert_eq!(error.reason, Reason::InvalidSpec, "{error}");
    assert_eq!(open.asked().len(), 0);
}
