//! What the registries of a build hold: the image that was pushed, its tags, and base images. Small requests only.

use std::collections::{BTreeMap, BTreeSet};

use super::wanted::Wanted;
use crate::api::{AttachedSbom, BaseImage, BuiltImage, PlatformImage};
use crate::build::{self, BuildFailure, FailureClass, MirroredImages, Published};
use crate::controller::registries::{Registries, naming_secret};
use crate::copy::{AccessReference, Failure, Side};
use crate::oci::{Digest, Manifest, Reference, Tag};
use crate::reason::Reason;
use crate::registry::ManifestReference;

/// Most base images of a build that are looked at.
const MAX_BASE_IMAGES: usize = 32;

/// The image as its registry has it, if it is what the pods of all platforms say that they pushed. Several images
/// get an index, and the index the tags.
pub(super) async fn finish(
    registries: &Registries,
    wanted: &Wanted,
    annotations: &BTreeMap<String, String>,
    tags: &BTreeSet<Tag>,
    images: &[Published],
) -> Result<BuiltImage, BuildFailure> {
    let sizes = images.iter().map(|image| image.size);
    let size = sizes.fold(0, u64::saturating_add);
    if let [image] = images {
        let verified = verify(registries, wanted, tags, &image.digest, size).await?;
        return Ok(BuiltImage {
            sbom: sbom(registries, wanted, image).await?,
            ..verified
        });
    }
    let index = put_index(registries, wanted, annotations, images).await?;
    move_tags(registries, wanted, index.digest(), tags).await?;
    let size = size.saturating_add(index.bytes().len() as u64);
    let image = verify(registries, wanted, tags, index.digest(), size).await?;
    let mut platforms = Vec::new();
    for (platform, image) in wanted.platforms.iter().zip(images) {
        platforms.push(PlatformImage {
            platform: platform.to_string(),
            digest: image.digest.to_string(),
            sbom: sbom(registries, wanted, image).await?,
        });
    }
    Ok(BuiltImage { platforms, ..image })
}

/// The bill of materials that a pod says it attached, if the registry has it.
async fn sbom(
    registries: &Registries,
    wanted: &Wanted,
    image: &Published,
) -> Result<Option<AttachedSbom>, BuildFailure> {
    let Some(digest) = &image.sbom else {
        return Ok(None);
    };
    if !is_there(registries, wanted, digest).await? {
        let sbom = wanted.output.with_digest(digest.clone());
        return Err(mismatch(&sbom, "does not have it"));
    }
    Ok(Some(AttachedSbom {
        digest: digest.to_string(),
    }))
}

/// Pushes the index of the images of all platforms. Doing it again changes nothing.
async fn put_index(
    registries: &Registries,
    wanted: &Wanted,
    annotations: &BTreeMap<String, String>,
    images: &[Published],
) -> Result<Manifest, BuildFailure> {
    let (output, access) = (&wanted.output, &wanted.output_access);
    let of_failure = |failure| registry_failure(naming_secret(failure, access));
    let client = registries
        .client(Side::Destination, output, access)
        .map_err(of_failure)?;
    let of_registry = |error| of_failure(Failure::of_registry(Side::Destination, &error));
    let mut manifests = Vec::new();
    for (platform, image) in wanted.platforms.iter().zip(images) {
        let reference = ManifestReference::Digest(&image.digest);
        let manifest = client.get_manifest(output.repository(), reference).await;
        manifests.push((platform, manifest.map_err(of_registry)?));
    }
    let index = build::index(&manifests, annotations).map_err(|error| BuildFailure {
        class: FailureClass::Infrastructure,
        reason: Reason::RunFailed,
        message: format!("cannot write the index of the platforms: {error}"),
    })?;
    client
        .put_manifest(output.repository(), &index, None)
        .await
        .map_err(of_registry)?;
    Ok(index)
}

/// The image as its registry has it, if it is what was pushed. What a pod says is not believed.
async fn verify(
    registries: &Registries,
    wanted: &Wanted,
    tags: &BTreeSet<Tag>,
    digest: &Digest,
    size: u64,
) -> Result<BuiltImage, BuildFailure> {
    let by_digest = wanted.output.with_digest(digest.clone());
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
        if head.is_none_or(|head| head.digest != *digest) {
            return Err(mismatch(&tagged, "has something else there"));
        }
    }
    Ok(BuiltImage {
        reference: by_digest.to_string(),
        digest: digest.to_string(),
        media_type: head.media_type.to_string(),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        tags: tags.iter().map(ToString::to_string).collect(),
        platforms: Vec::new(),
        provenance: None,
        sbom: None,
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

/// The digests that base images have now where mirrors have them. One that is nowhere keeps the digest that it had.
pub(super) fn mirrored(images: &MirroredImages, before: &[BaseImage]) -> Vec<BaseImage> {
    let now = before.iter().map(|known| {
        let place = images.find(&known.from);
        let digest = place.and_then(|place| place.digest());
        BaseImage {
            from: known.from.clone(),
            digest: digest.map_or_else(|| known.digest.clone(), ToString::to_string),
        }
    });
    now.collect()
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

pub(super) fn registry_failure(failure: Failure) -> BuildFailure {
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
