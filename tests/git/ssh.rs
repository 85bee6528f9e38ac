//! Repositories over OpenSSH's own server.

use transship::git::GitAccess;
use transship::reason::Reason;

use super::{access, assert_brought, resolve_branch};
use crate::support::git_server::GitRepository;
use crate::support::ssh_server::SshServer;

async fn start() -> SshServer {
    SshServer::start("127.0.0.1", "127.0.0.1").await
}

fn access_with(server: &SshServer, identity: &str, host: &str) -> GitAccess {
    access(&[
        ("identity", &server.key(identity)),
        ("known_hosts", &server.known_hosts(host)),
    ])
}

#[tokio::test]
async fn a_known_host_gives_out_its_repository() {
    let server = start().await;
    let repository = GitRepository::new();
    repository.write("file", "content");
    let commit = repository.commit();
    let url = server.address(repository.path().to_str().unwrap());
    let access = access_with(&server, "identity", "host");
    assert_brought(&url, &commit, &access, "content").await;

    let missing = server.address("/nowhere/app.git");
    let error = resolve_branch(&missing, "main", &access).await.unwrap_err();
    assert_eq!(error.reason, Reason::RepositoryNotFound, "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_host_or_key_is_said() {
    let server = start().await;
    let repository = GitRepository::new();
    repository.commit();
    let url = server.address(repository.path().to_str().unwrap());

    let changed = access_with(&server, "identity", "stranger");
    let unknown = access(&[
        ("identity", &server.key("identity")),
        ("known_hosts", "git.example ssh-ed25519 AAAA"),
    ]);
    for access in [&changed, &unknown] {
        let error = resolve_branch(&url, "main", access).await.unwrap_err();
        assert_eq!(error.reason, Reason::HostKeyMismatch, "{error}");
        assert!(error.message.contains("known_hosts"), "{error}");
    }

    let refused = access_with(&server, "stranger", "host");
    let error = resolve_branch(&url, "main", &refused).await.unwrap_err();
    assert_eq!(error.reason, Reason::SourceAuthenticationFailed, "{error}");

    let no_key = access(&[
        ("identity", "no key"),
        ("known_hosts", &server.known_hosts("host")),
    ]);
    let error = resolve_branch(&url, "main", &no_key).await.unwrap_err();
    assert_eq!(error.reason, Reason::SecretInvalid, "{error}");

    let password = access(&[("username", "user"), ("password", "password")]);
    let error = resolve_branch(&url, "main", &password).await.unwrap_err();
    assert_eq!(error.reason, Reason::SecretInvalid, "{error}");
    assert!(
        error.message.contains("identity and known_hosts"),
        "{error}"
    );
}

#[tokio::test]
async fn a_host_that_is_not_there_cannot_be_reached() {
    let server = start().await;
    let access = access_with(&server, "identity", "host");
    let url = server.address("/app.git");
    drop(server);
    let error = resolve_branch(&url, "main", &access).await.unwrap_err();
    assert_eq!(error.reason, Reason::SourceUnreachable, "{error}");
}
