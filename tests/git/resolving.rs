//! What branches and tags of a repository are, and how it is said that they are not there.

use rstest::rstest;
use transship::git::ReferenceName;
use transship::reason::Reason;

use super::{access, resolve_branch, resolve_reference};
use crate::support::git_server::{GitRepository, GitServer};

#[rstest]
#[case::sha1("sha1", 40)]
#[case::sha256("sha256", 64)]
#[tokio::test]
async fn branches_and_tags_are_commits(#[case] format: &str, #[case] digits: usize) {
    let server = GitServer::start().await;
    let repository = GitRepository::with_format(format);
    let first = repository.commit();
    repository.git(&["tag", "light"]);
    repository.git(&["tag", "--annotate", "--message=release", "heavy"]);
    repository.git(&["branch", "feature/one"]);
    // Names that end like the ones that are looked for.
    repository.git(&["branch", "other/refs/heads/main", "light"]);
    repository.git(&["branch", "light"]);
    let second = repository.commit();
    assert!(first != second && first.len() == digits);
    let url = server.serve("app.git", &repository);

    let anonymous = access(&[]);
    let branch = |name| resolve_branch(&url, name, &anonymous);
    assert_eq!(branch("main").await.unwrap(), second);
    assert_eq!(branch("feature/one").await.unwrap(), first);
    for tag in ["light", "heavy"] {
        let tag = ReferenceName::tag(tag).unwrap();
        let found = resolve_reference(&url, &tag, &anonymous).await;
        assert_eq!(found.unwrap(), first);
    }
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let server = GitServer::start().await;
    let repository = GitRepository::new();
    repository.commit();
    repository.git(&["tag", "v1"]);
    let url = server.serve("app.git", &repository);
    let empty = server.serve("empty.git", &GitRepository::new());
    let anonymous = access(&[]);

    for (url, name) in [(&url, "v1"), (&url, "mai"), (&empty, "main")] {
        let error = resolve_branch(url, name, &anonymous).await.unwrap_err();
        assert_eq!(error.reason, Reason::ReferenceNotFound, "{error}");
        assert!(
            error.message.contains(&format!("has no branch {name}")),
            "{error}"
        );
    }
    let missing = server.address("missing.git");
    let error = resolve_branch(&missing, "main", &anonymous)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::RepositoryNotFound, "{error}");
    assert!(error.message.contains(&missing), "{error}");
}
