//! What the registries of a build hold: the image that was pushed, its tags, and base images. Small requests only.

use std::collections::BTreeSet;

use super::wanted::Wanted;
use crate::api::{BaseImage, BuiltImage};
use crate::build::{BuildFailure, FailureClass, Published};
use crate::controller::registries::{Registries, naming_secret};
use crate::copy::{AccessReference, Failure, Side};
use crate::oci::{Digest, Reference, Tag};
use crate::reason::Reason;
use crate::registry::ManifestReference;

/// Most base images of a build that are looked at.
const MAX_BASE_IMAGES: usize = 32;

/// The image as its registry has it, if it is what was pushed. What a pod says is not believed.
pub(super) async fn verify(
    registries: &Registries,
    wanted: &Wanted,
    tags: &BTreeSet<Tag>,
    published: &Published,
) -> Result<BuiltImage, BuildFailure> {
    let by_digest = wanted.output.with_digest(published.digest.clone());
    let head = registries
        .head(Side::Destination, &by_digest, &wanted.output_access)
        .await
        .map_err(registry_failure)?;
    let head = head.ok_or_else(|| mismatch(&by_digest, "does not have it"))?;
    for tag in tags {
        let tagged = wanted.output.with_tag(tag.clone());
        let head = registries
            .head(Side::Destination, &tagged, &wanted.output_access)
            .await
            .map_err(registry_failure)?;
        if head.is_none_or(|head| head.digest != published.digest) {
            return Err(mismatch(&tagged, "has something else there"));
        }
    }
    Ok(BuiltImage {
        reference: by_digest.to_string(),
        digest: published.digest.to_string(),
        media_type: head.media_type.to_string(),
        size: i64::try_from(published.size).unwrap_or(i64::MAX),
        tags: tags.iter().map(ToString::to_string).collect(),
    })
}

/// Whether the registry has an image.
pub(super) async fn is_there(
    registries: &Registries,
    wanted: &Wanted,
    digest: &Digest,
) -> Result<bool, BuildFailure> {
    let reference = wanted.output.with_digest(digest.clone());
    let head = registries
        .head(Side::Destination, &reference, &wanted.output_access)
        .await;
    Ok(head.map_err(registry_failure)?.is_some())
}

/// Gives an image that is there the tags that it lacks, by its manifest alone.
pub(super) async fn move_tags(
    registries: &Registries,
    wanted: &Wanted,
    digest: &Digest,
    tags: &BTreeSet<Tag>,
) -> Result<(), BuildFailure> {
    let (output, access) = (&wanted.output, &wanted.output_access);
    for tag in tags {
        let tagged = output.with_tag(tag.clone());
        let head = registries
            .head(Side::Destination, &tagged, access)
            .await
            .map_err(registry_failure)?;
        if head.is_some_and(|head| head.digest == *digest) {
            continue;
        }
        let client = registries
            .client(Side::Destination, &tagged, access)
            .map_err(registry_failure)?;
        let of_registry = |error| {
            let failure = Failure::of_registry(Side::Destination, &error);
            registry_failure(naming_secret(failure, access))
        };
        let manifest = client
            .get_manifest(output.repository(), ManifestReference::Digest(digest))
            .await
            .map_err(of_registry)?;
        client
            .put_manifest(output.repository(), &manifest, Some(tag))
            .await
            .map_err(of_registry)?;
    }
    Ok(())
}

/// The digests that base images have now. One that cannot be read keeps the digest that it had: a registry that
/// does not answer is no reason to build.
pub(super) async fn base_images(
    registries: &Registries,
    access: &AccessReference,
    names: impl Iterator<Item = &str>,
    before: &[BaseImage],
) -> Vec<BaseImage> {
    let mut images = Vec::new();
    for name in names.take(MAX_BASE_IMAGES) {
        let known = before.iter().find(|image| image.from == name);
        let found = base_image(registries, access, name).await;
        let digest = found.or_else(|| known.map(|image| image.digest.clone()));
        images.extend(digest.map(|digest| BaseImage {
            from: name.to_owned(),
            digest,
        }));
    }
    images
}

async fn base_image(
    registries: &Registries,
    access: &AccessReference,
    name: &str,
) -> Option<String> {
    let reference: Reference = name.parse().ok()?;
    match registries.head(Side::Source, &reference, access).await {
        Ok(head) => head.map(|head| head.digest.to_string()),
        Err(failure) => {
            tracing::info!(image = name, reason = %failure.reason, "cannot look at a base image");
            None
        }
    }
}

fn registry_failure(failure: Failure) -> BuildFailure {
    BuildFailure {
        class: FailureClass::Registry,
        reason: failure.reason,
        message: failure.message,
    }
}

fn mismatch(reference: &Reference, what: &str) -> BuildFailure {
    BuildFailure {
        class: FailureClass::Registry,
        reason: Reason::DestinationMismatch,
        message: format!("{reference} was pushed, but its registry {what}"),
    }
}
