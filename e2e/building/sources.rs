//! Where files come from: each kind of source is built, and the image holds what the source had.

use serde_json::{Value, json};
use transship::api::ImageBuildStatus;

use super::workshop::Workshop;
use crate::harness::{Build, FileServer, GitServer, OneLayerImage, SshServer, tar_of};

const DOCKERFILE: &str = "ARG BASE\nFROM ${BASE}\nCOPY answer.txt /answer.txt\n";

/// Builds from `source`; the image has this in `answer.txt`.
async fn assert_built(workshop: &Workshop, source: &Value, answer: &str) -> ImageBuildStatus {
    let mut spec = workshop.spec("app", DOCKERFILE);
    spec["source"] = source.clone();
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    let status = build.wait_ready().await;
    let image = format!("{}:main", workshop.image("app"));
    let registry = &workshop.cluster.plain;
    assert_eq!(registry.file(&image, "answer.txt").as_deref(), Some(answer));
    status
}

fn commit_of(status: &ImageBuildStatus) -> Option<&str> {
    status.source.as_ref()?.commit.as_deref()
}

#[tokio::test]
async fn a_branch_over_ssh() {
    let workshop = Workshop::open("building-ssh").await;
    let git = GitServer::start(&workshop.cluster.plain).await;
    let commit = git.commit(&[("Dockerfile", DOCKERFILE), ("answer.txt", "over ssh")]);
    let (host, _) = workshop.cluster.plain.host.split_once(':').unwrap();
    let ssh = SshServer::start("0.0.0.0", host).await;
    workshop.secret(
        "git",
        &json!({"identity": ssh.key("identity"), "known_hosts": ssh.known_hosts("host")}),
    );
    let url = ssh.address(git.directory().to_str().unwrap());
    let source = json!({"git": {
        "url": url, "ref": {"branch": "main"}, "secretRef": {"name": "git"},
    }});
    let status = assert_built(&workshop, &source, "over ssh").await;
    assert_eq!(commit_of(&status), Some(commit.as_str()));
}

#[tokio::test]
async fn a_tag_with_submodules_for_those_who_have_a_password() {
    let workshop = Workshop::open("building-submodules").await;
    let git = GitServer::start_for(&workshop.cluster.plain, "robot", "correct-horse").await;
    git.commit_submodule("library", &[("answer.txt", "of the submodule")]);
    let dockerfile = DOCKERFILE.replace("COPY answer.txt", "COPY library/answer.txt");
    let commit = git.commit(&[("Dockerfile", &dockerfile)]);
    git.tag("v1.0");
    git.commit(&[("Dockerfile", "FROM scratch\n")]);
    workshop.secret(
        "git",
        &json!({"username": "robot", "password": "correct-horse"}),
    );
    let source = json!({"git": {
        "url": git.url, "ref": {"tag": "v1.0"}, "submodules": true, "insecure": true,
        "secretRef": {"name": "git"},
    }});
    let status = assert_built(&workshop, &source, "of the submodule").await;
    assert_eq!(commit_of(&status), Some(commit.as_str()));
    let reference = status.source.unwrap().r#ref;
    assert_eq!(reference.as_deref(), Some("refs/tags/v1.0"));
}

#[tokio::test]
async fn a_commit_that_no_branch_ends_with() {
    let workshop = Workshop::open("building-commit").await;
    let git = GitServer::start(&workshop.cluster.plain).await;
    let files = [("app/Dockerfile", DOCKERFILE), ("app/answer.txt", "first")];
    let commit = git.commit(&files);
    git.commit(&[("app/answer.txt", "second")]);
    let source = json!({"git": {
        "url": git.url, "ref": {"commit": commit}, "path": "app", "insecure": true,
    }});
    let status = assert_built(&workshop, &source, "first").await;
    assert_eq!(commit_of(&status), Some(commit.as_str()));
}

#[tokio::test]
async fn a_tar_file_with_its_checksum() {
    let workshop = Workshop::open("building-http").await;
    let tar = tar_of(&[("Dockerfile", DOCKERFILE), ("answer.txt", "of the web")]);
    let files = FileServer::start(&workshop.cluster.plain, tar).await;
    let source = json!({"http": {
        "url": files.url, "checksum": files.checksum, "insecure": true,
    }});
    let status = assert_built(&workshop, &source, "of the web").await;
    let digest = status.source.unwrap().digest;
    assert_eq!(digest, Some(files.checksum.to_string()));
}

#[tokio::test]
async fn an_artifact_in_a_registry_that_asks_for_credentials() {
    let workshop = Workshop::open("building-artifact").await;
    let tar = tar_of(&[("Dockerfile", DOCKERFILE), ("answer.txt", "of an image")]);
    let artifact = OneLayerImage::new(tar);
    let secure = &workshop.cluster.secure;
    let repository = workshop.image("context");
    secure.push_image(&artifact, &repository, "main").await;
    let source = json!({"image": {
        "reference": format!("{}/{repository}:main", secure.host),
        "secretRef": {"name": "registry-push"}, "certSecretRef": {"name": "registry-ca"},
    }});
    let status = assert_built(&workshop, &source, "of an image").await;
    let digest = status.source.unwrap().digest;
    assert_eq!(digest, Some(artifact.digest().to_string()));
}

#[tokio::test]
async fn the_keys_of_a_config_map() {
    let workshop = Workshop::open("building-config-map").await;
    workshop.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "context", "namespace": workshop.namespace.name},
        "data": {"Dockerfile": DOCKERFILE, "answer.txt": "of a ConfigMap"},
    }));
    let source = json!({"configMapRef": {"name": "context"}});
    assert_built(&workshop, &source, "of a ConfigMap").await;
}
