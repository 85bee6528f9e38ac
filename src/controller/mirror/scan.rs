//! The scan: asks every source and every destination for the digest it has now.
//!
//! Small requests only; content is for workers. Secrets are read by name, in the namespace of the
//! mirror, when they are needed.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::wanted::WantedImage;
use crate::controller::request::{RequestError, request};
use crate::copy::{
    AccessCatalog, AccessReference, Clients, Failure, SecretContent, SecretContentError, Side,
};
use crate::oci::{Digest, Reference};
use crate::reason::Reason;
use crate::registry::{ManifestHead, ManifestReference};

/// Images that are asked about at once.
const PARALLEL_IMAGES: usize = 8;

/// What a scan found.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) images: Vec<ImageScan>,
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

/// Scans all images.
pub(super) async fn scan(
    secrets: &Api<Secret>,
    images: &[WantedImage],
) -> Result<Scan, RequestError> {
    let registries = Registries::open(secrets, images).await?;
    let scans: Vec<_> = images
        .iter()
        .map(|image| registries.scan_image(image))
        .collect();
    let images = futures::stream::iter(scans)
        .buffered(PARALLEL_IMAGES)
        .collect()
        .await;
    Ok(Scan { images })
}

impl Registries {
    /// Reads the Secrets that the images name. One that is missing or malformed concerns only the
    /// images that name it; an API server that does not answer concerns all.
    async fn open(secrets: &Api<Secret>, images: &[WantedImage]) -> Result<Self, RequestError> {
        let accesses: BTreeSet<&AccessReference> = images
            .iter()
            .flat_map(|image| {
                std::iter::once(&image.access).chain(
                    image
                        .destinations
                        .iter()
                        .map(|destination| &destination.access),
                )
            })
            .collect();
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
            let names: BTreeSet<&String> = accesses.iter().copied().filter_map(name_of).collect();
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

    async fn scan_image(&self, image: &WantedImage) -> ImageScan {
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
        let source = source.and_then(|head| head.ok_or_else(|| source_not_found(&image.source)));
        ImageScan {
            wanted: image.clone(),
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
        let mut secrets = [&access.credentials, &access.certificates]
            .into_iter()
            .flatten();
        if let Some(failure) = secrets.find_map(|name| self.unusable.get(name)) {
            return Err(failure.clone());
        }
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

fn source_not_found(source: &Reference) -> Failure {
    Failure {
        reason: Reason::SourceNotFound,
        message: format!(
            "the source registry has no {source}; correct the reference or push the image"
        ),
    }
}
