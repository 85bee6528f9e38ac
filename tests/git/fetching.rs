//! What a fetch brings of a repository.

use std::os::unix::fs::PermissionsExt as _;

use rstest::rstest;
use transship::reason::Reason;

use super::{Volume, Wanted, access, files};
use crate::support::git_server::{COMMIT_TIME, GitRepository, GitServer};

#[rstest]
#[case::sha1("sha1")]
#[case::sha256("sha256")]
#[tokio::test]
async fn the_files_of_the_commit_are_brought_and_nothing_else(#[case] format: &str) {
    let server = GitServer::start().await;
    let repository = GitRepository::with_format(format);
    repository.write("Dockerfile", "FROM scratch\n");
    repository.write("bin/run", "#!/bin/sh\n");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(repository.path().join("bin/run"), executable).unwrap();
    repository.link("latest", "bin/run");
    let commit = repository.commit();
    repository.write("later", "not yet");
    repository.commit();
    let url = server.serve("app.git", &repository);

    let volume = Volume::new();
    let made = volume
        .fetch(&url, &commit, &Wanted::default(), &access(&[]))
        .await;
    assert_eq!(made, Ok(COMMIT_TIME));
    let expected = [
        ("Dockerfile", "FROM scratch\n"),
        ("bin/run", "#!/bin/sh\n"),
        ("latest", "-> bin/run"),
    ];
    assert_eq!(volume.files(), files(&expected));
    assert_eq!(volume.mode("bin/run") & 0o111, 0o111);
    assert_eq!(volume.mode("Dockerfile") & 0o111, 0);
}

#[tokio::test]
async fn a_directory_of_the_repository_can_be_the_context() {
    let server = GitServer::start().await;
    let repository = GitRepository::new();
    repository.write("services/app/Dockerfile", "FROM scratch\n");
    repository.write("services/app/deep/file", "deep");
    repository.write("secret", "not of this service");
    repository.link("services/linked", "app");
    let commit = repository.commit();
    let url = server.serve("app.git", &repository);

    let wanted = |path| Wanted {
        path: Some(path),
        ..Wanted::default()
    };
    let volume = Volume::new();
    let made = volume
        .fetch(&url, &commit, &wanted("services/app"), &access(&[]))
        .await;
    made.unwrap();
    let expected = [("Dockerfile", "FROM scratch\n"), ("deep/file", "deep")];
    assert_eq!(volume.files(), files(&expected));

    for path in ["missing", "secret", "services/linked", "services/app/.."] {
        let fetched = Volume::new()
            .fetch(&url, &commit, &wanted(path), &access(&[]))
            .await;
        let error = fetched.unwrap_err();
        assert_eq!(error.reason, Reason::PathNotFound, "{path}: {error}");
        assert!(
            error.message.contains(&format!("no directory {path}")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_commit_that_is_not_there_is_named() {
    let server = GitServer::start().await;
    let repository = GitRepository::new();
    repository.commit();
    let url = server.serve("app.git", &repository);
    let commit = "c".repeat(40);
    let fetched = Volume::new()
        .fetch(&url, &commit, &Wanted::default(), &access(&[]))
        .await;
    let error = fetched.unwrap_err();
    assert_eq!(error.reason, Reason::CommitNotFound, "{error}");
    assert!(error.message.contains(&commit), "{error}");
}

/// The history of a branch with the commit in it, at its end or before.
#[rstest]
#[case::at_the_end(0, true)]
#[case::before_the_end(3, true)]
#[case::somewhere(3, false)]
#[tokio::test]
async fn a_server_that_gives_out_no_commits_is_asked_for_what_leads_there(
    #[case] later: usize,
    #[case] has_reference: bool,
) {
    let server = GitServer::builder().old_protocol().start().await;
    let repository = GitRepository::new();
    repository.commit();
    repository.write("file", "wanted");
    let commit = repository.commit();
    for number in 0..later {
        repository.write("file", &format!("later {number}"));
        repository.commit();
    }
    let url = server.serve("app.git", &repository);
    let wanted = Wanted {
        reference: has_reference.then_some("refs/heads/main"),
        ..Wanted::default()
    };

    let volume = Volume::new();
    let made = volume.fetch(&url, &commit, &wanted, &access(&[])).await;
    assert_eq!(made, Ok(COMMIT_TIME));
    assert_eq!(volume.files(), files(&[("file", "wanted")]));

    let lost = "c".repeat(40);
    let fetched = Volume::new()
        .fetch(&url, &lost, &wanted, &access(&[]))
        .await;
    assert_eq!(fetched.unwrap_err().reason, Reason::CommitNotFound);
}

/// A repository says which program a file goes through; there is none.
#[tokio::test]
async fn filters_and_line_endings_of_the_machine_change_nothing() {
    let server = GitServer::start().await;
    let repository = GitRepository::new();
    repository.write(
        ".gitattributes",
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    );
    repository.write("model.bin", "version https://git-lfs.github.com/spec/v1\n");
    repository.write("text", "one\ntwo\n");
    let commit = repository.commit();
    let url = server.serve("app.git", &repository);
    let volume = Volume::new();
    let made = volume
        .fetch(&url, &commit, &Wanted::default(), &access(&[]))
        .await;
    made.unwrap();
    let files = volume.files();
    assert_eq!(
        files["model.bin"],
        "version https://git-lfs.github.com/spec/v1\n"
    );
    assert_eq!(files["text"], "one\ntwo\n");
}
