//! `--failure-policy strict`: all images or none.

use axum::http::Method;
use tempfile::TempDir;

use super::images::mirror_file;
use super::{run, stderr, stdout};
use crate::support::registry::{Action, Endpoint, Registry, Rule};

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_with_one_image_that_is_absent_moves_no_tag() {
    let (source, destination) = (Registry::start().await, Registry::start().await);
    source.seed_image("app", Some("1"), &[b"layer"]);
    let directory = TempDir::new().unwrap();
    let [present, absent] = ["1", "absent"].map(|tag| format!("{}/app:{tag}", source.host()));
    let file = mirror_file(
        &directory,
        &[&present, &absent],
        &format!("{}/m", destination.host()),
    );
    let output = run(&["sync", "-f", &file, "--failure-policy", "strict"]);
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let said = stderr(&output);
    assert!(
        said.contains("HeldBack") && said.contains("SourceNotFound"),
        "{said}"
    );
    let repository = format!("m/{}/app", source.host().replace(':', "_"));
    assert_eq!(destination.manifest(&repository, "1"), None);
}

/// A layout shows nothing before it has its table of contents.
#[tokio::test(flavor = "multi_thread")]
async fn a_layout_gets_all_tags_or_none() {
    let source = Registry::start().await;
    source.seed_image("app", Some("1"), &[b"one"]);
    let broken = source.seed_image("app", Some("2"), &[b"two"]);
    let denied = Rule::on(Endpoint::Manifest, Action::status(403)).method(Method::GET);
    let named = [format!("/{broken}"), "/2".to_owned()];
    source.add(denied.when(move |asked| named.iter().any(|name| asked.path.ends_with(name))));
    let directory = TempDir::new().unwrap();
    let layout = directory.path().join("layout");
    let from = format!("{}/app", source.host());
    let to = format!("oci:{}", layout.display());
    let arguments = [
        "copy",
        "--all-tags",
        "--failure-policy",
        "strict",
        &from,
        &to,
    ];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    assert!(!layout.join("index.json").exists(), "{output:?}");

    source.clear_rules();
    stdout(&run(&arguments));
    assert_eq!(stdout(&run(&["list-tags", &to])), "1\n2\n");
}
