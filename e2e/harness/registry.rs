//! The registries beside the cluster, seen through skopeo, plain HTTP and their own logs.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use transship::oci::Digest;

use super::tool::{run, try_run};

/// One registry and how to reach it.
pub(crate) struct Registry {
    pub(crate) host: String,
    directory: PathBuf,
    login: Option<Login>,
}

struct Login {
    username: String,
    password: String,
    authority: String,
    authfile: String,
    certificates: String,
}

/// The requests that a registry got since a moment.
pub(crate) struct AccessLog {
    path: PathBuf,
    start: usize,
}

impl AccessLog {
    /// Lines that hold all of the given texts.
    pub(crate) fn lines_with(&self, texts: &[&str]) -> Vec<String> {
        let log = std::fs::read_to_string(&self.path).unwrap();
        log.lines()
            .skip(self.start)
            .filter(|line| texts.iter().all(|text| line.contains(text)))
            .map(str::to_owned)
            .collect()
    }
}

impl Registry {
    pub(super) fn plain(host: &str, state: &Path) -> Self {
        Self {
            host: host.to_owned(),
            directory: state.join("registries/plain"),
            login: None,
        }
    }

    /// Writes what skopeo needs into `scratch`: the password is never an argument.
    pub(super) fn secure(
        host: &str,
        state: &Path,
        authority: &str,
        (username, password): (&str, &str),
        scratch: &Path,
    ) -> Self {
        let certificates = scratch.join("certificates");
        std::fs::create_dir(&certificates).unwrap();
        std::fs::copy(authority, certificates.join("ca.crt")).unwrap();
        let mut registry = Self {
            host: host.to_owned(),
            directory: state.join("registries/secure"),
            login: Some(Login {
                username: username.to_owned(),
                password: password.to_owned(),
                authority: std::fs::read_to_string(authority).unwrap(),
                authfile: scratch.join("auth.json").display().to_string(),
                certificates: certificates.display().to_string(),
            }),
        };
        let config = registry.docker_config();
        if let Some(login) = &mut registry.login {
            std::fs::write(&login.authfile, config).unwrap();
        }
        registry
    }

    /// The content of a `kubernetes.io/dockerconfigjson` Secret.
    pub(crate) fn docker_config(&self) -> String {
        let login = self.login();
        let auth = STANDARD.encode(format!("{}:{}", login.username, login.password));
        json!({"auths": {&self.host: {"auth": auth}}}).to_string()
    }

    /// The password, to look for where it must not be.
    pub(crate) fn password(&self) -> &str {
        &self.login().password
    }

    pub(crate) fn authority(&self) -> &str {
        &self.login().authority
    }

    fn login(&self) -> &Login {
        self.login.as_ref().expect("the secure registry")
    }

    /// skopeo's options for this registry as `src-`, `dest-` or the only one.
    fn options(&self, side: &str) -> Vec<String> {
        match &self.login {
            None => vec![format!("--{side}tls-verify=false")],
            Some(login) => vec![
                format!("--{side}cert-dir={}", login.certificates),
                format!("--{side}authfile={}", login.authfile),
            ],
        }
    }

    /// What skopeo calls an image here.
    fn address(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.host)
    }

    /// The bytes of a manifest, if there is one; `name` is `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
    pub(crate) fn manifest(&self, name: &str) -> Option<String> {
        let (options, reference) = (self.options(""), format!("docker://{}/{name}", self.host));
        let mut command = vec!["skopeo", "inspect", "--raw"];
        command.extend(options.iter().map(String::as_str));
        command.push(&reference);
        match try_run(&command) {
            Ok(manifest) => Some(manifest),
            Err(message) if message.contains("unknown") => None,
            Err(message) => panic!("{command:?}: {message}"),
        }
    }

    /// The digests of the layers of an image when they are unpacked, the lowest first.
    pub(crate) fn diff_ids(&self, name: &str) -> Vec<String> {
        let (options, reference) = (self.options(""), self.address(name));
        let mut command = vec!["skopeo", "inspect", "--config"];
        command.extend(options.iter().map(String::as_str));
        command.push(&reference);
        let config: Value = serde_json::from_str(&run(&command)).unwrap();
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        let diff_ids = diff_ids.iter().map(|id| id.as_str().unwrap().to_owned());
        diff_ids.collect()
    }

    /// The digest of what is there under a name, if anything is.
    pub(crate) fn digest(&self, name: &str) -> Option<String> {
        let manifest = self.manifest(name)?;
        Some(Digest::sha256(manifest.as_bytes()).to_string())
    }

    /// Copies an image with all platforms from here to `to`, another name in the same registry.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        let options = [self.options("src-"), self.options("dest-")].concat();
        skopeo_copy(&["--all"], &options, &self.address(from), &self.address(to));
    }

    /// Copies an image with all platforms under the same name from another registry to here.
    pub(crate) fn copy_from(&self, other: &Self, name: &str) {
        let options = [other.options("src-"), self.options("dest-")].concat();
        let (from, to) = (other.address(name), self.address(name));
        skopeo_copy(&["--all", "--preserve-digests"], &options, &from, &to);
    }

    /// Deletes a manifest, and with it every tag that points at it.
    pub(crate) fn delete(&self, name: &str) {
        let (options, reference) = (self.options(""), format!("docker://{}/{name}", self.host));
        let mut command = vec!["skopeo", "delete"];
        command.extend(options.iter().map(String::as_str));
        command.push(&reference);
        run(&command);
    }

    /// Reads an image to its last blob; skopeo compares every digest.
    pub(crate) fn read_completely(&self, name: &str) {
        let directory = tempfile::tempdir().unwrap();
        let to = format!("dir:{}", directory.path().display());
        let whole = ["--all", "--preserve-digests"];
        skopeo_copy(&whole, &self.options("src-"), &self.address(name), &to);
    }

    /// The content of a file of an image, as its newest layer has it that has any. `path` has no slash in front.
    pub(crate) fn file(&self, name: &str, path: &str) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let to = format!("dir:{}", directory.path().display());
        skopeo_copy(&[], &self.options("src-"), &self.address(name), &to);
        let manifest = std::fs::read_to_string(directory.path().join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter().rev();
        let digests = layers.map(|layer| layer["digest"].as_str().unwrap());
        let mut contents = digests.filter_map(|digest| {
            let (_, hex) = digest.split_once(':').unwrap();
            let layer = directory.path().join(hex);
            let of_layer = ["tar", "--extract", "--to-stdout", "--file"];
            try_run(&[&of_layer[..], &[layer.to_str().unwrap(), path]].concat()).ok()
        });
        contents.next()
    }

    /// Pushes an image from an OCI layout as it is: skopeo would compress layers otherwise.
    pub(crate) fn push(&self, layout: &Path, name: &str) {
        let from = format!("oci:{}:1", layout.display());
        let options = self.options("dest-");
        skopeo_copy(
            &["--preserve-digests"],
            &options,
            &from,
            &self.address(name),
        );
    }

    /// The requests from now on.
    pub(crate) fn access_log(&self) -> AccessLog {
        let path = self.directory.join("access.log");
        let start = std::fs::read_to_string(&path).unwrap().lines().count();
        AccessLog { path, start }
    }

    /// Bytes of the largest upload that is going on in a repository.
    pub(crate) fn uploading_bytes(&self, repository: &str) -> u64 {
        let uploads = self
            .directory
            .join("storage/docker/registry/v2/repositories")
            .join(repository)
            .join("_uploads");
        let sessions = std::fs::read_dir(uploads).into_iter().flatten().flatten();
        let sizes =
            sessions.filter_map(|session| std::fs::metadata(session.path().join("data")).ok());
        sizes.map(|data| data.len()).max().unwrap_or_default()
    }

    pub(super) fn client(&self) -> reqwest::Client {
        let mut builder = reqwest::Client::builder();
        if let Some(login) = &self.login {
            let authority = reqwest::Certificate::from_pem(login.authority.as_bytes()).unwrap();
            builder = builder.tls_certs_only([authority]);
        }
        builder.build().unwrap()
    }

    pub(super) fn request(
        &self,
        client: &reqwest::Client,
        method: reqwest::Method,
        path: &str,
    ) -> reqwest::RequestBuilder {
        match &self.login {
            None => client.request(method, format!("http://{}/v2/{path}", self.host)),
            Some(login) => client
                .request(method, format!("https://{}/v2/{path}", self.host))
                .basic_auth(&login.username, Some(&login.password)),
        }
    }
}

/// Looks at a tag of a single image until it is dropped or finds the tag pointing at an image with a
/// blob missing; returns the digest of that blob.
pub(crate) async fn incomplete_tag(registry: &Registry, repository: &str, tag: &str) -> String {
    let client = registry.client();
    loop {
        let manifest = registry
            .request(
                &client,
                reqwest::Method::GET,
                &format!("{repository}/manifests/{tag}"),
            )
            .header("accept", "application/vnd.oci.image.manifest.v1+json")
            .send()
            .await;
        if let Ok(answer) = manifest
            && answer.status().is_success()
        {
            let manifest: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
            let layers = manifest["layers"].as_array().unwrap().iter();
            for blob in layers.chain([&manifest["config"]]) {
                let digest = blob["digest"].as_str().unwrap();
                let path = format!("{repository}/blobs/{digest}");
                let head = registry
                    .request(&client, reqwest::Method::HEAD, &path)
                    .send()
                    .await;
                if head.is_ok_and(|head| head.status() == reqwest::StatusCode::NOT_FOUND) {
                    return digest.to_owned();
                }
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn skopeo_copy(flags: &[&str], options: &[String], from: &str, to: &str) {
    let mut command = vec!["skopeo", "copy", "--quiet", "--insecure-policy"];
    command.extend(flags);
    command.extend(options.iter().map(String::as_str));
    command.extend([from, to]);
    run(&command);
}

/// One more docker-registry in the cluster's network: in maintenance, so that it takes no pushes.
pub(crate) struct ReadOnlyRegistry {
    /// Where pods reach it.
    pub(crate) host: String,
    process: std::process::Child,
    _directory: tempfile::TempDir,
}

impl ReadOnlyRegistry {
    /// Starts it at the address of the plain registry, on a free port.
    pub(crate) fn start(plain: &Registry) -> Self {
        let (name, _) = plain.host.split_once(':').unwrap();
        let port = std::net::TcpListener::bind("0.0.0.0:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("config.yml");
        let content = json!({
            "version": 0.1,
            "storage": {
                "filesystem": {"rootdirectory": directory.path().join("storage")},
                "maintenance": {"readonly": {"enabled": true}},
            },
            "http": {"addr": format!("0.0.0.0:{port}")},
        });
        std::fs::write(&configuration, content.to_string()).unwrap();
        let process = std::process::Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        Self {
            host: format!("{name}:{port}"),
            process,
            _directory: directory,
        }
    }
}

impl Drop for ReadOnlyRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
