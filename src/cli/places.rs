//! From what is typed to places that can be read and written. It knows the credentials, not the options.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};

use super::credentials::Keychain;
use crate::copy::{ManifestName, TagPolicy, Target};
use crate::oci::{Digest, Reference, RegistryHost, Repository, Tag};
use crate::registry::{Access, Certificates, Client, Credentials, TagList};
use crate::transport::{
    Destination, DirectoryDestination, DirectorySource, DockerArchiveDestination,
    DockerArchiveSource, DockerDaemon, LayoutArchiveDestination, LayoutDestination, LayoutSource,
    Location, Name, RegistryRepository, Source,
};

/// Most tags of one place; repositories with more exist, and nobody reads them.
const MAX_TAGS: usize = 200_000;

/// What the help says of places that are no registry.
pub(super) const PLACES: &str = "\
Other places: oci:PATH[:TAG|@DIGEST] and oci-archive:PATH[:TAG|@DIGEST] (OCI image layout), dir:PATH (skopeo's \
directory), docker-archive:PATH[:REPOSITORY:TAG] (docker save and load), docker-daemon:REPOSITORY:TAG.";

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
    /// Places that are reached with these credentials and certificates.
    pub(super) fn new(keychain: Keychain, insecure: bool, certificates: Certificates) -> Self {
        Self {
            keychain,
            insecure,
            certificates,
            clients: Mutex::default(),
        }
    }

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
        Ok(Target {
            place,
            tag,
            existing: TagPolicy::default(),
        })
    }

    /// The place `text`, which names no image in it, to read all of its images, and their tags.
    pub(super) async fn all_of(
        &self,
        text: &str,
    ) -> anyhow::Result<(Arc<dyn Source>, BTreeSet<Tag>)> {
        let source: Arc<dyn Source> = match location(text)? {
            Location::Registry(repository) => {
                let reference = parse_repository(&repository)?;
                let (registry, repository) = (reference.registry(), reference.repository());
                let (client, listed) = self.list_tags(registry, repository, false).await?;
                if listed.truncated {
                    bail!("{text} has more than {MAX_TAGS} tags");
                }
                let source = RegistryRepository::new(client, registry.clone(), repository.clone());
                return Ok((Arc::new(source), listed.tags.into_iter().collect()));
            }
            Location::Layout(path, Name::Only) => {
                Arc::new(LayoutSource::open_directory(&path).await?)
            }
            Location::LayoutArchive(path, Name::Only) => {
                Arc::new(LayoutSource::open_archive(&path).await?)
            }
            _ => bail!("{text} is one image: name a repository, oci:PATH or oci-archive:PATH"),
        };
        let tags = source.tags(MAX_TAGS).await?;
        let tags = tags.with_context(|| format!("{text} has more than {MAX_TAGS} tags"))?;
        Ok((source, tags))
    }

    /// The tags of a repository, at most [`MAX_TAGS`], and the client that listed them.
    pub(super) async fn list_tags(
        &self,
        registry: &RegistryHost,
        repository: &Repository,
        insecure: bool,
    ) -> anyhow::Result<(Client, TagList)> {
        let client = self.client(registry, repository, insecure).await?;
        let listed = client.list_tags(repository, MAX_TAGS).await?;
        // A repository without tags and none at all are not the same to whoever asks.
        let listed = listed.with_context(|| {
            format!(
                "{registry} has no repository {repository}: check the name, and whether the \
                 credentials may see it"
            )
        })?;
        Ok((client, listed))
    }

    /// The same as [`Self::all_of`], when there is nothing to do without any tag.
    pub(super) async fn all_tagged(
        &self,
        text: &str,
    ) -> anyhow::Result<(Arc<dyn Source>, BTreeSet<Tag>)> {
        let (source, tags) = self.all_of(text).await?;
        if tags.is_empty() {
            bail!("{text} has no tags; name an image by its digest, {text}@DIGEST");
        }
        Ok((source, tags))
    }

    /// Every image that `text` names: all images of a layout, one of any other place.
    pub(super) async fn images(
        &self,
        text: &str,
    ) -> anyhow::Result<(Arc<dyn Source>, Vec<ManifestName>)> {
        let layout = match location(text)? {
            Location::Layout(path, Name::Only) => LayoutSource::open_directory(&path).await?,
            Location::LayoutArchive(path, Name::Only) => LayoutSource::open_archive(&path).await?,
            _ => {
                let opened = self.image(text).await?;
                return Ok((opened.source, vec![opened.image]));
            }
        };
        let images: BTreeSet<&Digest> = layout.images().collect();
        let images = images.into_iter().cloned().map(ManifestName::Digest);
        let images = images.collect();
        Ok((Arc::new(layout), images))
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
    for scheme in ["https://", "http://"] {
        if let Some(reference) = text.strip_prefix(scheme) {
            bail!("{text}: leave out {scheme}, an image is written as {reference}");
        }
    }
    Location::parse(text).with_context(|| format!("`{text}` names no image"))
}

/// Whether `text` is a place that holds images of one platform and no index.
pub(super) fn holds_no_index(text: &str) -> bool {
    matches!(
        Location::parse(text),
        Ok(Location::DockerArchive(..) | Location::DockerDaemon(_))
    )
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
    reference.parse().with_context(|| {
        format!("`{text}` is not written as HOST/REPOSITORY[:TAG][@DIGEST] or as another place")
    })
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
