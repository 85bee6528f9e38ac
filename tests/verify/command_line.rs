//! The options of `copy` and `verify`.

use std::path::{Path, PathBuf};

use super::scene::Scene;
use super::signer::{ISSUER, Request, SUBJECT, World};
use crate::cli::{run, stderr, stdout};

/// The keys and the root as files.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn of(world: &World) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            std::fs::write(directory.path().join(name), content).unwrap();
        };
        for (name, key) in &world.keys {
            write(&format!("{name}.pub"), key);
        }
        write("trusted_root.json", &world.trusted_root.to_string());
        Self { directory }
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        path.display().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_takes_keys() {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let world = World::make(&[Request::by_key(&image, "simple", "p256")]).await;
    scene.sign_by_tag(&image, &world.signatures);
    let files = Files::of(&world);
    let from = format!("{}/app:v1", scene.source.host());
    let to = format!("{}/m/app:v1", scene.destination.host());

    let refused = run(&["copy", "--verify-key", &files.path("other.pub"), &from, &to]);
    assert_eq!(refused.status.code(), Some(10));
    let message = stderr(&refused);
    assert!(message.contains("none of the keys made it"), "{message}");
    assert!(message.contains("(VerificationFailed)"), "{message}");
    let planned = run(&[
        "copy",
        "--dry-run",
        "--verify-key",
        &files.path("other.pub"),
        &from,
        &to,
    ]);
    assert_eq!(planned.status.code(), Some(10));
    scene.assert_nothing_written();

    // Either of two, as while a key is being replaced.
    let (old, new) = (files.path("other.pub"), files.path("p256.pub"));
    let copied = run(&[
        "copy",
        "--verify-key",
        &old,
        "--verify-key",
        &new,
        &from,
        &to,
    ]);
    assert_eq!(stdout(&copied), format!("{to}@{image}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_and_verify_take_identities() {
    let scene = Scene::start().await;
    let image = scene.seed_image();
    let world = World::make(&[Request::by_identity(&image, "bundle")]).await;
    scene.sign_by_referrer(&image, &world.signatures[0]);
    let files = Files::of(&world);
    let root = files.path("trusted_root.json");
    let from = format!("{}/app:v1", scene.source.host());
    let to = format!("{}/m/app:v1", scene.destination.host());
    let by = |subject: [&str; 2], command: &[&str]| {
        let mut arguments = command.to_vec();
        arguments.extend(subject);
        arguments.extend(["--certificate-oidc-issuer", ISSUER, "--trusted-root", &root]);
        run(&arguments)
    };

    let stranger = ["--certificate-identity", "https://forge.test/stranger"];
    let refused = by(stranger, &["copy", &from, &to]);
    assert_eq!(refused.status.code(), Some(10));
    let message = stderr(&refused);
    assert!(
        message.contains(&format!("{SUBJECT} signed it")),
        "{message}"
    );
    scene.assert_nothing_written();
    let unsound = by(stranger, &["verify", &from]);
    assert_eq!(unsound.status.code(), Some(1));
    let faults = String::from_utf8(unsound.stdout).unwrap();
    assert!(faults.contains(&format!("{SUBJECT} signed it")), "{faults}");

    let release = ["--certificate-identity-regexp", "https://forge.test/org/.*"];
    stdout(&by(release, &["copy", &from, &to]));
    // The signature came along.
    stdout(&by(release, &["verify", &to]));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_options_that_mean_nothing_are_refused() {
    let world = World::make(&[]).await;
    let files = Files::of(&world);
    let (key, root) = (files.path("p256.pub"), files.path("trusted_root.json"));
    let fail = |code: i32, options: &[&str]| {
        let mut arguments = vec!["copy", "a.test/app:1", "b.test/app:1"];
        arguments.extend(options);
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(code), "{options:?}: {output:?}");
        stderr(&output)
    };
    let missing = Path::new(&key)
        .with_extension("missing")
        .display()
        .to_string();
    assert!(fail(1, &["--verify-key", &missing]).contains("cannot read"));
    assert!(fail(1, &["--verify-key", &root]).contains("cosign public-key"));
    let no_root = ["--verify-key", &key, "--trusted-root", &key];
    assert!(fail(1, &no_root).contains("it is not a trusted root"));
    fail(2, &["--trusted-root", &root]);
    fail(
        2,
        &["--certificate-identity", SUBJECT, "--trusted-root", &root],
    );
    fail(
        2,
        &[
            "--certificate-identity",
            SUBJECT,
            "--certificate-oidc-issuer",
            ISSUER,
        ],
    );
    let both = ["--verify-key", &key, "--certificate-identity", SUBJECT];
    fail(
        2,
        &[
            &both[..],
            &["--certificate-oidc-issuer", ISSUER, "--trusted-root", &root],
        ]
        .concat(),
    );
    let broken = [
        "--certificate-identity-regexp",
        "(",
        "--certificate-oidc-issuer",
        ISSUER,
    ];
    let broken = fail(1, &[&broken[..], &["--trusted-root", &root]].concat());
    assert!(
        broken.contains("subject: not a regular expression"),
        "{broken}"
    );
}
