//! From what is typed to places that can be read and written: options, credentials, clients.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use clap::Args;

use super::credentials::Keychain;
use crate::copy::{ManifestName, Target};
use crate::oci::{Reference, RegistryHost, Repository};
use crate::registry::{Access, Certificates, Client, Credentials};
use crate::transport::{RegistryRepository, Source};

/// Most bytes of a file with certificates.
const MAX_CERTIFICATES_BYTES: u64 = 4 * 1024 * 1024;

/// How to reach the one registry of a command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Access")]
pub(super) struct AccessArguments {
    /// File with one line USER:PASSWORD; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    creds_file: Option<PathBuf>,

    /// Read this file in place of those that docker, podman and skopeo log in to
    #[arg(long, value_name = "FILE", conflicts_with = "creds_file")]
    authfile: Option<PathBuf>,

    /// Allow plain HTTP and unverified TLS; loopback addresses need no permission
    #[arg(long)]
    insecure: bool,

    /// Certificate authorities (PEM) to trust beside those of the system
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// How to reach the registry that is read.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Access to the source")]
pub(super) struct SourceArguments {
    /// File with one line USER:PASSWORD; `-` reads standard input
    #[arg(long = "src-creds-file", id = "src-creds-file", value_name = "FILE")]
    creds_file: Option<PathBuf>,

    /// Read this file in place of those that docker, podman and skopeo log in to
    #[arg(
        long = "src-authfile",
        id = "src-authfile",
        value_name = "FILE",
        conflicts_with = "src-creds-file"
    )]
    authfile: Option<PathBuf>,

    /// Allow plain HTTP and unverified TLS; loopback addresses need no permission
    #[arg(long = "src-insecure", id = "src-insecure")]
    insecure: bool,

    /// Certificate authorities (PEM) to trust beside those of the system
    #[arg(long = "src-ca-file", id = "src-ca-file", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// How to reach the registry that is written.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Access to the destination")]
pub(super) struct DestinationArguments {
    /// File with one line USER:PASSWORD; `-` reads standard input
    #[arg(long = "dest-creds-file", id = "dest-creds-file", value_name = "FILE")]
    creds_file: Option<PathBuf>,

    /// Read this file in place of those that docker, podman and skopeo log in to
    #[arg(
        long = "dest-authfile",
        id = "dest-authfile",
        value_name = "FILE",
        conflicts_with = "dest-creds-file"
    )]
    authfile: Option<PathBuf>,

    /// Allow plain HTTP and unverified TLS; loopback addresses need no permission
    #[arg(long = "dest-insecure", id = "dest-insecure")]
    insecure: bool,

    /// Certificate authorities (PEM) to trust beside those of the system
    #[arg(long = "dest-ca-file", id = "dest-ca-file", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// How to reach both registries of a command.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct BothArguments {
    #[command(flatten)]
    source: SourceArguments,

    #[command(flatten)]
    destination: DestinationArguments,

    /// As --src-authfile and --dest-authfile
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["src-authfile", "dest-authfile"],
        help_heading = "Access"
    )]
    authfile: Option<PathBuf>,
}

impl From<SourceArguments> for AccessArguments {
    fn from(arguments: SourceArguments) -> Self {
        Self {
            creds_file: arguments.creds_file,
            authfile: arguments.authfile,
            insecure: arguments.insecure,
            ca_file: arguments.ca_file,
        }
    }
}

impl From<DestinationArguments> for AccessArguments {
    fn from(arguments: DestinationArguments) -> Self {
        Self {
            creds_file: arguments.creds_file,
            authfile: arguments.authfile,
            insecure: arguments.insecure,
            ca_file: arguments.ca_file,
        }
    }
}

impl BothArguments {
    /// Places to read, and places to write.
    pub(super) fn open(self) -> anyhow::Result<(Places, Places)> {
        let mut source = AccessArguments::from(self.source);
        let mut destination = AccessArguments::from(self.destination);
        let standard_input = Some(Path::new("-"));
        if source.creds_file.as_deref() == standard_input
            && destination.creds_file.as_deref() == standard_input
        {
            bail!(
                "standard input can hold the credentials of one side; write the other's to a file"
            );
        }
        for side in [&mut source, &mut destination] {
            if side.creds_file.is_none() && side.authfile.is_none() {
                side.authfile.clone_from(&self.authfile);
            }
        }
        Ok((source.open()?, destination.open()?))
    }
}

impl AccessArguments {
    /// Reads the files that the options name.
    pub(super) fn open(&self) -> anyhow::Result<Places> {
        let keychain = match (&self.creds_file, &self.authfile) {
            (Some(path), _) => Keychain::from_pair(path),
            (None, Some(path)) => Keychain::from_authfile(path),
            (None, None) => Keychain::of_user(|name| std::env::var_os(name)),
        }?;
        let ca_bundle = self.ca_file.as_deref().map(read_certificates).transpose()?;
        Ok(Places {
            keychain,
            insecure: self.insecure,
            certificates: Certificates {
                ca_bundle,
                identity: None,
            },
            clients: Mutex::default(),
        })
    }
}

fn read_certificates(path: &Path) -> anyhow::Result<Vec<u8>> {
    let read = || {
        let size = std::fs::metadata(path)?.len();
        if size > MAX_CERTIFICATES_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        std::fs::read(path)
    };
    read().with_context(|| format!("cannot read the certificates in {}", path.display()))
}

/// The places of one side of a command. Repositories of one registry share a client wherever their
/// credentials are the same.
#[derive(Debug)]
pub(super) struct Places {
    keychain: Keychain,
    insecure: bool,
    certificates: Certificates,
    clients: Mutex<HashMap<(RegistryHost, bool), Vec<KnownClient>>>,
}

#[derive(Debug)]
struct KnownClient {
    credentials: Option<Credentials>,
    client: Client,
}

/// An image that somebody typed, with the place that has it.
pub(super) struct Opened {
    /// The place.
    pub(super) source: Arc<dyn Source>,
    /// Its name there: the digest wins over the tag.
    pub(super) image: ManifestName,
}

/// As messages show it.
impl fmt::Display for Opened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.image {
            ManifestName::Tag(tag) => write!(formatter, "{}:{tag}", self.source.name()),
            ManifestName::Digest(digest) => write!(formatter, "{}@{digest}", self.source.name()),
        }
    }
}

impl Places {
    /// The image `text`, to read it.
    pub(super) async fn image(&self, text: &str) -> anyhow::Result<Opened> {
        let reference = parse_reference(text)?;
        Ok(Opened {
            source: self.repository_of(&reference).await?,
            image: name_of(&reference)?,
        })
    }

    /// Where `text` says that an image goes.
    pub(super) async fn target(&self, text: &str) -> anyhow::Result<Target> {
        let reference = parse_reference(text)?;
        Ok(Target {
            place: self.repository_of(&reference).await?,
            tag: reference.tag().cloned(),
        })
    }

    /// The repository `text`, which has neither tag nor digest.
    pub(super) async fn repository_named(
        &self,
        text: &str,
    ) -> anyhow::Result<Arc<RegistryRepository>> {
        self.repository_of(&parse_repository(text)?).await
    }

    async fn repository_of(
        &self,
        reference: &Reference,
    ) -> anyhow::Result<Arc<RegistryRepository>> {
        self.repository(reference.registry(), reference.repository(), false)
            .await
    }

    /// A repository. `insecure` allows plain HTTP even where no option does.
    pub(super) async fn repository(
        &self,
        registry: &RegistryHost,
        repository: &Repository,
        insecure: bool,
    ) -> anyhow::Result<Arc<RegistryRepository>> {
        let client = self.client(registry, repository, insecure).await?;
        Ok(Arc::new(RegistryRepository::new(
            client,
            registry.clone(),
            repository.clone(),
        )))
    }

    /// The client for a repository.
    pub(super) async fn client(
        &self,
        registry: &RegistryHost,
        repository: &Repository,
        insecure: bool,
    ) -> anyhow::Result<Client> {
        let credentials = self.keychain.credentials_for(registry, repository).await?;
        let insecure = insecure || self.insecure || is_loopback(registry);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let known = clients.entry((registry.clone(), insecure)).or_default();
        if let Some(known) = known.iter().find(|known| known.credentials == credentials) {
            return Ok(known.client.clone());
        }
        let access = Access {
            credentials: credentials.clone(),
            certificates: self.certificates.clone(),
            insecure,
        };
        let client = Client::new(registry, &access)?;
        known.push(KnownClient {
            credentials,
            client: client.clone(),
        });
        Ok(client)
    }
}

/// Whether the registry is on this machine, where there is nobody in between.
fn is_loopback(registry: &RegistryHost) -> bool {
    let host = match registry.as_str().rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => registry.as_str(),
    };
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Names of places that skopeo knows; a reference must not be mistaken for one of them.
const OTHER_TRANSPORTS: [&str; 8] = [
    "containers-storage:",
    "dir:",
    "docker-archive:",
    "docker-daemon:",
    "oci:",
    "oci-archive:",
    "ostree:",
    "sif:",
];

/// An image of a registry as people write it, with or without skopeo's `docker://`.
pub(super) fn parse_reference(text: &str) -> anyhow::Result<Reference> {
    if OTHER_TRANSPORTS
        .iter()
        .any(|transport| text.starts_with(transport))
    {
        bail!("{text}: this command takes an image of a registry, HOST/REPOSITORY[:TAG][@DIGEST]");
    }
    text.strip_prefix("docker://")
        .unwrap_or(text)
        .parse()
        .with_context(|| format!("{text} is not an image of a registry"))
}

/// A repository of a registry: a tag or digest would be ignored, so there must be none.
fn parse_repository(text: &str) -> anyhow::Result<Reference> {
    if last_component(text).contains([':', '@']) {
        bail!("{text} should be a repository, HOST/REPOSITORY without tag and digest");
    }
    parse_reference(text)
}

/// What follows the last slash: the only part of a reference with a tag or digest in it.
pub(super) fn last_component(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or(text)
}

/// The manifest that a reference names: the digest wins over the tag.
pub(super) fn name_of(reference: &Reference) -> anyhow::Result<ManifestName> {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => Ok(ManifestName::Digest(digest.clone())),
        (None, Some(tag)) => Ok(ManifestName::Tag(tag.clone())),
        (None, None) => bail!("{reference} has neither tag nor digest"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("localhost", true)]
    #[case("localhost:5000", true)]
    #[case("127.0.0.1:5000", true)]
    #[case("127.8.9.10", true)]
    #[case("[::1]:5000", true)]
    #[case("localhost.test", false)]
    #[case("127.0.0.1.test", false)]
    #[case("10.0.0.1:5000", false)]
    #[case("[2001:db8::1]", false)]
    #[case("registry.test", false)]
    fn only_this_machine_is_loopback(#[case] registry: &str, #[case] expected: bool) {
        assert_eq!(is_loopback(&registry.parse().unwrap()), expected);
    }

    #[rstest]
    #[case("docker://registry.test/a:1", Some("registry.test/a:1"))]
    #[case("registry.test/a", Some("registry.test/a:latest"))]
    #[case("alpine", Some("docker.io/library/alpine:latest"))]
    #[case("oci:images", None)]
    #[case("dir:images", None)]
    #[case("docker-archive:image.tar", None)]
    #[case("https://registry.test/a", None)]
    fn references_are_told_from_other_places(#[case] text: &str, #[case] expected: Option<&str>) {
        let parsed = parse_reference(text).ok().map(|found| found.to_string());
        assert_eq!(parsed.as_deref(), expected);
    }
}
