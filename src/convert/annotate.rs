//! A manifest with more annotations.

use std::collections::BTreeMap;

use super::document::Rewriting;
use super::manifest::family;
use super::media_type::Family;
use super::{Conversion, Error};
use crate::oci::Manifest;

/// The manifest with `added` annotations; they win over those of the same name that it has. It is to be
/// converted by `conversion` afterwards: Docker's format has no annotations, so one that is Docker's then is
/// refused, or stays as it is when what is unsupported is to be left out.
pub fn annotate(
    manifest: &Manifest,
    added: &BTreeMap<String, String>,
    conversion: &Conversion,
) -> Result<Manifest, Error> {
    if added.is_empty() {
        return Ok(manifest.clone());
    }
    let rewriting = Rewriting {
        digest: manifest.digest(),
        family: family(manifest, conversion.format),
        leave_out: conversion.leave_out_unsupported,
    };
    if rewriting.family == Family::Docker {
        return if rewriting.leave_out {
            Ok(manifest.clone())
        } else {
            Err(rewriting.unsupported(
                "annotations to add".to_owned(),
                "choose the OCI format, or add none",
            ))
        };
    }
    let mut document = rewriting.root(manifest)?;
    let mut annotations = document.annotations();
    annotations.extend(added.clone());
    rewriting.set(&mut document, "annotations", &annotations)?;
    rewriting.manifest(&document, manifest.media_type().as_str())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::convert::Format;
    use crate::oci::{Digest, MediaType};

    fn manifest(media_type: &str, config: &str) -> Manifest {
        let config = json!({"mediaType": config, "digest": Digest::sha256(b"{}"), "size": 2});
        let document = json!({
            "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [],
            "annotations": {"kept": "1", "replaced": "2"}, "vnd.other": {"z": 1},
        });
        Manifest::new(
            Bytes::from(document.to_string()),
            MediaType::new(media_type),
        )
    }

    fn added() -> BTreeMap<String, String> {
        [("replaced", "3"), ("new", "4")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn annotations_are_added_and_nothing_else_changes() {
        let manifest = manifest(MediaType::OCI_MANIFEST, MediaType::OCI_CONFIG);
        let annotated = annotate(&manifest, &added(), &Conversion::default()).unwrap();
        let mut expected: Value = serde_json::from_slice(manifest.bytes()).unwrap();
        expected["annotations"] = json!({"kept": "1", "replaced": "3", "new": "4"});
        let found: Value = serde_json::from_slice(annotated.bytes()).unwrap();
        assert_eq!(found, expected);
        assert_eq!(*annotated.digest(), Digest::sha256(annotated.bytes()));
    }

    #[test]
    fn without_annotations_the_bytes_stay() {
        let manifest = manifest(MediaType::OCI_MANIFEST, MediaType::OCI_CONFIG);
        let annotated = annotate(&manifest, &BTreeMap::new(), &Conversion::default()).unwrap();
        assert_eq!(annotated.bytes(), manifest.bytes());
    }

    #[test]
    fn what_ends_in_dockers_format_has_none() {
        let docker = manifest(MediaType::DOCKER_MANIFEST, MediaType::DOCKER_CONFIG);
        let to = |format, leave_out_unsupported| Conversion {
            format,
            leave_out_unsupported,
            ..Conversion::default()
        };
        assert!(annotate(&docker, &added(), &to(Format::Preserve, false)).is_err());
        let left = annotate(&docker, &added(), &to(Format::Docker, true)).unwrap();
        assert_eq!(left.bytes(), docker.bytes());
        assert!(annotate(&docker, &added(), &to(Format::Oci, false)).is_ok());
    }
}
