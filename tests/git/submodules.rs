//! Repositories that have commits of other repositories in them.

use rstest::rstest;
use transship::reason::Reason;

use super::{Volume, Wanted, access, files};
use crate::support::git_server::{GitRepository, GitServer};

const WITH_SUBMODULES: Wanted<'_> = Wanted {
    reference: None,
    path: None,
    submodules: true,
};

/// A library that has a library, and an application that has both; gives the application.
fn serve_application(server: &GitServer) -> (String, String) {
    let inner = GitRepository::new();
    inner.write("inner", "inner");
    let inner_commit = inner.commit();
    inner.write("inner", "later");
    inner.commit();
    server.serve("libraries/inner.git", &inner);

    let outer = GitRepository::new();
    outer.write("outer", "outer");
    outer.git(&["add", "outer"]);
    outer.add_submodule("deep/inner", "../inner.git", &inner_commit);
    let outer_commit = outer.commit_added();
    let outer_url = server.serve("libraries/outer.git", &outer);

    let application = GitRepository::new();
    application.write("app/main", "main");
    application.git(&["add", "app"]);
    application.add_submodule("app/outer", "../../libraries/outer.git", &outer_commit);
    application.add_submodule("other", &outer_url, &outer_commit);
    let commit = application.commit_added();
    (server.serve("team/app.git", &application), commit)
}

#[tokio::test]
async fn submodules_are_brought_when_they_are_asked_for() {
    let server = GitServer::builder().basic("user", "password").start().await;
    let (url, commit) = serve_application(&server);
    let access = access(&[("username", "user"), ("password", "password")]);

    let volume = Volume::new();
    let made = volume
        .fetch(&url, &commit, &Wanted::default(), &access)
        .await;
    made.unwrap();
    assert_eq!(volume.files()["app/main"], "main");
    assert!(!volume.files().keys().any(|name| name.contains("outer/")));

    let volume = Volume::new();
    let made = volume.fetch(&url, &commit, &WITH_SUBMODULES, &access).await;
    made.unwrap();
    let mut found = volume.files();
    found.retain(|name, _| !name.ends_with(".gitmodules"));
    let expected = [
        ("app/main", "main"),
        ("app/outer/outer", "outer"),
        ("app/outer/deep/inner/inner", "inner"),
        ("other/outer", "outer"),
        ("other/deep/inner/inner", "inner"),
    ];
    assert_eq!(found, files(&expected));
}

#[tokio::test]
async fn only_submodules_of_the_directory_that_is_wanted_are_brought() {
    let server = GitServer::start().await;
    let (url, commit) = serve_application(&server);
    let wanted = Wanted {
        path: Some("app"),
        ..WITH_SUBMODULES
    };
    let volume = Volume::new();
    let made = volume.fetch(&url, &commit, &wanted, &access(&[])).await;
    made.unwrap();
    let mut found = volume.files();
    found.retain(|name, _| !name.ends_with(".gitmodules"));
    let expected = [
        ("main", "main"),
        ("outer/outer", "outer"),
        ("outer/deep/inner/inner", "inner"),
    ];
    assert_eq!(found, files(&expected));
}

#[rstest]
#[case::command("ext::sh -c 'touch PWNED'")]
#[case::option("--upload-pack=touch PWNED")]
#[case::file("file:///etc")]
#[case::path("/etc")]
#[case::out("../../../../../etc")]
#[tokio::test]
async fn a_submodule_is_a_repository_somewhere(#[case] address: &str) {
    let server = GitServer::start().await;
    let repository = GitRepository::new();
    repository.add_submodule("module", address, &"c".repeat(40));
    let commit = repository.commit_added();
    let url = server.serve("app.git", &repository);
    let volume = Volume::new();
    let fetched = volume
        .fetch(&url, &commit, &WITH_SUBMODULES, &access(&[]))
        .await;
    let error = fetched.unwrap_err();
    assert_eq!(error.reason, Reason::SourceInvalid, "{error}");
    assert!(error.message.contains("submodule module"), "{error}");
}

/// A repository that has itself in it.
#[tokio::test]
async fn submodules_come_to_an_end() {
    let server = GitServer::start().await;
    let mut commit = "c".repeat(40);
    for number in 0..12 {
        let repository = GitRepository::new();
        repository.write("file", &number.to_string());
        repository.git(&["add", "file"]);
        if number > 0 {
            let next = server.address(&format!("{}.git", number - 1));
            repository.add_submodule("next", &next, &commit);
        }
        commit = repository.commit_added();
        server.serve(&format!("{number}.git"), &repository);
    }
    let last = server.address("11.git");
    let fetched = Volume::new()
        .fetch(&last, &commit, &WITH_SUBMODULES, &access(&[]))
        .await;
    let error = fetched.unwrap_err();
    assert_eq!(error.reason, Reason::SourceInvalid, "{error}");
    assert!(error.message.contains("submodules"), "{error}");
}
