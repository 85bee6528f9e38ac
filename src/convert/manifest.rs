//! The manifest of one image in another format, or with its layers compressed in another way.
//!
//! Pure: a document in, a document out. The media types follow the table of the image
//! specification's "Compatibility Matrix" (media-types.md).

use serde_json::value::RawValue;

use super::document::{Object, Rewriting};
use super::media_type::Family;
use super::memory::{self, NewLayer};
use super::{Conversion, Error, Format};
use crate::oci::{Content, Descriptor, LayerCompression, Manifest};

/// The members that Docker's descriptors of a config or a layer have.
const DOCKER_DESCRIPTOR: [&str; 4] = ["mediaType", "size", "digest", "urls"];
const DOCKER_MANIFEST: [&str; 4] = ["schemaVersion", "mediaType", "config", "layers"];
/// Tables of contents that are true of the old bytes of a layer only: eStargz, zstd:chunked.
const TABLES_OF_CONTENTS: [&str; 4] = [
    "containerd.io/snapshot/stargz/",
    "io.containers.estargz.",
    "io.github.containers.zstd-chunked.",
    "org.opencontainers.image.toc.",
];

/// The family that `manifest` will have.
pub(super) fn family(manifest: &Manifest, format: Format) -> Family {
    match format {
        Format::Preserve => Family::of(manifest.media_type()),
        Format::Oci => Family::Oci,
        Format::Docker => Family::Docker,
    }
}

/// Whether it is an image that runs, not another artifact: only those have layers that mean the
/// same when they are compressed in another way.
fn is_image(config: &Descriptor, layers: &[Descriptor]) -> bool {
    config.media_type.is_image_config() && layers.iter().all(|layer| layer.media_type.is_layer())
}

/// The layers of `manifest` whose bytes have to change, by their positions; none if it is no image.
///
/// Layers that are encrypted, and those that are to be fetched from elsewhere, stay as they are.
pub fn layers_to_recompress(
    manifest: &Manifest,
    conversion: &Conversion,
) -> Result<Vec<usize>, Error> {
    let (Some(wanted), Content::Image { config, layers, .. }) =
        (conversion.compression, manifest.content()?)
    else {
        return Ok(Vec::new());
    };
    if !is_image(&config, &layers) {
        return Ok(Vec::new());
    }
    let family = family(manifest, conversion.format);
    if family == Family::Docker && wanted.algorithm() == LayerCompression::Zstd {
        return Err(rewriting(manifest, *conversion).unsupported(
            "layers that are to be compressed with zstd".to_owned(),
            "choose the OCI format with it",
        ));
    }
    let changes = |layer: &Descriptor| {
        let is_elsewhere = layer.media_type.is_nondistributable_layer() && !layer.urls.is_empty();
        !is_elsewhere
            && layer
                .media_type
                .layer_compression()
                .is_some_and(|current| current != wanted.algorithm())
    };
    Ok(layers
        .iter()
        .enumerate()
        .filter(|(_, layer)| changes(layer))
        .map(|(position, _)| position)
        .collect())
}

/// The manifest as `conversion` wants it, with the layers of `new_layers` in place of those that they
/// were made from. What is no image stays as it is, or is refused if it cannot.
pub fn convert_manifest(
    manifest: &Manifest,
    conversion: &Conversion,
    new_layers: &[NewLayer],
) -> Result<Manifest, Error> {
    let rewriting = rewriting(manifest, *conversion);
    let is_of_family = Family::of(manifest.media_type()) == rewriting.family;
    let Content::Image { config, layers, .. } = manifest.content()? else {
        return if is_of_family {
            Ok(manifest.clone())
        } else {
            Err(no_image(rewriting))
        };
    };
    if !is_image(&config, &layers) {
        return if is_of_family {
            Ok(manifest.clone())
        } else {
            Err(no_image(rewriting))
        };
    }
    if is_of_family && new_layers.is_empty() {
        return Ok(manifest.clone());
    }
    let mut document = rewriting.root(manifest)?;
    rewriting.restrict(&mut document, "the manifest", &DOCKER_MANIFEST)?;
    let media_type = rewriting.family.manifest();
    rewriting.set(&mut document, "schemaVersion", &2)?;
    rewriting.set(&mut document, "mediaType", &media_type)?;
    let mut new_config = rewriting.member(&document, "config")?;
    rewriting.restrict(&mut new_config, "`config`", &DOCKER_DESCRIPTOR)?;
    rewriting.set(&mut new_config, "mediaType", &rewriting.family.config())?;
    rewriting.set(&mut document, "config", &new_config)?;
    let converted: Vec<Object> = rewriting
        .array(&document, "layers")?
        .iter()
        .zip(&layers)
        .enumerate()
        .map(|(position, (raw, layer))| {
            let new = new_layers.iter().find(|new| new.position == position);
            convert_layer(rewriting, raw, layer, new)
        })
        .collect::<Result<_, _>>()?;
    rewriting.set(&mut document, "layers", &converted)?;
    rewriting.manifest(&document, media_type)
}

fn rewriting(manifest: &Manifest, conversion: Conversion) -> Rewriting<'_> {
    Rewriting {
        digest: manifest.digest(),
        family: family(manifest, conversion.format),
        leave_out: conversion.leave_out_unsupported,
    }
}

fn no_image(rewriting: Rewriting<'_>) -> Error {
    rewriting.unsupported(
        "another content than an image".to_owned(),
        "copy it as it is, or let what is unsupported be left out of its index",
    )
}

fn convert_layer(
    rewriting: Rewriting<'_>,
    raw: &RawValue,
    layer: &Descriptor,
    new: Option<&NewLayer>,
) -> Result<Object, Error> {
    let compression = match new {
        Some(new) => Some(new.compression.algorithm()),
        None => layer.media_type.layer_compression(),
    };
    let is_same_family = Family::of(&layer.media_type) == rewriting.family;
    let media_type = match compression {
        Some(compression) => rewriting
            .family
            .layer(&layer.media_type, compression)
            .ok_or_else(|| {
                rewriting.unsupported(
                    "a layer that is compressed with zstd".to_owned(),
                    "let the layers be compressed with gzip too",
                )
            })?,
        // Encrypted: what it is inside is not known, so its type is not changed.
        None if is_same_family => layer.media_type.as_str(),
        None => {
            return Err(rewriting.unsupported(
                "an encrypted layer".to_owned(),
                "copy it in the format that it has",
            ));
        }
    };
    let mut object = rewriting.object(raw)?;
    if let Some(new) = new {
        replace(rewriting, &mut object, layer, new)?;
    }
    rewriting.restrict(&mut object, "a layer", &DOCKER_DESCRIPTOR)?;
    rewriting.set(&mut object, "mediaType", &media_type)?;
    Ok(object)
}

/// Makes the descriptor of the old layer that of the new one.
fn replace(
    rewriting: Rewriting<'_>,
    object: &mut Object,
    layer: &Descriptor,
    new: &NewLayer,
) -> Result<(), Error> {
    object.remove("data");
    object.remove("urls");
    rewriting.set(object, "digest", &new.digest)?;
    rewriting.set(object, "size", &new.size)?;
    let mut annotations = object.annotations();
    annotations.retain(|name, _| {
        !TABLES_OF_CONTENTS
            .iter()
            .any(|prefix| name.starts_with(prefix))
    });
    if rewriting.family == Family::Oci {
        annotations.extend(memory::annotations(&layer.digest, new.compression));
    }
    if annotations.is_empty() {
        object.remove("annotations");
        Ok(())
    } else {
        rewriting.set(object, "annotations", &annotations)
    }
}
