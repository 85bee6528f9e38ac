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
use crate::oci::{Reference, RegistryHost, Repository, Tag};
use crate::registry::{Access, Certificates, Client, Credentials};
use crate::transport::{
    Destination, DirectoryDestination, DirectorySource, DockerArchiveDestination,
    DockerArchiveSource, DockerDaemon, LayoutArchiveDestination, LayoutDestination, LayoutSource,
    Location, Name, RegistryRepository, Source,
};

/// Most bytes of a file with certificates.
const MAX_CERTIFICATES_BYTES: u64 = 4 * 1024 * 1024;

/// What the help says of places that are no registry.
pub(super) const PLACES: &str = "\
Other places: oci:PATH[:TAG|@DIGEST] and oci-archive:PATH[:TAG|@DIGEST] (OCI image layout), dir:PATH (skopeo's \
directory), docker-archive:PATH[:REPOSITORY:TAG] (docker save and load), docker-daemon:REPOSITORY:TAG.";

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
        let (source, image): (Arc<dyn Source>, _) = match location(text)? {
            Location::Registry(reference) => {
                let reference = parse_reference(&reference)?;
                let source = self.repository_of(&reference).await?;
                (source, name_of(&reference)?)
            }
            Location::Layout(path, name) => {
                let source = LayoutSource::open_directory(&path).await?;
                let image = name_in(&source, name)?;
                (Arc::new(source), image)
            }
            Location::LayoutArchive(path, name) => {
                let source = LayoutSource::open_archive(&path).await?;
                let image = name_in(&source, name)?;
                (Arc::new(source), image)
            }
            Location::Directory(path) => {
                let source = DirectorySource::open(&path).await?;
                let image = ManifestName::Digest(source.image().clone());
                (Arc::new(source), image)
            }
            Location::DockerArchive(path, reference) => {
                let source = DockerArchiveSource::open(&path, reference.as_ref()).await?;
                let image = ManifestName::Digest(source.image().clone());
                (Arc::new(source), image)
            }
            Location::DockerDaemon(reference) => {
                let source = docker_daemon()?.source(&reference).await?;
                let image = ManifestName::Digest(source.image().clone());
                (Arc::new(source), image)
            }
        };
        Ok(Opened { source, image })
    }

    /// Where `text` says that an image goes.
    pub(super) async fn target(&self, text: &str) -> anyhow::Result<Target> {
        let (place, tag): (Arc<dyn Destination>, _) = match location(text)? {
            Location::Registry(reference) => {
                let reference = parse_reference(&reference)?;
                let place = self.repository_of(&reference).await?;
                (place, reference.tag().cloned())
            }
            Location::Layout(path, name) => (
                Arc::new(LayoutDestination::open(&path).await?),
                tag_of(name),
            ),
            Location::LayoutArchive(path, name) => {
                let place = LayoutArchiveDestination::create(&path).await?;
                (Arc::new(place), tag_of(name))
            }
            Location::Directory(path) => (Arc::new(DirectoryDestination::open(&path).await?), None),
            Location::DockerArchive(path, reference) => {
                let tag = reference.as_ref().and_then(Reference::tag).cloned();
                let repository =
                    reference.map(|name| (name.registry().clone(), name.repository().clone()));
                let place = DockerArchiveDestination::create(&path, repository).await?;
                (Arc::new(place), tag)
            }
            Location::DockerDaemon(reference) => {
                let place = docker_daemon()?
                    .destination(reference.registry().clone(), reference.repository().clone());
                (Arc::new(place), reference.tag().cloned())
            }
        };
        Ok(Target { place, tag })
    }

    /// All images of `text`, which names a place and no image in it, to read them.
    pub(super) async fn source_named(&self, text: &str) -> anyhow::Result<Arc<dyn Source>> {
        Ok(match location(text)? {
            Location::Registry(repository) => {
                self.repository_of(&parse_repository(&repository)?).await?
            }
            Location::Layout(path, Name::Only) => {
                Arc::new(LayoutSource::open_directory(&path).await?)
            }
            Location::LayoutArchive(path, Name::Only) => {
                Arc::new(LayoutSource::open_archive(&path).await?)
            }
            _ => bail!("{text} is one image: name a repository, oci:PATH or oci-archive:PATH"),
        })
    }

    /// `text`, which names a place and no image in it, to write images there.
    pub(super) async fn destination_named(
        &self,
        text: &str,
    ) -> anyhow::Result<Arc<dyn Destination>> {
        Ok(match location(text)? {
            Location::Registry(repository) => {
                self.repository_of(&parse_repository(&repository)?).await?
            }
            Location::Layout(path, Name::Only) => Arc::new(LayoutDestination::open(&path).await?),
            Location::LayoutArchive(path, Name::Only) => {
                Arc::new(LayoutArchiveDestination::create(&path).await?)
            }
            _ => bail!("{text} is one image: name a repository, oci:PATH or oci-archive:PATH"),
        })
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

fn location(text: &str) -> anyhow::Result<Location> {
    Location::parse(text).with_context(|| format!("{text} names no image"))
}

/// The Docker daemon that the environment names, as for the `docker` command.
fn docker_daemon() -> anyhow::Result<DockerDaemon> {
    let host = std::env::var("DOCKER_HOST").ok();
    Ok(DockerDaemon::new(host.as_deref())?)
}

/// The image of a layout that is meant.
fn name_in(source: &LayoutSource, name: Name) -> anyhow::Result<ManifestName> {
    Ok(match name {
        Name::Only => ManifestName::Digest(source.only_image()?.clone()),
        Name::Tag(tag) => ManifestName::Tag(tag),
        Name::Digest(digest) => ManifestName::Digest(digest),
    })
}

/// The name under which an image is stored in a layout; without one it is found by its digest.
fn tag_of(name: Name) -> Option<Tag> {
    match name {
        Name::Tag(tag) => Some(tag),
        Name::Only | Name::Digest(_) => None,
    }
}

/// An image of a registry as people write it, with or without skopeo's `docker://`.
pub(super) fn parse_reference(text: &str) -> anyhow::Result<Reference> {
    let Location::Registry(reference) = location(text)? else {
        bail!("{text}: this command takes an image of a registry, HOST/REPOSITORY[:TAG][@DIGEST]");
    };
    reference
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
