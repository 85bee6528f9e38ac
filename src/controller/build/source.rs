//! What the source of a build is now: a commit, a digest. Asks Git servers, registries and the API server, and moves
//! no files.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;

use super::wanted::{Revision, WantedSource};
use crate::api::SourceStatus;
use crate::attestation::without_secrets;
use crate::build::{BuildFailure, FailureClass, PlannedSource};
use crate::controller::registries::{Registries, secret_not_found};
use crate::controller::request::{RequestError, request};
use crate::copy::{AccessReference, Failure, Side};
use crate::git::{self, GitAccess, GitCredentials, GitUrl, ReferenceName};
use crate::oci::{Digest, Reference};
use crate::reason::Reason;

/// How long a Git server may take to say what a branch is.
const GIT_PATIENCE: Duration = Duration::from_secs(30);

/// A source as it is now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ResolvedSource {
    /// As the status shows it.
    pub(super) status: SourceStatus,
    /// As the pod is told.
    pub(super) planned: PlannedSource,
    /// What is mounted for it.
    pub(super) files: MountedFiles,
}

/// Files that come to a pod as a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MountedFiles {
    /// None.
    None,
    /// These, by their names; they are part of the plan's object.
    Inline(BTreeMap<String, String>),
    /// Those of this `ConfigMap`.
    ConfigMap(String),
}

/// Whom to ask.
pub(super) struct Sources<'a> {
    pub(super) secrets: &'a Api<Secret>,
    pub(super) config_maps: &'a Api<ConfigMap>,
    pub(super) registries: &'a Registries,
}

/// What was asked for, or why it cannot be had.
type Resolved<T> = Result<T, BuildFailure>;

impl Sources<'_> {
    /// Finds out what `wanted` is now.
    pub(super) async fn resolve(
        &self,
        wanted: &WantedSource,
    ) -> Result<Resolved<ResolvedSource>, RequestError> {
        Ok(match wanted {
            WantedSource::Git { .. } => return self.git(wanted).await,
            WantedSource::Inline(files) => Ok(ResolvedSource {
                status: of_digest(&digest_of_files(
                    files
                        .iter()
                        .map(|(name, content)| (name, content.as_bytes())),
                )),
                planned: PlannedSource::Files,
                files: MountedFiles::Inline(files.clone()),
            }),
            WantedSource::ConfigMap(name) => return self.config_map(name).await,
            WantedSource::Image { reference, access } => self.image(reference, access).await,
            WantedSource::Http {
                url,
                checksum,
                insecure,
            } => Ok(ResolvedSource {
                status: found_at(without_secrets(url), checksum),
                planned: PlannedSource::Http {
                    url: url.clone(),
                    checksum: checksum.clone(),
                    insecure: *insecure,
                },
                files: MountedFiles::None,
            }),
        })
    }

    async fn git(&self, wanted: &WantedSource) -> Result<Resolved<ResolvedSource>, RequestError> {
        let WantedSource::Git {
            url,
            revision,
            path,
            submodules,
            secret,
            insecure,
        } = wanted
        else {
            return Ok(Err(source_failure(
                Reason::InvalidSpec,
                "not a Git repository",
            )));
        };
        let credentials = match secret {
            None => GitCredentials::default(),
            Some(name) => match self.git_credentials(name, url).await? {
                Ok(credentials) => credentials,
                Err(failure) => return Ok(Err(failure)),
            },
        };
        let (commit, reference) = match revision {
            Revision::Commit(commit) => (commit.clone(), None),
            Revision::Reference(reference) => {
                let access = GitAccess {
                    credentials,
                    insecure: *insecure,
                };
                match resolve_reference(url, reference, &access).await {
                    Ok(commit) => (commit, Some(reference.clone())),
                    Err(failure) => return Ok(Err(naming_secret(failure, secret.as_deref()))),
                }
            }
        };
        Ok(Ok(ResolvedSource {
            status: SourceStatus {
                address: Some(url.as_str().to_owned()),
                commit: Some(commit.to_string()),
                r#ref: reference.as_ref().map(ToString::to_string),
                digest: None,
            },
            planned: PlannedSource::Git {
                url: url.clone(),
                commit,
                reference,
                path: path.clone(),
                submodules: *submodules,
                credentials: secret.clone(),
                insecure: *insecure,
            },
            files: MountedFiles::None,
        }))
    }

    async fn git_credentials(
        &self,
        name: &str,
        url: &GitUrl,
    ) -> Result<Resolved<GitCredentials>, RequestError> {
        let Some(secret) = request(self.secrets.get_opt(name)).await? else {
            return Ok(Err(of_failure(&secret_not_found(name))));
        };
        let values = secret.data.unwrap_or_default().into_iter();
        let values = values.map(|(key, value)| (key, value.0)).collect();
        let credentials = GitCredentials::parse(&values)
            .and_then(|credentials| credentials.check_for(url).map(|()| credentials));
        Ok(credentials.map_err(|error| {
            source_failure(Reason::SecretInvalid, &format!("Secret {name}: {error}"))
        }))
    }

    async fn config_map(&self, name: &str) -> Result<Resolved<ResolvedSource>, RequestError> {
        let Some(found) = request(self.config_maps.get_opt(name)).await? else {
            let message = format!(
                "ConfigMap {name} does not exist in this namespace; create it or correct the reference"
            );
            return Ok(Err(source_failure(Reason::SourceNotFound, &message)));
        };
        let text = found.data.unwrap_or_default();
        let binary = found.binary_data.unwrap_or_default();
        let files = text
            .iter()
            .map(|(name, content)| (name, content.as_bytes()));
        let files = files.chain(
            binary
                .iter()
                .map(|(name, content)| (name, content.0.as_slice())),
        );
        Ok(Ok(ResolvedSource {
            status: of_digest(&digest_of_files(files)),
            planned: PlannedSource::Files,
            files: MountedFiles::ConfigMap(name.to_owned()),
        }))
    }

    async fn image(
        &self,
        reference: &Reference,
        access: &AccessReference,
    ) -> Resolved<ResolvedSource> {
        let found = self.registries.head(Side::Source, reference, access).await;
        let head = found
            .map_err(|failure| of_failure(&failure))?
            .ok_or_else(|| {
                let message =
                    format!("{reference} does not exist; push it or correct the reference");
                source_failure(Reason::SourceNotFound, &message)
            })?;
        Ok(ResolvedSource {
            status: found_at(reference.to_string(), &head.digest),
            planned: PlannedSource::Image {
                reference: reference.with_digest(head.digest),
                access: access.clone(),
            },
            files: MountedFiles::None,
        })
    }
}

async fn resolve_reference(
    url: &GitUrl,
    reference: &ReferenceName,
    access: &GitAccess,
) -> Resolved<git::CommitId> {
    let scratch = std::env::temp_dir();
    git::resolve(url, reference, access, &scratch, GIT_PATIENCE)
        .await
        .map_err(|error| source_failure(error.reason, &error.message))
}

fn of_digest(digest: &Digest) -> SourceStatus {
    SourceStatus {
        digest: Some(digest.to_string()),
        ..SourceStatus::default()
    }
}

fn found_at(address: String, digest: &Digest) -> SourceStatus {
    SourceStatus {
        address: Some(address),
        ..of_digest(digest)
    }
}

/// The same for the same files, in whatever order.
fn digest_of_files<'a>(files: impl Iterator<Item = (&'a String, &'a [u8])>) -> Digest {
    let files: BTreeMap<&str, &[u8]> = files
        .map(|(name, content)| (name.as_str(), content))
        .collect();
    let mut text = String::new();
    for (name, content) in files {
        text.push_str(name);
        text.push('\n');
        text.push_str(Digest::sha256(content).as_str());
        text.push('\n');
    }
    Digest::sha256(text.as_bytes())
}

/// Adds the Secret to mend to a failure of a Git server that is about one.
pub(super) fn naming_secret(mut failure: BuildFailure, secret: Option<&str>) -> BuildFailure {
    let is_about_it = matches!(
        failure.reason,
        Reason::SourceAuthenticationFailed | Reason::HostKeyMismatch | Reason::TlsUntrusted
    );
    if let (true, Some(name)) = (is_about_it, secret) {
        let hint = format!(" (credentials of Secret {name})");
        failure.message.push_str(&hint);
    }
    failure
}

/// A failure of a registry or of a Secret, as one of the source.
pub(super) fn of_failure(failure: &Failure) -> BuildFailure {
    source_failure(failure.reason, &failure.message)
}

pub(super) fn source_failure(reason: Reason, message: &str) -> BuildFailure {
    BuildFailure {
        class: FailureClass::Source,
        reason,
        message: message.to_owned(),
    }
}
