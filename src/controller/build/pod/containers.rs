//! The containers of the pod of a build, and the volumes that each of them mounts. Pure.

use serde_json::{Value, json};

use super::{
    AttemptError, AttemptInput, BUILD, FETCH, PUBLISH, PULL_CERTIFICATES_DIRECTORY, PULL_DIRECTORY,
    SCAN, SECRETS_DIRECTORY,
};
use crate::build::{self, ImageForm, PlannedSource};
use crate::builder::OUTPUT_VOLUME;
use crate::controller::build::source::MountedFiles;
use crate::controller::resources;
use crate::copy::AccessReference;
use crate::worker;

/// The user of our own image, of no rights on any node.
const USER: i64 = 65532;

/// The volumes of a pod, each once.
#[derive(Default)]
pub(super) struct Volumes {
    pub(super) volumes: Vec<Value>,
}

impl Volumes {
    /// Adds a volume unless it is there, and mounts it.
    fn mount(&mut self, name: &str, source: &Value, path: &str, read_only: bool) -> Value {
        if !self.volumes.iter().any(|volume| volume["name"] == name) {
            let mut volume = json!({"name": name});
            if let (Some(volume), Some(source)) = (volume.as_object_mut(), source.as_object()) {
                volume.extend(source.clone());
            }
            self.volumes.push(volume);
        }
        json!({"name": name, "mountPath": path, "readOnly": read_only})
    }

    /// A Secret, readable by whoever the container is; nobody else mounts it.
    fn secret(&mut self, name: &str, secret: &str, path: &str) -> Value {
        let source = json!({"secret": {"secretName": secret, "defaultMode": 0o444}});
        self.mount(name, &source, path, true)
    }

    /// The Secrets of a registry, where [`worker`] looks for them.
    fn registry(&mut self, kind: &str, access: &AccessReference) -> Vec<Value> {
        let secrets = [
            (
                "credentials",
                worker::CREDENTIALS_DIRECTORY,
                &access.credentials,
            ),
            (
                "certificates",
                worker::CERTIFICATES_DIRECTORY,
                &access.certificates,
            ),
        ];
        let mounted = secrets.into_iter().filter_map(|(what, directory, secret)| {
            let secret = secret.as_ref()?;
            Some(self.secret(
                &format!("{kind}-{what}"),
                secret,
                &format!("{directory}/{secret}"),
            ))
        });
        mounted.collect()
    }

    fn workspace(&mut self, read_only: bool) -> Value {
        let empty = json!({"emptyDir": {}});
        self.mount("workspace", &empty, build::WORKSPACE_DIRECTORY, read_only)
    }

    fn plan(&mut self, name: &str) -> Value {
        let source = json!({"configMap": {"name": name, "items": [{"key": build::PLAN_FILE, "path": build::PLAN_FILE}]}});
        self.mount("plan", &source, build::PLAN_DIRECTORY, true)
    }

    /// What the scanner finds.
    fn sbom(&mut self, read_only: bool) -> Value {
        let empty = json!({"emptyDir": {"sizeLimit": "128Mi"}});
        self.mount("sbom", &empty, build::SBOM_DIRECTORY, read_only)
    }

    /// Room for files that may be as large as an image.
    fn temporary(&mut self, name: &str) -> Value {
        self.mount(name, &json!({"emptyDir": {}}), "/tmp", false)
    }

    /// Room for files with credentials; in memory, so that they are on no disk.
    fn private(&mut self, name: &str) -> Value {
        let source = json!({"emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}});
        self.mount(name, &source, "/tmp", false)
    }
}

pub(super) fn fetch(input: &AttemptInput<'_>, name: &str, volumes: &mut Volumes) -> Value {
    let mut mounts = vec![
        volumes.plan(name),
        volumes.workspace(false),
        volumes.private("fetch-private"),
    ];
    match &input.plan.source {
        PlannedSource::Git { credentials, .. } => {
            mounts.extend(credentials.as_ref().map(|secret| {
                let path = format!("{}/{secret}", worker::CREDENTIALS_DIRECTORY);
                volumes.secret("source-credentials", secret, &path)
            }));
        }
        PlannedSource::Image { access, .. } => mounts.extend(volumes.registry("source", access)),
        PlannedSource::Files | PlannedSource::Http { .. } => {}
    }
    match input.files {
        MountedFiles::None => {}
        MountedFiles::ConfigMap(config_map) => {
            let source = json!({"configMap": {"name": config_map}});
            mounts.push(volumes.mount("files", &source, build::FILES_DIRECTORY, true));
        }
        MountedFiles::Inline(files) => {
            let items: Vec<_> = files
                .keys()
                .map(|key| json!({"key": key, "path": key}))
                .collect();
            let source = json!({"configMap": {"name": name, "items": items}});
            mounts.push(volumes.mount("files", &source, build::FILES_DIRECTORY, true));
        }
    }
    let mut arguments = vec!["build-fetch", "--log-format=json"];
    if input.container.host_users == Some(false) {
        arguments.push("--user-namespace");
    }
    ours(input, FETCH, &arguments, USER, &mounts)
}

pub(super) fn build(
    input: &AttemptInput<'_>,
    volumes: &mut Volumes,
) -> Result<Value, AttemptError> {
    let spec = &input.object.spec;
    let mut mounts = vec![volumes.workspace(true)];
    for (index, secret) in spec.secrets.iter().enumerate() {
        let place = &secret.secret_ref;
        let source = keyed_secret(&place.name, &place.key, &secret.id);
        let path = format!("{SECRETS_DIRECTORY}/{}", secret.id);
        volumes.mount(&format!("secret-{index}"), &source, &path, true);
        // The file itself, so that each secret has a volume of its own.
        mounts.push(json!({
            "name": format!("secret-{index}"), "mountPath": path, "subPath": secret.id, "readOnly": true,
        }));
    }
    if let Some(secret) = &spec.pull_secret_ref {
        let source = keyed_secret(&secret.name, ".dockerconfigjson", "config.json");
        mounts.push(volumes.mount("pull", &source, PULL_DIRECTORY, true));
    }
    if let Some(secret) = &spec.pull_cert_secret_ref {
        let source = keyed_secret(&secret.name, "ca.crt", "ca.crt");
        let path = PULL_CERTIFICATES_DIRECTORY;
        mounts.push(volumes.mount("pull-certificates", &source, path, true));
    }
    for mount in input.container.container.volume_mounts.iter().flatten() {
        mounts.push(serde_json::to_value(mount)?);
    }
    let resources = resources::chosen(&spec.pod).unwrap_or_else(|| {
        json!({
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "4Gi", "ephemeral-storage": "20Gi"},
        })
    });
    let described = serde_json::to_value(&input.container.container)?;
    let mut members = described.as_object().cloned().unwrap_or_default();
    for (name, value) in [
        ("name", json!(BUILD)),
        ("image", json!(input.builder_image)),
        ("imagePullPolicy", json!("IfNotPresent")),
        ("volumeMounts", json!(mounts)),
        ("resources", resources),
    ] {
        members.insert(name.to_owned(), value);
    }
    Ok(Value::Object(members))
}

/// One key of a Secret as a file, readable by whoever the container is; nobody else mounts it.
fn keyed_secret(name: &str, key: &str, file: &str) -> Value {
    json!({"secret": {
        "secretName": name, "defaultMode": 0o444, "items": [{"key": key, "path": file}],
    }})
}

/// The scanner, if there is something for it to do. Its command line is Syft's, and it asks no network.
pub(super) fn scan(input: &AttemptInput<'_>, volumes: &mut Volumes) -> Option<Value> {
    let image = input.scanner_image?;
    let (directory, planned) = (build::OUTPUT_DIRECTORY, &input.plan.output);
    let source = match planned.image {
        ImageForm::Layout => format!("oci-dir:{directory}/{}", build::OUTPUT_LAYOUT),
        ImageForm::Archive => format!("oci-archive:{directory}/{}", build::OUTPUT_ARCHIVE),
    };
    let (sbom, file) = (build::SBOM_DIRECTORY, build::SBOM_FILE);
    let temporary = volumes.temporary("scan-temporary");
    Some(json!({
        "name": SCAN,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "scan",
            source,
            format!("--output=spdx-json={sbom}/{file}"),
            format!("--source-name={}/{}", planned.registry, planned.repository),
        ],
        "env": [
            {"name": "HOME", "value": "/tmp"},
            {"name": "TMPDIR", "value": "/tmp"},
            {"name": "SYFT_CHECK_FOR_APP_UPDATE", "value": "false"},
        ],
        "volumeMounts": [output(), volumes.sbom(false), temporary],
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "2Gi"},
        },
        "securityContext": confined(input.container.publish_user.unwrap_or(USER)),
    }))
}

/// What the builder has left, for those who only read it.
fn output() -> Value {
    json!({
        "name": OUTPUT_VOLUME,
        "mountPath": build::OUTPUT_DIRECTORY,
        "readOnly": true,
    })
}

pub(super) fn publish(input: &AttemptInput<'_>, name: &str, volumes: &mut Volumes) -> Value {
    let mut mounts = vec![
        volumes.plan(name),
        // Layers that are converted wait there.
        volumes.temporary("publish-temporary"),
        output(),
    ];
    if input.scanner_image.is_some() {
        mounts.push(volumes.sbom(true));
    }
    mounts.extend(volumes.registry("output", &input.plan.output.access));
    let user = input.container.publish_user.unwrap_or(USER);
    ours(
        input,
        PUBLISH,
        &["build-publish", "--log-format=json"],
        user,
        &mounts,
    )
}

/// A container with our own image: no rights, whoever it is.
fn ours(
    input: &AttemptInput<'_>,
    name: &str,
    arguments: &[&str],
    user: i64,
    mounts: &[Value],
) -> Value {
    json!({
        "name": name,
        "image": input.image,
        "imagePullPolicy": input.pull_policy,
        "args": arguments,
        "volumeMounts": mounts,
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": confined(user),
    })
}

/// No rights, whoever it is.
fn confined(user: i64) -> Value {
    json!({
        "runAsUser": user,
        "runAsGroup": user,
        "runAsNonRoot": user != 0,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}
