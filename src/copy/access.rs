//! With whose rights each registry is reached, and the clients that have them.
//!
//! A plan names credentials and certificates; whoever runs it brings their content: the controller
//! from Secrets, a worker from mounted files.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{ClientPool, Failure, Side};
use crate::oci::{Reference, RegistryHost};
use crate::registry::{
    Access, Certificates, Client, ClientIdentity, Credentials, DockerConfig, DockerConfigError,
};

/// The names of the credentials and certificates to use for one reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessReference {
    /// The entry of [`AccessCatalog`] with the credentials; anonymous without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// The entry of [`AccessCatalog`] with certificate authorities and client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<String>,
    /// Whether plain HTTP and unverified TLS are allowed.
    #[serde(default)]
    pub insecure: bool,
}

/// The keys of a Secret that mean something here, with their values. There is nothing to print.
#[derive(Default)]
pub struct SecretContent(BTreeMap<&'static str, Vec<u8>>);

const DOCKER_CONFIG: &str = ".dockerconfigjson";
const CA_CERTIFICATES: &str = "ca.crt";
const CLIENT_CERTIFICATE: &str = "tls.crt";
const CLIENT_KEY: &str = "tls.key";

/// Why a Secret cannot be used; names the key, never the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretContentError {
    /// A key that is needed is not there.
    #[error("key {0} is missing")]
    Missing(&'static str),
    /// The credentials cannot be read.
    #[error("key {DOCKER_CONFIG}: {0}")]
    DockerConfig(#[from] DockerConfigError),
}

impl SecretContent {
    /// The keys that mean something.
    pub const KEYS: [&'static str; 4] = [
        DOCKER_CONFIG,
        CA_CERTIFICATES,
        CLIENT_CERTIFICATE,
        CLIENT_KEY,
    ];

    /// Adds the value of one of [`Self::KEYS`].
    pub fn insert(&mut self, key: &'static str, value: Vec<u8>) {
        self.0.insert(key, value);
    }

    fn required(&self, key: &'static str) -> Result<&[u8], SecretContentError> {
        self.0
            .get(key)
            .map(Vec::as_slice)
            .ok_or(SecretContentError::Missing(key))
    }

    fn credentials(&self) -> Result<DockerConfig, SecretContentError> {
        Ok(DockerConfig::parse(self.required(DOCKER_CONFIG)?)?)
    }

    /// `ca.crt`, or `tls.crt` with `tls.key`, or all three.
    fn certificates(&self) -> Result<Certificates, SecretContentError> {
        let ca_bundle = self.0.get(CA_CERTIFICATES).cloned();
        let identity = match (self.0.get(CLIENT_CERTIFICATE), self.0.get(CLIENT_KEY)) {
            (Some(certificate), Some(key)) => Some(ClientIdentity {
                certificate: certificate.clone(),
                key: key.clone().into(),
            }),
            (Some(_), None) => return Err(SecretContentError::Missing(CLIENT_KEY)),
            (None, Some(_)) => return Err(SecretContentError::Missing(CLIENT_CERTIFICATE)),
            (None, None) => None,
        };
        if ca_bundle.is_none() && identity.is_none() {
            return Err(SecretContentError::Missing(CA_CERTIFICATES));
        }
        Ok(Certificates {
            ca_bundle,
            identity,
        })
    }
}

/// Credentials and certificates by name.
#[derive(Debug, Default)]
pub struct AccessCatalog {
    credentials: BTreeMap<String, DockerConfig>,
    certificates: BTreeMap<String, Certificates>,
}

impl AccessCatalog {
    /// Adds the credentials that plans call `name`: a `kubernetes.io/dockerconfigjson` Secret.
    pub fn add_credentials(
        &mut self,
        name: &str,
        secret: &SecretContent,
    ) -> Result<(), SecretContentError> {
        self.credentials
            .insert(name.to_owned(), secret.credentials()?);
        Ok(())
    }

    /// Adds the certificates that plans call `name`: a Secret with `ca.crt`, and `tls.crt` with
    /// `tls.key` for a client certificate.
    pub fn add_certificates(
        &mut self,
        name: &str,
        secret: &SecretContent,
    ) -> Result<(), SecretContentError> {
        self.certificates
            .insert(name.to_owned(), secret.certificates()?);
        Ok(())
    }

    /// What `names` stand for at the registry and repository of `reference`. Credentials of a
    /// Secret that has none for this registry are none: another registry's are never offered.
    fn access(&self, names: &AccessReference, reference: &Reference) -> Access {
        let mut access = Access {
            insecure: names.insecure,
            ..Access::default()
        };
        if let Some(config) = entry(&self.credentials, names.credentials.as_ref()) {
            access.credentials =
                config.credentials_for(reference.registry(), reference.repository());
        }
        if let Some(certificates) = entry(&self.certificates, names.certificates.as_ref()) {
            access.certificates = certificates.clone();
        }
        access
    }
}

fn entry<'a, T>(entries: &'a BTreeMap<String, T>, name: Option<&String>) -> Option<&'a T> {
    entries.get(name?)
}

/// Registry clients by what they may do, so that connections, tokens and limits are shared wherever
/// credentials are.
#[derive(Debug, Default)]
pub struct Clients {
    catalog: AccessCatalog,
    state_directory: Option<PathBuf>,
    pool: Option<Arc<ClientPool>>,
    known: Mutex<HashMap<(RegistryHost, AccessReference), Vec<KnownClient>>>,
}

/// A client with its credentials: those of one Secret may differ by repository.
#[derive(Debug)]
struct KnownClient {
    credentials: Option<Credentials>,
    client: Client,
}

impl Clients {
    /// Clients with the rights of `catalog`.
    #[must_use]
    pub fn new(catalog: AccessCatalog) -> Self {
        Self {
            catalog,
            state_directory: None,
            pool: None,
            known: Mutex::default(),
        }
    }

    /// These clients, shared with everybody else who takes theirs from `pool`.
    #[must_use]
    pub fn taken_from(mut self, pool: Arc<ClientPool>) -> Self {
        self.pool = Some(pool);
        self
    }

    /// These clients, with uploads that the next process goes on with (see
    /// [`Client::saving_uploads_in`]).
    #[must_use]
    pub fn saving_uploads_in(mut self, directory: Option<PathBuf>) -> Self {
        self.state_directory = directory;
        self
    }

    /// Ends the uploads that a run has left open which was told to stop, except those that the next
    /// process goes on with.
    pub async fn end_open_uploads(&self) {
        let clients: Vec<_> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let known = known.values().flatten();
            known.map(|known| known.client.clone()).collect()
        };
        futures::future::join_all(clients.iter().map(Client::end_open_uploads)).await;
    }

    /// The client for `reference`, which is on `side`, with the rights that `names` stand for.
    pub fn get(
        &self,
        side: Side,
        reference: &Reference,
        names: &AccessReference,
    ) -> Result<Client, Failure> {
        let access = self.catalog.access(names, reference);
        let mut clients = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = clients
            .entry((reference.registry().clone(), names.clone()))
            .or_default();
        if let Some(known) = known
            .iter()
            .find(|known| known.credentials == access.credentials)
        {
            return Ok(known.client.clone());
        }
        let client = match &self.pool {
            Some(pool) => pool.get(reference.registry(), &access),
            None => Client::new(reference.registry(), &access),
        };
        let client = client.map_err(|error| Failure::of_registry(side, &error))?;
        let client = match &self.state_directory {
            Some(directory) => client.saving_uploads_in(directory.clone()),
            None => client,
        };
        known.push(KnownClient {
            credentials: access.credentials,
            client: client.clone(),
        });
        Ok(client)
    }
}
