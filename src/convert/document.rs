//! JSON objects of which some members change and all others keep their bytes.
//!
//! The members come in the order of their names, so that the result is the same on every machine.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::Error;
use super::media_type::Family;
use crate::oci::{Digest, Manifest, MediaType};

/// What to do about annotations and the like in a format without them.
const REMEDY: &str = "choose the OCI format, or let what is unsupported be left out";

/// One object of a document that has passed [`Manifest::content`], which refuses equal names.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Object(BTreeMap<String, Box<RawValue>>);

/// Converts one document, and says which if it cannot.
#[derive(Clone, Copy)]
pub(super) struct Rewriting<'a> {
    /// The document that is converted.
    pub(super) digest: &'a Digest,
    /// The family of the result.
    pub(super) family: Family,
    /// Whether what the family has no place for is left out.
    pub(super) leave_out: bool,
}

impl Rewriting<'_> {
    /// Reads an object within the document.
    pub(super) fn object(self, raw: &RawValue) -> Result<Object, Error> {
        serde_json::from_str(raw.get()).map_err(|_| self.unreadable())
    }

    /// The document itself.
    pub(super) fn root(self, manifest: &Manifest) -> Result<Object, Error> {
        serde_json::from_slice(manifest.bytes()).map_err(|_| self.unreadable())
    }

    /// The array that is the member `name`; empty without one.
    pub(super) fn array(self, object: &Object, name: &str) -> Result<Vec<Box<RawValue>>, Error> {
        match object.0.get(name) {
            Some(raw) => {
                let array: Option<_> =
                    serde_json::from_str(raw.get()).map_err(|_| self.unreadable())?;
                Ok(array.unwrap_or_default())
            }
            None => Ok(Vec::new()),
        }
    }

    /// The object that is the member `name`.
    pub(super) fn member(self, object: &Object, name: &str) -> Result<Object, Error> {
        let raw = object.0.get(name).ok_or_else(|| self.unreadable())?;
        self.object(raw)
    }

    /// Puts `value` in place of the member `name`.
    pub(super) fn set(
        self,
        object: &mut Object,
        name: &str,
        value: &impl Serialize,
    ) -> Result<(), Error> {
        let raw = to_raw_value(value).map_err(|_| self.unreadable())?;
        object.0.insert(name.to_owned(), raw);
        Ok(())
    }

    /// Docker's documents have the members of `allowed` only: any other that says something makes the
    /// document impossible, or is left out.
    pub(super) fn restrict(
        self,
        object: &mut Object,
        place: &str,
        allowed: &[&str],
    ) -> Result<(), Error> {
        if self.family == Family::Oci {
            return Ok(());
        }
        // It repeats the content that the digest names: nothing is lost without it.
        object.remove("data");
        if !self.leave_out
            && let Some((name, _)) = object
                .0
                .iter()
                .find(|(name, value)| !allowed.contains(&name.as_str()) && !is_empty(value))
        {
            // Names outside the specification are whatever somebody chose.
            let what = match name.as_str() {
                "annotations" | "subject" | "artifactType" | "urls" | "platform" => {
                    format!("`{name}` in {place}")
                }
                _ => format!("a member outside the specification in {place}"),
            };
            return Err(self.unsupported(what, REMEDY));
        }
        object.0.retain(|name, _| allowed.contains(&name.as_str()));
        Ok(())
    }

    /// The finished document.
    pub(super) fn manifest(self, object: &Object, media_type: &str) -> Result<Manifest, Error> {
        let bytes = serde_json::to_vec(object).map_err(|_| self.unreadable())?;
        let manifest = Manifest::new(Bytes::from(bytes), MediaType::new(media_type));
        // What is written has to be as sound as what was read.
        manifest.content()?;
        Ok(manifest)
    }

    pub(super) fn unsupported(self, what: String, remedy: &'static str) -> Error {
        Error::Unsupported {
            digest: self.digest.clone(),
            what,
            format: self.family.name(),
            remedy,
        }
    }

    fn unreadable(self) -> Error {
        Error::Inconsistent {
            digest: self.digest.clone(),
            problem: "its members are not what the specification says".to_owned(),
        }
    }
}

impl Object {
    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The annotations, to be changed and put back with [`Rewriting::set`].
    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        self.0
            .get("annotations")
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    }
}

/// Whether a member says nothing.
fn is_empty(value: &RawValue) -> bool {
    matches!(value.get(), "null" | "{}" | "[]" | "\"\"")
}
