//! The scan: lists the tags of repositories, and asks every source and every destination for the digest
//! it has now.
//!
//! Small requests only; content is for workers. Secrets are read by name, in the namespace of the
//! mirror, when they are needed.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::wanted::{
    Selected, SpecError, UnlistedRepository, Wanted, WantedImage, WantedRepository,
};
use crate::controller::request::{RequestError, request};
use crate::copy::{
    AccessCatalog, AccessReference, Clients, Failure, SecretContent, SecretContentError, Side,
};
use crate::oci::{Digest, Reference};
use crate::reason::Reason;
use crate::registry::{ManifestHead, ManifestReference};

/// Images that are asked about at once.
const PARALLEL_IMAGES: usize = 8;
/// Most tags of one repository that are looked at.
const MAX_TAGS: usize = 100_000;

/// Why a scan could not be finished.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    /// The API server failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What the repositories have makes the spec one that cannot be acted upon.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

/// What a scan found.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) images: Vec<ImageScan>,
    /// Repositories of which nobody knows what is wanted.
    pub(super) unlisted: Vec<UnlistedRepository>,
}

/// What was found of one image.
#[derive(Clone, Debug)]
pub(super) struct ImageScan {
    pub(super) wanted: WantedImage,
    /// What the source has.
    pub(super) source: Result<ManifestHead, Failure>,
    /// What each destination has, in the order of the wanted ones; [`None`] when it has nothing.
    pub(super) destinations: Vec<Result<Option<Digest>, Failure>>,
}

/// The registries of one scan: clients where the Secrets could be read, failures where not.
struct Registries {
    clients: Clients,
    unusable: BTreeMap<String, Failure>,
}

type NameOf = fn(&AccessReference) -> Option<&String>;
type AddTo = fn(&mut AccessCatalog, &str, &SecretContent) -> Result<(), SecretContentError>;

/// Scans everything that is wanted.
pub(super) async fn scan(secrets: &Api<Secret>, wanted: &Wanted) -> Result<Scan, ScanError> {
    let registries = Registries::open(secrets, &wanted.accesses().collect()).await?;
    let selecting: Vec<_> = wanted
        .repositories()
        .map(|repository| registries.select_tags(repository))
        .collect();
    let selected: Vec<Selected> = at_once(selecting).await;
    let images = wanted.expand(selected)?;
    let scanning = images
        .images
        .into_iter()
        .map(|image| registries.scan_image(image))
        .collect();
    Ok(Scan {
        images: at_once(scanning).await,
        unlisted: images.unlisted,
    })
}

/// Some at once, results in their order.
async fn at_once<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    futures::stream::iter(futures)
        .buffered(PARALLEL_IMAGES)
        .collect()
        .await
}

impl Registries {
    /// Reads the Secrets that the mirror names. One that is missing or malformed concerns only the
    /// images that name it; an API server that does not answer concerns all.
    async fn open(
        secrets: &Api<Secret>,
        accesses: &BTreeSet<AccessReference>,
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
            clients: Clients::new(catalog),
            unusable,
        })
    }

    /// The tags of one repository that its rules select.
    async fn select_tags(&self, wanted: &WantedRepository) -> Selected {
        let (location, access) = (&wanted.location, &wanted.access);
        self.refuse_unusable(access)?;
        let listing = async {
            let client = self.clients.get(Side::Source, location, access)?;
            let listed = client.list_tags(location.repository(), MAX_TAGS).await;
            listed.map_err(|error| Failure::of_registry(Side::Source, &error))
        };
        let listed = listing
            .await
            .map_err(|failure| naming_secret(failure, access))?
            .ok_or_else(|| source_not_found(&wanted.name()))?;
        wanted.select(&listed)
    }

    fn refuse_unusable(&self, access: &AccessReference) -> Result<(), Failure> {
        let mut secrets = [&access.credentials, &access.certificates]
            .into_iter()
            .flatten();
        let failure = secrets.find_map(|name| self.unusable.get(name));
        failure.map_or(Ok(()), |failure| Err(failure.clone()))
    }

    async fn scan_image(&self, image: WantedImage) -> ImageScan {
        let destinations = image.destinations.iter().map(|destination| async {
            let head = self
                .head(
                    Side::Destination,
                    &destination.reference,
                    &destination.access,
                )
                .await?;
            Ok(head.map(|head| head.digest))
        });
        let (source, destinations) = futures::join!(
            self.head(Side::Source, &image.source, &image.access),
            futures::future::join_all(destinations)
        );
        let source =
            source.and_then(|head| head.ok_or_else(|| source_not_found(&image.source.to_string())));
        ImageScan {
            wanted: image,
            source,
            destinations,
        }
    }

    /// What is under a reference; a digest wins over a tag.
    async fn head(
        &self,
        side: Side,
        reference: &Reference,
        access: &AccessReference,
    ) -> Result<Option<ManifestHead>, Failure> {
        self.refuse_unusable(access)?;
        let wanted = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => ManifestReference::Digest(digest),
            (None, Some(tag)) => ManifestReference::Tag(tag),
            // A reference has at least one of them.
            (None, None) => return Ok(None),
        };
        let found = async {
            let client = self.clients.get(side, reference, access)?;
            let head = client.head_manifest(reference.repository(), wanted).await;
            head.map_err(|error| Failure::of_registry(side, &error))
        };
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
        return Ok(Err(Failure {
            reason: Reason::SecretNotFound,
            message: format!(
                "Secret {name} does not exist in this namespace; create it or correct the reference"
            ),
        }));
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

fn invalid_secret(name: &str, problem: &SecretContentError) -> Failure {
    Failure {
        reason: Reason::SecretInvalid,
        message: format!("Secret {name}: {problem}"),
    }
}

fn source_not_found(source: &str) -> Failure {
    Failure {
        reason: Reason::SourceNotFound,
        message: format!(
            "the source registry has no {source}; correct the reference or push the image"
        ),
    }
}
