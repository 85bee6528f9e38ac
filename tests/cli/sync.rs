//! `sync` of a mirror that names a repository: the tags that its rules select, and no others.

use tempfile::TempDir;

use super::{publish, run, stderr, stdout};
use crate::support::docker_registry::DockerRegistry;
use crate::support::{client, plain};

fn mirror(directory: &TempDir, source: &str, destination: &str, tags: &str) -> String {
    let path = directory.path().join("mirror.yaml");
    let text = format!(
        "apiVersion: transship.dev/v1alpha1\nkind: ImageMirror\nmetadata: {{name: base}}\nspec:\n  \
         sources: [{{repository: {source}/app, tags: {tags}}}]\n  \
         destinations: [{{prefix: {destination}, path: mirror}}]\n"
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn selected_tags_of_a_repository_are_copied() {
    let (source, destination) = (DockerRegistry::plain(), DockerRegistry::plain());
    publish(&client(source.host(), &plain()), "app").await;
    let directory = tempfile::tempdir().unwrap();
    let pushed = |tag: &str| {
        let (from, to) = (
            format!("{}/app:1", source.host()),
            format!("{}/app:{tag}", source.host()),
        );
        stdout(&run(&["copy", &from, &to]));
    };
    for tag in ["1.28", "1.29", "1.29-alpine", "latest"] {
        pushed(tag);
    }
    let rules = "{semver: '>=1.28', exclude: ['*-alpine']}";
    let file = mirror(&directory, source.host(), destination.host(), rules);
    stdout(&run(&["sync", "--file", &file]));
    let tags = stdout(&run(&[
        "list-tags",
        &format!("{}/mirror", destination.host()),
    ]));
    assert_eq!(tags, "1.28\n1.29\n");

    let file = mirror(
        &directory,
        source.host(),
        destination.host(),
        "{include: ['9*']}",
    );
    let nothing = run(&["sync", "--file", &file]);
    assert_eq!(nothing.status.code(), Some(1));
    let text = stderr(&nothing);
    assert!(
        text.contains("/app: none of 5 tags matches; correct the rules"),
        "{text}"
    );
}
