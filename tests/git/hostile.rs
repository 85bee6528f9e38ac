//! Servers and repositories that mean harm, and machines that are set up for something else.

use std::time::Duration;

use axum::body::Body;
use futures::stream;
use rstest::rstest;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use transship::git::{ReferenceName, resolve};
use transship::reason::Reason;

use super::{Volume, Wanted, access, names_in, resolve_branch};
use crate::support::git_server::{GitRepository, GitServer};
use crate::support::scripted_server::respond;

#[rstest]
#[case::server_error(503, Reason::SourceUnreachable)]
#[case::forbidden(403, Reason::SourceAuthenticationFailed)]
#[case::gone(404, Reason::RepositoryNotFound)]
#[case::no_git(200, Reason::RepositoryNotFound)]
#[tokio::test]
async fn answers_that_are_none_have_their_reason(#[case] code: u16, #[case] expected: Reason) {
    let server = GitServer::builder()
        .script(move |_| {
            Some(respond(
                code,
                &[("content-type", "text/html")],
                "<!DOCTYPE html>\n<html>hello</html>\n",
            ))
        })
        .start()
        .await;
    let url = server.address("app.git");
    let error = resolve_branch(&url, "main", &access(&[]))
        .await
        .unwrap_err();
    assert_eq!(error.reason, expected, "{error}");
    assert!(
        error.message.contains(&url) && !error.message.contains("hello"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_cannot_be_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for url in [
        format!("http://{address}/app.git"),
        "http://git.invalid/app.git".to_owned(),
    ] {
        let error = resolve_branch(&url, "main", &access(&[]))
            .await
            .unwrap_err();
        assert_eq!(error.reason, Reason::SourceUnreachable, "{error}");
    }
}

/// The program that holds the connection is a child of `git`: it ends as well.
#[tokio::test]
async fn a_server_that_never_answers_is_left_in_time_with_all_that_waits_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/app.git", listener.local_addr().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let branch = ReferenceName::branch("main").unwrap();
    let (url, access, limit) = (url.parse().unwrap(), access(&[]), Duration::from_secs(2));
    let resolving = resolve(&url, &branch, &access, scratch.path(), limit);
    let waiting = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        // Until the other end is closed, which nobody but us could do.
        stream.read_to_end(&mut request).await.unwrap();
        request
    };
    let (resolved, request) = tokio::join!(resolving, waiting);
    let error = resolved.unwrap_err();
    assert_eq!(error.reason, Reason::SourceUnreachable, "{error}");
    assert!(error.message.contains("in time"), "{error}");
    assert!(request.starts_with(b"GET /app.git/info/refs"));
    assert_eq!(names_in(scratch.path()), [""; 0]);
}

/// An answer that goes on for ever is not kept.
#[tokio::test]
async fn a_server_that_lists_without_end_is_refused() {
    let line = format!("003e{} refs/heads/main\n", "a".repeat(40));
    let head = format!("001e# service=git-upload-pack\n0000{line}");
    let script = move |_: &str| {
        let pieces = [head.clone()]
            .into_iter()
            .chain(std::iter::repeat(line.clone()));
        let pieces = pieces.map(Ok::<_, std::io::Error>);
        let headers = [(
            "content-type",
            "application/x-git-upload-pack-advertisement",
        )];
        Some(respond(
            200,
            &headers,
            Body::from_stream(stream::iter(pieces)),
        ))
    };
    let server = GitServer::builder().script(script).start().await;
    let scratch = tempfile::tempdir().unwrap();
    let branch = ReferenceName::branch("main").unwrap();
    let url = server.address("app.git").parse().unwrap();
    let resolved = resolve(
        &url,
        &branch,
        &access(&[]),
        scratch.path(),
        Duration::from_secs(3),
    )
    .await;
    assert!(resolved.is_err(), "{resolved:?}");
}

/// What a server sends back of the credentials, or says in their place, is not shown.
#[tokio::test]
async fn what_a_server_says_is_not_repeated() {
    let server = GitServer::builder()
        .script(|_| {
            let body = "ERR the password is canary-2b";
            let body = format!(
                "001e# service=git-upload-pack\n0000{:04x}{body}",
                body.len() + 4
            );
            let headers = [(
                "content-type",
                "application/x-git-upload-pack-advertisement",
            )];
            Some(respond(200, &headers, body))
        })
        .start()
        .await;
    let access = access(&[("username", "user"), ("password", "canary-2b")]);
    let error = resolve_branch(&server.address("app.git"), "main", &access)
        .await
        .unwrap_err();
    assert!(!error.message.contains("canary"), "{error}");
}

/// Trees that would write into a repository's own directory, or beside the context.
#[rstest]
#[case::repository(".git")]
#[case::repository_by_case(".GIT")]
#[case::parent("..")]
#[tokio::test]
async fn names_that_lead_out_are_not_written(#[case] name: &str) {
    let server = GitServer::start().await;
    let repository = GitRepository::new();
    repository.write("payload", "payload");
    repository.git(&["add", "payload"]);
    let blob = repository.git(&["rev-parse", ":payload"]);
    let inner = make_tree(&repository, &[("100644 blob", &blob, "config")]);
    let tree = make_tree(&repository, &[("040000 tree", &inner, name)]);
    let commit = repository.git(&["commit-tree", &tree, "-m", "hostile"]);
    repository.git(&["update-ref", "refs/heads/hostile", &commit]);
    let url = server.serve("app.git", &repository);
    let volume = Volume::new();
    let fetched = volume
        .fetch(&url, &commit, &Wanted::default(), &access(&[]))
        .await;
    assert!(fetched.is_err(), "{:?}", volume.files());
}

/// A tree with entries that `git mktree` takes and `git add` would not.
fn make_tree(repository: &GitRepository, entries: &[(&str, &str, &str)]) -> String {
    let lines = entries.iter();
    let lines = lines.map(|(kind, object, name)| format!("{kind} {object}\t{name}"));
    let listing = lines.collect::<Vec<_>>().join("\n") + "\n";
    let file = repository.path().join(".git/entries");
    std::fs::write(&file, listing).unwrap();
    let output = std::process::Command::new("git")
        .arg("mktree")
        .current_dir(repository.path())
        .stdin(std::fs::File::open(file).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
