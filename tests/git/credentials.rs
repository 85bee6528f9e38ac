//! Who is logged in where: right and wrong credentials, and servers that send elsewhere.

use rstest::rstest;
use transship::git::GitAccess;
use transship::reason::Reason;

use super::{Volume, Wanted, access, assert_brought, resolve_branch};
use crate::support::git_server::{GitRepository, GitServer, GitServerBuilder};
use crate::support::scripted_server::respond;

const PASSWORD: &str = "canary-7d1e-password";

fn password() -> GitAccess {
    access(&[("username", "user"), ("password", PASSWORD)])
}

fn token() -> GitAccess {
    access(&[("bearerToken", PASSWORD)])
}

fn repository() -> (GitRepository, String) {
    let repository = GitRepository::new();
    repository.write("file", "private");
    let commit = repository.commit();
    (repository, commit)
}

#[rstest]
#[case::password(GitServer::builder().basic("user", PASSWORD), password())]
#[case::token(GitServer::builder().bearer(PASSWORD), token())]
#[tokio::test]
async fn the_right_credentials_are_enough(
    #[case] server: GitServerBuilder,
    #[case] access: GitAccess,
) {
    let server = server.start().await;
    let (repository, commit) = repository();
    let url = server.serve("app.git", &repository);
    assert_brought(&url, &commit, &access, "private").await;
}

/// Whatever is in a password, it is not read as anything else.
#[tokio::test]
async fn passwords_may_have_any_character_of_a_line() {
    const STRANGE: &str = "p@ss:w/o?r#d%41 'x' \"y\" \\z $(id) ; ünï";
    let server = GitServer::builder().basic("us@er", STRANGE).start().await;
    let (repository, commit) = repository();
    let url = server.serve("app.git", &repository);
    let access = access(&[("username", "us@er"), ("password", STRANGE)]);
    assert_eq!(resolve_branch(&url, "main", &access).await.unwrap(), commit);
}

#[rstest]
#[case::none(access(&[]), "asks for credentials")]
#[case::password(access(&[("username", "user"), ("password", "canary-wrong")]), "refuses the credentials")]
#[case::token(access(&[("bearerToken", "canary-wrong")]), "credentials")]
#[tokio::test]
async fn wrong_credentials_are_named_and_not_shown(
    #[case] access: GitAccess,
    #[case] expected: &str,
) {
    let server = GitServer::builder().basic("user", PASSWORD).start().await;
    let (repository, _) = repository();
    let url = server.serve("app.git", &repository);
    let error = resolve_branch(&url, "main", &access).await.unwrap_err();
    assert_eq!(error.reason, Reason::SourceAuthenticationFailed, "{error}");
    assert!(error.message.contains(expected), "{error}");
    assert!(!error.message.contains("canary"), "{error}");
}

/// A server that sends every question for `/moved.git` to another address.
async fn sending_to(other: &str) -> GitServer {
    let other = other.to_owned();
    let script = move |target: &str| {
        let rest = target.strip_prefix("/moved.git")?;
        Some(respond(302, &[("location", &format!("{other}{rest}"))], ""))
    };
    let server = GitServer::builder().script(script).basic("user", PASSWORD);
    server.start().await
}

/// The same host, for example with `.git` at the end, is the same repository.
#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed_with_the_password() {
    let script = |target: &str| {
        let rest = target.strip_prefix("/moved")?;
        Some(respond(
            301,
            &[("location", &format!("/app.git{rest}"))],
            "",
        ))
    };
    let server = GitServer::builder()
        .script(script)
        .basic("user", PASSWORD)
        .start()
        .await;
    let (repository, commit) = repository();
    server.serve("app.git", &repository);
    let moved = server.address("moved");
    assert_eq!(
        resolve_branch(&moved, "main", &password()).await.unwrap(),
        commit
    );
}

#[rstest]
#[case::password(password(), Reason::SourceAuthenticationFailed)]
#[case::token(token(), Reason::RepositoryNotFound)]
#[tokio::test]
async fn another_host_gets_no_credentials(#[case] access: GitAccess, #[case] expected: Reason) {
    // One that asks for a password, and one that is open: both get nothing.
    let closed = GitServer::builder().basic("user", PASSWORD).start().await;
    let open = GitServer::start().await;
    let (repository, commit) = repository();
    for other in [&closed, &open] {
        let url = other.serve("app.git", &repository);
        let server = sending_to(&url).await;
        let moved = server.address("moved.git");
        let resolved = resolve_branch(&moved, "main", &access).await;
        let fetched = Volume::new()
            .fetch(&moved, &commit, &Wanted::default(), &access)
            .await;
        if url == closed.address("app.git") {
            assert_eq!(resolved.unwrap_err().reason, expected);
            assert_eq!(fetched.unwrap_err().reason, expected);
        }
        for asked in other.asked() {
            assert_eq!(asked.authorization, None, "{}", asked.path);
        }
    }
    // A token is not even taken there; a password follows as far as the question for one.
    let reached = !open.asked().is_empty();
    assert_eq!(reached, expected == Reason::SourceAuthenticationFailed);
}
