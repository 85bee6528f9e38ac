//! The registries of one object, with whose rights each is asked.
//!
//! Secrets are read by name, in the namespace of the object, when they are needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::creation_times::KnownCreationTimes;
use super::request::{RequestError, request};
use super::silence::Silence;
use crate::copy::{
    AccessCatalog, AccessReference, ClientPool, Clients, Failure, SecretContent,
    SecretContentError, SecretEntry, Side, VerificationCatalog, VerificationSecrets,
};
use crate::oci::Reference;
use crate::reason::Reason;
use crate::registry::{Client, ManifestHead, ManifestReference, Patience};
use crate::verify::Policy;

/// How long a scan waits for a registry. Shorter than a worker does, as another scan follows anyway.
pub(super) fn scan_patience() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        attempts: 3,
        ..Patience::default()
    }
}

/// Clients where the Secrets could be read, failures where not.
pub(super) struct Registries {
    clients: Clients,
    unusable: BTreeMap<String, Failure>,
    /// Why no image can be verified, if a Secret for that cannot be used.
    unverifiable: Option<Failure>,
    silence: Silence,
    creation_times: Arc<KnownCreationTimes>,
}

type NameOf = fn(&AccessReference) -> Option<&String>;
type AddTo = fn(&mut AccessCatalog, &str, &SecretContent) -> Result<(), SecretContentError>;

impl Registries {
    /// Reads the Secrets that the mirror names. One that is missing or malformed concerns only the
    /// images that name it; an API server that does not answer concerns all.
    pub(super) async fn open(
        secrets: &Api<Secret>,
        accesses: &BTreeSet<AccessReference>,
        pool: Arc<ClientPool>,
        creation_times: Arc<KnownCreationTimes>,
    ) -> Result<Self, RequestError> {
        let names: [(NameOf, AddTo); 2] = [
            (
                |access| access.credentials.as_ref(),
                AccessCatalog::add_credentials,
            ),
            (
                |access| access.certificates.as_ref(),
                AccessCatalog::add_certificates,
            ),
        ];
        let mut catalog = AccessCatalog::default();
        let mut unusable = BTreeMap::new();
        for (name_of, add_to) in names {
            let names: BTreeSet<&String> = accesses.iter().filter_map(name_of).collect();
            for name in names {
                let added = read_secret(secrets, name).await?.and_then(|content| {
                    add_to(&mut catalog, name, &content)
                        .map_err(|error| invalid_secret(name, &error))
                });
                if let Err(failure) = added {
                    unusable.insert(name.clone(), failure);
                }
            }
        }
        Ok(Self {
            clients: Clients::new(catalog).taken_from(pool),
            unusable,
            unverifiable: None,
            silence: Silence::default(),
            creation_times,
        })
    }

    /// Reads the Secrets that policies for signatures name, so that a worker does not wait for one that does not
    /// exist. Only workers verify; here it is seen that they can.
    pub(super) async fn with_verification(
        mut self,
        secrets: &Api<Secret>,
        policies: &[Policy],
    ) -> Result<Self, RequestError> {
        let named = VerificationSecrets::of(policies);
        let mut catalog = VerificationCatalog::default();
        for name in named.names() {
            let added = match request(secrets.get_opt(name)).await? {
                None => Err(secret_not_found(name)),
                Some(secret) => {
                    let entries = secret.data.unwrap_or_default().into_iter();
                    let entries: Vec<SecretEntry> =
                        entries.map(|(entry, content)| (entry, content.0)).collect();
                    catalog.add(&named, name, &entries)
                }
            };
            if let Err(failure) = added {
                self.unverifiable = Some(failure);
            }
        }
        Ok(self)
    }

    /// What is known of images of any registry.
    pub(super) fn creation_times(&self) -> &KnownCreationTimes {
        &self.creation_times
    }

    /// Why no image can be verified, if none can.
    pub(super) const fn unverifiable(&self) -> Option<&Failure> {
        self.unverifiable.as_ref()
    }

    /// A client for the registry of a reference.
    pub(super) fn client(
        &self,
        side: Side,
        reference: &Reference,
        access: &AccessReference,
    ) -> Result<Client, Failure> {
        self.refuse_unusable(access)?;
        self.clients.get(side, reference, access)
    }

    /// Asks the registry of a reference, unless it has fallen silent.
    pub(super) async fn unless_silent<T>(
        &self,
        reference: &Reference,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        if let Some(failure) = self.silence.of(reference.registry()) {
            return Err(failure);
        }
        let answer = asking.await;
        self.silence
            .learn(reference.registry(), answer.as_ref().err());
        answer
    }

    fn refuse_unusable(&self, access: &AccessReference) -> Result<(), Failure> {
        let mut secrets = [&access.credentials, &access.certificates]
            .into_iter()
            .flatten();
        let failure = secrets.find_map(|name| self.unusable.get(name));
        failure.map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// What is under a reference; a digest wins over a tag.
    pub(super) async fn head(
        &self,
        side: Side,
        reference: &Reference,
        access: &AccessReference,
    ) -> Result<Option<ManifestHead>, Failure> {
        let wanted = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => ManifestReference::Digest(digest),
            (None, Some(tag)) => ManifestReference::Tag(tag),
            // A reference has at least one of them.
            (None, None) => return Ok(None),
        };
        let found = self.unless_silent(reference, async {
            let client = self.client(side, reference, access)?;
            let head = client.head_manifest(reference.repository(), wanted).await;
            head.map_err(|error| Failure::of_registry(side, &error))
        });
        found
            .await
            .map_err(|failure| naming_secret(failure, access))
    }
}

/// Adds the Secret to mend to a failure that is about one.
pub(super) fn naming_secret(mut failure: Failure, access: &AccessReference) -> Failure {
    let hint = match (failure.reason, &access.credentials, &access.certificates) {
        (Reason::AuthenticationFailed | Reason::PullDenied | Reason::PushDenied, Some(name), _) => {
            format!(" (credentials of Secret {name})")
        }
        (Reason::AuthenticationFailed | Reason::PullDenied | Reason::PushDenied, None, _) => {
            " (no secretRef is set)".to_owned()
        }
        (Reason::TlsUntrusted | Reason::SecretInvalid, _, Some(name)) => {
            format!(" (certificates of Secret {name})")
        }
        (Reason::TlsUntrusted, _, None) => " (no certSecretRef is set)".to_owned(),
        _ => return failure,
    };
    failure.message.push_str(&hint);
    failure
}

async fn read_secret(
    secrets: &Api<Secret>,
    name: &str,
) -> Result<Result<SecretContent, Failure>, RequestError> {
    let Some(secret) = request(secrets.get_opt(name)).await? else {
        return Ok(Err(secret_not_found(name)));
    };
    let mut data = secret.data.unwrap_or_default();
    let mut content = SecretContent::default();
    for key in SecretContent::KEYS {
        if let Some(value) = data.remove(key) {
            content.insert(key, value.0);
        }
    }
    Ok(Ok(content))
}

pub(super) fn secret_not_found(name: &str) -> Failure {
    Failure {
        reason: Reason::SecretNotFound,
        message: format!(
            "Secret {name} does not exist in this namespace; create it or correct the reference"
        ),
    }
}

fn invalid_secret(name: &str, problem: &SecretContentError) -> Failure {
    Failure {
        reason: Reason::SecretInvalid,
        message: format!("Secret {name}: {problem}"),
    }
}
