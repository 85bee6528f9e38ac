//! Attaches the provenance of an image to it. It is the controller that does, not the pod: what runs in a pod of
//! a build can neither sign nor say anything.

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;

use super::provenance::{self, Built};
use super::source::{of_failure, source_failure};
use super::wanted::Wanted;
use super::{Error, Reconciler, registry};
use crate::api::{AttachedProvenance, Attestations, BaseImage, BuiltImage};
use crate::attestation::{AttachError, SigningKey, Statement, attach};
use crate::build::{BuildFailure, FailureClass};
use crate::controller::registries::{Registries, naming_secret, secret_not_found};
use crate::controller::request::{RequestError, request};
use crate::copy::{Failure, Side};
use crate::oci::Digest;
use crate::reason::Reason;

/// The key to sign with, if one is named, or why it cannot be used.
pub(super) async fn signing_key(
    secrets: &Api<Secret>,
    attest: &Attestations,
) -> Result<Result<Option<SigningKey>, BuildFailure>, RequestError> {
    let Some(place) = attest.key_secret_ref.as_ref().filter(|_| attest.provenance) else {
        return Ok(Ok(None));
    };
    let (name, key) = (&place.name, &place.key);
    let Some(secret) = request(secrets.get_opt(name)).await? else {
        return Ok(Err(of_failure(&secret_not_found(name))));
    };
    let invalid = |problem: &str| {
        let message = format!("Secret {name}: key {key}: {problem}");
        source_failure(Reason::SecretInvalid, &message)
    };
    let data = secret.data.unwrap_or_default();
    let Some(pem) = data.get(key) else {
        return Ok(Err(invalid("it is missing")));
    };
    let read = SigningKey::from_pem(&pem.0);
    Ok(read
        .map(Some)
        .map_err(|problem| invalid(&problem.to_string())))
}

impl Reconciler<'_> {
    /// The image with its provenance attached, if one is wanted.
    pub(super) async fn attest(
        &self,
        pods: &[&Pod],
        wanted: &Wanted,
        registries: &Registries,
        base_images: &[BaseImage],
        image: BuiltImage,
    ) -> Result<Result<BuiltImage, BuildFailure>, Error> {
        let spec = &self.object.spec;
        let Ok(digest) = image.digest.parse::<Digest>() else {
            return Ok(Ok(image));
        };
        if !spec.attest.provenance {
            return Ok(Ok(image));
        }
        let key = match signing_key(&self.secrets, &spec.attest).await? {
            Ok(key) => key,
            Err(failure) => return Ok(Err(failure)),
        };
        let provenance = provenance::of(&Built {
            uid: &self.uid,
            spec,
            wanted,
            status: &self.previous(),
            pods,
            image: &digest,
            base_images,
        });
        let statement = provenance.statement().map_err(Error::Provenance)?;
        let attached = Box::pin(attached(
            registries,
            wanted,
            &digest,
            &statement,
            key.as_ref(),
        ))
        .await;
        Ok(attached.map(|attestation| BuiltImage {
            provenance: Some(AttachedProvenance {
                digest: attestation.to_string(),
                signed: key.is_some(),
            }),
            ..image
        }))
    }
}

async fn attached(
    registries: &Registries,
    wanted: &Wanted,
    image: &Digest,
    statement: &Statement,
    key: Option<&SigningKey>,
) -> Result<Digest, BuildFailure> {
    let (output, access) = (&wanted.output, &wanted.output_access);
    let client = registries
        .client(Side::Destination, output, access)
        .map_err(registry::registry_failure)?;
    let attached = attach(&client, output.repository(), image, statement, key).await;
    attached.map_err(|error| {
        let failure = match &error {
            AttachError::Registry(error) => {
                naming_secret(Failure::of_registry(Side::Destination, error), access)
            }
            AttachError::NotKept(_) => Failure {
                reason: Reason::DestinationMismatch,
                message: error.to_string(),
            },
            AttachError::Key(_) => Failure {
                reason: Reason::SecretInvalid,
                message: error.to_string(),
            },
        };
        BuildFailure {
            class: FailureClass::Registry,
            reason: failure.reason,
            message: format!(
                "the image is in the registry, its provenance is not: {} (attest.provenance: false does without)",
                failure.message
            ),
        }
    })
}
