//! Contexts from everywhere that a build can have them from.

use std::os::unix::fs::{MetadataExt as _, symlink};

use rstest::rstest;
use serde_json::{Value, json};
use transship::oci::Digest;

use super::{PASSWORD, Pod, plan_to_fetch};
use crate::support::git_server::{COMMIT_TIME, GitRepository, GitServer};
use crate::support::scripted_server::{ScriptedServer, respond, status};
use crate::support::tls::Authority;

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(1_600_000_000);
        archive
            .append_data(&mut header, name, content.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_read_with_the_mounted_credentials() {
    let authority = Authority::new();
    let server = GitServer::builder()
        .tls(&authority.issue("127.0.0.1"))
        .basic("builder", PASSWORD)
        .start()
        .await;
    let repository = GitRepository::new();
    repository.write("services/app/Dockerfile", "FROM scratch\n");
    repository.link("services/app/link", "Dockerfile");
    let commit = repository.commit();
    let url = server.serve("app.git", &repository);
    let pod = Pod::new(&plan_to_fetch(&json!({"git": {
        "url": url, "commit": commit, "reference": "refs/heads/main",
        "path": "services/app", "credentials": "git",
    }})));
    let secret = [
        ("username", "builder"),
        ("password", PASSWORD),
        ("ca.crt", &authority.certificate()),
    ];
    pod.mount("credentials", "git", &secret);

    let expected = json!({"commitTime": COMMIT_TIME, "files": 2, "bytes": 13});
    assert_eq!(pod.fetch().await.succeeded(), expected);
    let time = std::fs::read_to_string(pod.path("workspace/source-date-epoch")).unwrap();
    assert_eq!(time, COMMIT_TIME.to_string());
    let dockerfile = std::fs::metadata(pod.context("Dockerfile")).unwrap();
    assert_eq!(
        (dockerfile.mode() & 0o7777, dockerfile.mtime()),
        (0o644, COMMIT_TIME)
    );
    assert_eq!(
        std::fs::metadata(pod.context("")).unwrap().mode() & 0o7777,
        0o755
    );
    assert!(pod.context("link").is_symlink());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_with_a_link_that_leads_out_is_refused_by_name() {
    let server = GitServer::start().await;
    let repository = GitRepository::new();
    repository.write("Dockerfile", "FROM scratch\n");
    repository.link("passwords", "../../etc/passwd");
    let commit = repository.commit();
    let url = server.serve("app.git", &repository);
    let source = json!({"git": {"url": url, "commit": commit, "insecure": true}});
    let failed = Pod::new(&plan_to_fetch(&source)).fetch().await.failed();
    assert_eq!(
        (&failed["class"], &failed["reason"]),
        (&json!("Source"), &json!("ContextInvalid"))
    );
    assert!(
        failed["message"].as_str().unwrap().contains("passwords"),
        "{failed}"
    );
}

#[rstest]
#[case::no_secret(json!({"credentials": "git"}), "SecretInvalid")]
#[case::no_commit(json!({"commit": "c".repeat(40)}), "CommitNotFound")]
#[case::no_directory(json!({"path": "missing"}), "PathNotFound")]
#[case::no_tls(json!({"insecure": false}), "InvalidSpec")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_repository_is_reported(#[case] change: Value, #[case] reason: &str) {
    let server = GitServer::start().await;
    let repository = GitRepository::new();
    let commit = repository.commit();
    let url = server.serve("app.git", &repository);
    let mut source = json!({"git": {"url": url, "commit": commit, "insecure": true}});
    for (name, value) in change.as_object().unwrap() {
        source["git"][name] = value.clone();
    }
    let failed = Pod::new(&plan_to_fetch(&source)).fetch().await.failed();
    assert_eq!(
        (&failed["class"], &failed["reason"]),
        (&json!("Source"), &json!(reason)),
        "{failed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mounted_files_are_copied() {
    let pod = Pod::new(&plan_to_fetch(&json!("files")));
    let files = pod.path("files");
    std::fs::create_dir_all(files.join("..2026")).unwrap();
    std::fs::write(files.join("..2026/Dockerfile"), "FROM scratch\n").unwrap();
    symlink("..2026", files.join("..data")).unwrap();
    symlink("..data/Dockerfile", files.join("Dockerfile")).unwrap();
    assert_eq!(
        pod.fetch().await.succeeded(),
        json!({"files": 1, "bytes": 13})
    );
    assert!(!pod.context("Dockerfile").is_symlink());
}

#[rstest]
#[case::plain(|tar: Vec<u8>| tar)]
#[case::zstd(|tar: Vec<u8>| zstd::encode_all(&tar[..], 3).unwrap())]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_on_a_web_server_is_unpacked(#[case] pack: fn(Vec<u8>) -> Vec<u8>) {
    let content = pack(tar(&[
        ("Dockerfile", "FROM scratch\n"),
        ("src/main", "main"),
    ]));
    let checksum = Digest::sha256(&content);
    // After an answer that may be another one the next time, and elsewhere.
    let server = ScriptedServer::start({
        let asked = std::sync::atomic::AtomicUsize::new(0);
        move |request| match request.path() {
            "/context.tar" => respond(
                302,
                &[("location", "/moved?token=canary-91c4-password")],
                "",
            ),
            _ if asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 => status(503),
            _ => respond(200, &[], content.clone()),
        }
    })
    .await;
    let url = format!("http://{}/context.tar?token={PASSWORD}", server.host());
    let source = json!({"http": {"url": url, "checksum": checksum, "insecure": true}});
    let pod = Pod::new(&plan_to_fetch(&source));
    // The address may have a secret in it: it is neither logged nor reported.
    assert_eq!(
        pod.fetch().await.succeeded(),
        json!({"files": 2, "bytes": 17})
    );
    let main = std::fs::metadata(pod.context("src/main")).unwrap();
    assert_eq!((main.mode() & 0o7777, main.mtime()), (0o644, 315_532_800));
}

#[rstest]
#[case::other_content(200, true, "ChecksumMismatch")]
#[case::not_there(404, true, "SourceNotFound")]
#[case::refused(403, true, "SourceAuthenticationFailed")]
#[case::no_tls(200, false, "InvalidSpec")]
#[tokio::test(flavor = "multi_thread")]
async fn another_file_is_not_unpacked(
    #[case] code: u16,
    #[case] insecure: bool,
    #[case] reason: &str,
) {
    let content = tar(&[("Dockerfile", "FROM scratch\n")]);
    let server = ScriptedServer::start(move |_| respond(code, &[], content.clone())).await;
    let url = format!("http://{}/context.tar", server.host());
    let checksum = Digest::sha256(b"another");
    let source = json!({"http": {"url": url, "checksum": checksum, "insecure": insecure}});
    let pod = Pod::new(&plan_to_fetch(&source));
    let failed = pod.fetch().await.failed();
    assert_eq!(
        (&failed["class"], &failed["reason"]),
        (&json!("Source"), &json!(reason)),
        "{failed}"
    );
    assert!(!pod.context("Dockerfile").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_another_version_is_refused() {
    let mut plan = plan_to_fetch(&json!("files"));
    plan["version"] = json!(99);
    let ended = Pod::new(&plan).fetch().await;
    assert_eq!((ended.code, ended.report), (Some(1), Value::Null));
    assert!(
        ended
            .log
            .contains("the plan has version 99, this worker reads version 1"),
        "{}",
        ended.log
    );
}
