//! What users get wrong: each has a class, a fixed reason, and a sentence that says what to do; and what is right next
//! is built.

use serde_json::{Value, json};

use super::workshop::Workshop;
use crate::harness::{Build, FileServer, GitServer, OneLayerImage, SshServer, tar_of};

const WRONG_PASSWORD: &str = "canary-3b7e-wrong-password";
const DOCKERFILE: &str = "ARG BASE\nFROM ${BASE}\nRUN touch /done\n";

/// A spec, and what is said of it.
struct Wrong {
    name: &'static str,
    spec: Value,
    class: &'static str,
    reason: &'static str,
    /// What the message says, among other things.
    words: &'static [&'static str],
}

/// The bad specs follow one another in one object; what `mend` does then is built. Gives the number of that build.
async fn assert_told(workshop: &Workshop, wrongs: &[Wrong], mend: impl FnOnce(&Build<'_>)) -> i64 {
    let (cluster, namespace) = (&workshop.cluster, &workshop.namespace);
    let build = Build::apply(cluster, namespace, "app", &wrongs[0].spec);
    let mut differences = Vec::new();
    for wrong in wrongs {
        build.change(&wrong.spec);
        let status = build
            .wait_until(wrong.name, |status| {
                let stalled = status.conditions.iter().any(|it| it.type_ == "Stalled");
                stalled.then_some(()).ok_or_else(|| "goes on".to_owned())
            })
            .await;
        let ready = &status.conditions[0];
        let failure = status.last_failure.clone().unwrap_or_default();
        let told = (failure.class.as_str(), failure.reason.as_str());
        let says = |words: &&str| ready.message.contains(words) && failure.message.contains(words);
        if told != (wrong.class, wrong.reason)
            || ready.reason != wrong.reason
            || !wrong.words.iter().all(says)
        {
            differences.push(format!("{}: {ready:?}\n{failure:?}", wrong.name));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    let objects = ["get", "ibld,pods,configmaps,events", "--output", "yaml"];
    let shown = namespace.kubectl(&objects);
    assert!(!shown.contains(WRONG_PASSWORD));
    mend(&build);
    let status = build.wait_ready().await;
    assert_eq!(status.last_failure, None);
    status.build.unwrap().number
}

/// `spec` with another value at a JSON pointer whose parent exists.
fn with(spec: &Value, pointer: &str, value: Value) -> Value {
    let mut spec = spec.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[name] = value;
    spec
}

impl Workshop {
    /// Makes the Secret `wrong` with a password for the secure registry that is not the right one.
    fn wrong_credentials(&self) -> Value {
        let auths = json!({"auths": {&self.cluster.secure.host: {
            "username": "transship", "password": WRONG_PASSWORD,
        }}});
        let secret = self.namespace.docker_config("wrong", &auths.to_string());
        self.namespace.apply(&secret);
        json!({"name": "wrong"})
    }
}

/// What is wrong with a source, as `Source` is the class of all of it.
fn source(
    name: &'static str,
    spec: Value,
    reason: &'static str,
    words: &'static [&'static str],
) -> Wrong {
    Wrong {
        name,
        spec,
        class: "Source",
        reason,
        words,
    }
}

/// `good` builds from a Git server that asks for a password.
fn wrong_repositories(good: &Value, url: &str) -> Vec<Wrong> {
    let of_git = |name: &str, value: Value| with(good, &format!("/source/git/{name}"), value);
    vec![
        source(
            "repository",
            of_git("url", json!(url.replace("/app", "/nowhere"))),
            "RepositoryNotFound",
            &["/nowhere is no repository", "check the address"],
        ),
        source(
            "branch",
            of_git("ref", json!({"branch": "nope"})),
            "ReferenceNotFound",
            &["has no branch nope", "check its name"],
        ),
        source(
            "tag",
            of_git("ref", json!({"tag": "v9"})),
            "ReferenceNotFound",
            &["has no tag v9", "check its name"],
        ),
        source(
            "credentials",
            of_git("secretRef", json!({"name": "wrong-password"})),
            "SourceAuthenticationFailed",
            &["refuses the credentials", "Secret wrong-password"],
        ),
        source(
            "no credentials",
            of_git("secretRef", Value::Null),
            "SourceAuthenticationFailed",
            &["asks for credentials", "secretRef"],
        ),
        source(
            "secret",
            of_git("secretRef", json!({"name": "absent"})),
            "SecretNotFound",
            &[
                "Secret absent does not exist in this namespace",
                "create it",
            ],
        ),
    ]
}

/// `url` is the same repository over SSH.
fn wrong_keys(good: &Value, url: &str) -> Vec<Wrong> {
    let over_ssh = |secret: &str| {
        let spec = with(good, "/source/git/url", json!(url));
        with(&spec, "/source/git/secretRef/name", json!(secret))
    };
    vec![
        source(
            "kind of secret",
            over_ssh("git"),
            "SecretInvalid",
            &["Secret git", "identity and known_hosts"],
        ),
        source(
            "identity",
            over_ssh("wrong-identity"),
            "SourceAuthenticationFailed",
            &["refuses the credentials", "Secret wrong-identity"],
        ),
        source(
            "host key",
            over_ssh("wrong-host"),
            "HostKeyMismatch",
            &["known_hosts", "Secret wrong-host"],
        ),
    ]
}

fn wrong_artifacts(workshop: &Workshop, good: &Value) -> Vec<Wrong> {
    let host = &workshop.cluster.secure.host;
    let reference = format!("{host}/{}:nope", workshop.image("context"));
    let image = |secret: Value| {
        let image = json!({"image": {
            "reference": reference, "secretRef": secret, "certSecretRef": {"name": "registry-ca"},
        }});
        with(good, "/source", image)
    };
    vec![
        source(
            "image",
            image(json!({"name": "registry-push"})),
            "SourceNotFound",
            &[":nope does not exist", "push it or correct the reference"],
        ),
        source(
            "credentials of the image",
            image(workshop.wrong_credentials()),
            "AuthenticationFailed",
            &["refused the credentials", "Secret wrong"],
        ),
        source(
            "ConfigMap",
            with(good, "/source", json!({"configMapRef": {"name": "absent"}})),
            "SourceNotFound",
            &["ConfigMap absent does not exist", "create it"],
        ),
    ]
}

#[tokio::test]
async fn what_is_wrong_with_a_source_is_told_before_there_is_a_pod() {
    let workshop = Workshop::open("building-wrong-source").await;
    let plain = &workshop.cluster.plain;
    let git = GitServer::start_for(plain, "robot", "correct-horse").await;
    git.commit(&[("Dockerfile", DOCKERFILE)]);
    let (host, _) = plain.host.split_once(':').unwrap();
    let ssh = SshServer::start("0.0.0.0", host).await;
    let keys = |identity: &str, host: &str| json!({"identity": ssh.key(identity), "known_hosts": ssh.known_hosts(host)});
    let password = |password: &str| json!({"username": "robot", "password": password});
    workshop.secret("git", &password("correct-horse"));
    workshop.secret("wrong-password", &password(WRONG_PASSWORD));
    workshop.secret("wrong-identity", &keys("stranger", "host"));
    workshop.secret("wrong-host", &keys("identity", "stranger"));
    let mut good = workshop.spec("app", DOCKERFILE);
    good["source"] = json!({"git": {
        "url": git.url, "ref": {"branch": "main"}, "secretRef": {"name": "git"}, "insecure": true,
    }});
    let over_ssh = ssh.address(git.directory().to_str().unwrap());
    let mut wrongs = wrong_repositories(&good, &git.url);
    wrongs.extend(wrong_keys(&good, &over_ssh));
    wrongs.extend(wrong_artifacts(&workshop, &good));
    let mend = |build: &Build<'_>| build.change(&good);
    assert_eq!(assert_told(&workshop, &wrongs, mend).await, 1);
}

/// `good` builds the directory `app` of a Git repository.
fn wrong_commits(good: &Value) -> Vec<Wrong> {
    let of_git = |name: &str, value: Value| with(good, &format!("/source/git/{name}"), value);
    vec![
        source(
            "commit",
            of_git("ref", json!({"commit": "0123456789".repeat(4)})),
            "CommitNotFound",
            &["does not have commit 0123456789", "push it"],
        ),
        source(
            "path",
            of_git("path", json!("nowhere")),
            "PathNotFound",
            &["has no directory nowhere", "check the path"],
        ),
        source(
            "link",
            of_git("path", json!("links")),
            "ContextInvalid",
            &["the link outside leads out of the context", "replace it"],
        ),
    ]
}

/// `image` has a layer that is no tar file.
fn wrong_tar_files(good: &Value, files: &FileServer, image: &str) -> Vec<Wrong> {
    // There is nothing to be triggered by a commit.
    let of = |source: Value| with(&with(good, "/triggers", json!({})), "/source", source);
    let http = |url: &str, checksum: &str| {
        of(json!({"http": {"url": url, "checksum": checksum, "insecure": true}}))
    };
    vec![
        source(
            "address",
            http(&format!("{}.zst", files.url), files.checksum.as_str()),
            "SourceNotFound",
            &["context.tar.gz.zst is not there", "check the address"],
        ),
        source(
            "checksum",
            http(&files.url, &format!("sha256:{}", "0".repeat(64))),
            "ChecksumMismatch",
            &["the file has changed, or the checksum is another file's"],
        ),
        source(
            "no tar file",
            of(json!({"image": {"reference": image, "insecure": true}})),
            "ContextInvalid",
            &["it is no tar file"],
        ),
    ]
}

#[tokio::test]
async fn what_is_wrong_with_a_context_is_told_and_the_next_commit_is_built() {
    let workshop = Workshop::open("building-wrong-context").await;
    let plain = &workshop.cluster.plain;
    let git = GitServer::start(plain).await;
    git.link("links/outside", "../../../etc/passwd");
    git.commit(&[("app/Dockerfile", DOCKERFILE)]);
    let files = FileServer::start(plain, tar_of(&[("Dockerfile", DOCKERFILE)])).await;
    let artifact = OneLayerImage::new("no tar file");
    let repository = workshop.image("context");
    plain.push_image(&artifact, &repository, "main").await;
    let mut good = workshop.spec("app", DOCKERFILE);
    good["triggers"] = json!({"git": {"interval": "10s"}});
    good["source"] = json!({"git": {
        "url": git.url, "ref": {"branch": "main"}, "path": "app", "insecure": true,
    }});
    let mut wrongs = wrong_commits(&good);
    let image = format!("{}/{repository}:main", plain.host);
    wrongs.extend(wrong_tar_files(&good, &files, &image));
    wrongs.push(source(
        "Dockerfile",
        with(&good, "/dockerfile", json!("Containerfile")),
        "DockerfileNotFound",
        &[
            "Containerfile of the source does not exist",
            "spec.dockerfile",
        ],
    ));
    let mend = |_: &Build<'_>| drop(git.commit(&[("app/Containerfile", DOCKERFILE)]));
    assert_eq!(assert_told(&workshop, &wrongs, mend).await, 8);
}

fn wrong_dockerfiles(good: &Value) -> Vec<Wrong> {
    let dockerfile = |text: &str| with(good, "/source/inline/dockerfile", json!(text));
    let wrong = |name, spec, reason, words| Wrong {
        name,
        spec,
        class: "Dockerfile",
        reason,
        words,
    };
    vec![
        wrong(
            "syntax",
            dockerfile("ARG BASE\nFROM ${BASE}\nRUNN true\n"),
            "DockerfileInvalid",
            &["RUNN", "correct it"],
        ),
        wrong(
            "target",
            with(good, "/target", json!("nope")),
            "TargetNotFound",
            &["nope", "correct spec.target"],
        ),
        wrong(
            "copy",
            dockerfile("ARG BASE\nFROM ${BASE}\nCOPY nope.txt /\n"),
            "CopySourceNotFound",
            &["nope.txt", "correct the path"],
        ),
    ]
}

fn wrong_registries(workshop: &Workshop, good: &Value) -> Vec<Wrong> {
    let credentials = workshop.wrong_credentials();
    let missing = "ARG BASE\nFROM ${BASE}-nope\nRUN true\n";
    let host = &workshop.cluster.secure.host;
    let mut pushed = with(good, "/output/secretRef", credentials.clone());
    pushed["output"]["repository"] = json!(format!("{host}/{}", workshop.image("app")));
    pushed["output"]["certSecretRef"] = json!({"name": "registry-ca"});
    pushed["output"]["insecure"] = json!(false);
    let wrong = |name, spec, reason, words| Wrong {
        name,
        spec,
        class: "Registry",
        reason,
        words,
    };
    vec![
        wrong(
            "base",
            with(good, "/source/inline/dockerfile", json!(missing)),
            "BaseImageNotFound",
            &["busybox:1-nope", "correct the Dockerfile"],
        ),
        wrong(
            "credentials of the base",
            with(good, "/pullSecretRef", credentials),
            "BaseImageDenied",
            &["busybox:1", "spec.pullSecretRef"],
        ),
        wrong(
            "authority of the base",
            with(good, "/pullCertSecretRef", Value::Null),
            "TlsUntrusted",
            &["x509", "spec.pullCertSecretRef"],
        ),
        wrong(
            "credentials of the push",
            pushed,
            "AuthenticationFailed",
            &["refused the credentials", "Secret wrong"],
        ),
    ]
}

#[tokio::test]
async fn what_is_wrong_with_a_dockerfile_or_a_registry_is_told() {
    let workshop = Workshop::open("building-wrong-dockerfile").await;
    let good = workshop.spec("app", DOCKERFILE);
    let mut wrongs = wrong_dockerfiles(&good);
    wrongs.extend(wrong_registries(&workshop, &good));
    let mend = |build: &Build<'_>| build.change(&good);
    assert_eq!(assert_told(&workshop, &wrongs, mend).await, 8);
}

#[tokio::test]
async fn what_takes_too_much_is_ended_and_told() {
    let workshop = Workshop::open("building-limits").await;
    let mut good = workshop.spec("app", DOCKERFILE);
    // Evicted pods would be tried again.
    good["retry"] = json!({"limit": 0});
    let running = |command: &str, limits: Value| {
        let dockerfile = format!("ARG BASE\nFROM ${{BASE}}\nRUN {command}\n");
        let spec = with(&good, "/source/inline/dockerfile", json!(dockerfile));
        with(&spec, "/pod", json!({"resources": {"limits": limits}}))
    };
    let endless = running("sleep 3600", json!({}));
    let wrongs = [
        Wrong {
            name: "time",
            spec: with(&endless, "/timeout", json!("15s")),
            class: "Timeout",
            reason: "TimedOut",
            words: &["longer than spec.timeout allows", "raise it"],
        },
        Wrong {
            name: "memory",
            // It keeps the last line, which has no end.
            spec: running("tail -n 1 /dev/zero", json!({"memory": "256Mi"})),
            class: "OutOfMemory",
            reason: "OutOfMemory",
            words: &["raise spec.pod.resources.limits.memory"],
        },
        Wrong {
            name: "disk",
            spec: running(
                "dd if=/dev/zero of=/big bs=1M count=256; sleep 3600",
                json!({"ephemeralStorage": "64Mi"}),
            ),
            class: "Evicted",
            reason: "Evicted",
            words: &["raise spec.pod.resources", "ephemeral local storage"],
        },
    ];
    let mend = |build: &Build<'_>| build.change(&good);
    assert_eq!(assert_told(&workshop, &wrongs, mend).await, 4);
}
