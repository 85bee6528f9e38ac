//! An index or manifest list in another format, with the converted images in place of the originals.

use std::collections::BTreeMap;

use super::document::{Object, Rewriting};
use super::manifest::family;
use super::media_type::Family;
use super::{Conversion, Error};
use crate::oci::{Content, Descriptor, Digest, Manifest};

const DOCKER_INDEX: [&str; 3] = ["schemaVersion", "mediaType", "manifests"];
const DOCKER_ENTRY: [&str; 5] = ["mediaType", "size", "digest", "platform", "urls"];
/// The annotation of an attestation that names the image which it is about (BuildKit).
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// The index as `conversion` wants it, with `children` in place of the manifests whose digests they
/// stand under. An entry without a child there is left out, which only happens when what is
/// unsupported is to be left out.
pub fn convert_index(
    index: &Manifest,
    conversion: &Conversion,
    children: &BTreeMap<Digest, Manifest>,
) -> Result<Manifest, Error> {
    let rewriting = Rewriting {
        digest: index.digest(),
        family: family(index, conversion.format),
        leave_out: conversion.leave_out_unsupported,
    };
    let Content::Index { manifests, .. } = index.content()? else {
        return Ok(index.clone());
    };
    let changed = |entry: &Descriptor| {
        entry.media_type.is_manifest()
            && children
                .get(&entry.digest)
                .is_none_or(|child| *child.digest() != entry.digest)
    };
    if Family::of(index.media_type()) == rewriting.family && !manifests.iter().any(changed) {
        return Ok(index.clone());
    }
    let mut document = rewriting.root(index)?;
    rewriting.restrict(&mut document, "the index", &DOCKER_INDEX)?;
    let mut entries = Vec::with_capacity(manifests.len());
    for (raw, entry) in rewriting
        .array(&document, "manifests")?
        .iter()
        .zip(&manifests)
    {
        let object = rewriting.object(raw)?;
        entries.extend(convert_entry(rewriting, object, entry, children)?);
    }
    let media_type = rewriting.family.index();
    rewriting.set(&mut document, "schemaVersion", &2)?;
    rewriting.set(&mut document, "mediaType", &media_type)?;
    rewriting.set(&mut document, "manifests", &entries)?;
    rewriting.manifest(&document, media_type)
}

fn convert_entry(
    rewriting: Rewriting<'_>,
    mut object: Object,
    entry: &Descriptor,
    children: &BTreeMap<Digest, Manifest>,
) -> Result<Option<Object>, Error> {
    if !entry.media_type.is_manifest() {
        return if rewriting.family == Family::Oci {
            Ok(Some(object))
        } else if rewriting.leave_out {
            Ok(None)
        } else {
            Err(rewriting.unsupported(
                "an entry that is no manifest".to_owned(),
                "copy it as it is, or let what is unsupported be left out",
            ))
        };
    }
    let Some(child) = children.get(&entry.digest) else {
        return Ok(None);
    };
    rewriting.restrict(&mut object, "an entry of the index", &DOCKER_ENTRY)?;
    if *child.digest() != entry.digest {
        object.remove("data");
    }
    rewriting.set(&mut object, "mediaType", child.media_type())?;
    rewriting.set(&mut object, "digest", child.digest())?;
    rewriting.set(&mut object, "size", &child.bytes().len())?;
    let attested = entry.attests().and_then(|image| children.get(&image));
    if let Some(image) = attested
        && rewriting.family == Family::Oci
    {
        let mut annotations = object.annotations();
        annotations.insert(REFERENCE_DIGEST.to_owned(), image.digest().to_string());
        rewriting.set(&mut object, "annotations", &annotations)?;
    }
    Ok(Some(object))
}
