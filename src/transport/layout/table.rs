//! The table of contents of a layout: the `index.json`, with the names of images in annotations.
//!
//! Pure. Entries that are not ours keep their bytes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};

use crate::oci::{Content, Descriptor, Digest, Manifest, ManifestError, MediaType, Tag};

/// The annotation with the name of an image in a layout (image-spec, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The file that says that a directory is a layout, and of which version.
pub(in crate::transport) const MARKER: &str = "oci-layout";
/// What stands in it.
pub(in crate::transport) const MARKER_CONTENT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// The table of contents.
pub(in crate::transport) const INDEX: &str = "index.json";

/// The entries of an `index.json`.
#[derive(Clone, Debug, Default)]
pub(in crate::transport) struct Table {
    /// Members of the document other than the entries.
    members: BTreeMap<String, Box<RawValue>>,
    entries: Vec<Entry>,
}

/// One entry, as it is and as it is understood.
#[derive(Clone, Debug)]
struct Entry {
    raw: Box<RawValue>,
    descriptor: Descriptor,
}

impl Entry {
    fn name(&self) -> Option<&str> {
        self.descriptor
            .annotations
            .get(REF_NAME)
            .map(String::as_str)
    }
}

/// Why an `index.json` is none.
#[derive(Debug, thiserror::Error)]
pub(in crate::transport) enum TableError {
    /// It is no index.
    #[error("{INDEX}: {0}")]
    Manifest(#[from] ManifestError),
    /// Its members cannot be taken apart.
    #[error("{INDEX} is not what the specification says")]
    Document(#[from] serde_json::Error),
}

impl Table {
    /// Reads an `index.json`.
    pub(in crate::transport) fn parse(bytes: Bytes) -> Result<Self, TableError> {
        let index = Manifest::new(bytes, MediaType::new(MediaType::OCI_INDEX));
        let Content::Index { manifests, .. } = index.content()? else {
            return Ok(Self::default());
        };
        let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(index.bytes())?;
        let raw: Option<Vec<Box<RawValue>>> = match members.remove("manifests") {
            Some(raw) => serde_json::from_str(raw.get())?,
            None => None,
        };
        let entries = raw
            .unwrap_or_default()
            .into_iter()
            .zip(manifests)
            .map(|(raw, descriptor)| Entry { raw, descriptor })
            .collect();
        Ok(Self { members, entries })
    }

    /// The document.
    pub(in crate::transport) fn to_bytes(&self) -> Result<Bytes, serde_json::Error> {
        let mut members = self.members.clone();
        let entries: Vec<&RawValue> = self
            .entries
            .iter()
            .map(|entry| entry.raw.as_ref())
            .collect();
        members.insert("manifests".to_owned(), to_raw_value(&entries)?);
        members.insert("schemaVersion".to_owned(), to_raw_value(&2)?);
        if !members.contains_key("mediaType") {
            members.insert("mediaType".to_owned(), to_raw_value(MediaType::OCI_INDEX)?);
        }
        serde_json::to_vec(&members).map(Bytes::from)
    }

    /// Adds an entry for `manifest`: under `tag`, which then names nothing else, or without a name.
    pub(in crate::transport) fn add(
        &mut self,
        manifest: &Manifest,
        tag: Option<&Tag>,
    ) -> Result<(), serde_json::Error> {
        let mut descriptor = Descriptor::new(
            manifest.media_type().clone(),
            manifest.digest().clone(),
            manifest.bytes().len() as u64,
        );
        match tag {
            Some(tag) => {
                self.entries
                    .retain(|entry| entry.name() != Some(tag.as_str()));
                descriptor
                    .annotations
                    .insert(REF_NAME.to_owned(), tag.to_string());
            }
            None if self.digests().any(|digest| digest == manifest.digest()) => return Ok(()),
            None => {}
        }
        let raw = to_raw_value(&descriptor)?;
        self.entries.push(Entry { raw, descriptor });
        Ok(())
    }

    /// The entry that `tag` names: the last one, should there be several.
    pub(in crate::transport) fn find(&self, tag: &Tag) -> Option<&Descriptor> {
        let named = |entry: &&Entry| entry.name() == Some(tag.as_str());
        let entry = self.entries.iter().rev().find(named)?;
        Some(&entry.descriptor)
    }

    /// The names that are tags. A layout may have others.
    pub(in crate::transport) fn tags(&self) -> BTreeSet<Tag> {
        self.entries
            .iter()
            .filter_map(|entry| entry.name()?.parse().ok())
            .collect()
    }

    /// The digests of all entries.
    pub(in crate::transport) fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.entries.iter().map(|entry| &entry.descriptor.digest)
    }

    /// All entries.
    pub(in crate::transport) fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        self.entries.iter().map(|entry| &entry.descriptor)
    }

    /// The only image that there is. Entries without a name that are about others, signatures for
    /// example, cannot be told from images here and make it ambiguous.
    pub(in crate::transport) fn only(&self) -> Option<&Digest> {
        let digests: BTreeSet<_> = self.digests().collect();
        let named: BTreeSet<_> = self
            .entries
            .iter()
            .filter(|entry| entry.name().is_some())
            .map(|entry| &entry.descriptor.digest)
            .collect();
        let candidates = if named.is_empty() { digests } else { named };
        let mut candidates = candidates.into_iter();
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }
}

/// What was written to a layout and is not in its table yet.
#[derive(Debug, Default)]
pub(in crate::transport) struct Pending {
    manifests: BTreeMap<Digest, Manifest>,
    tags: BTreeMap<Tag, Digest>,
    /// What indexes point at: it is found through them.
    children: BTreeSet<Digest>,
}

impl Pending {
    /// Takes note of a manifest that was stored.
    pub(in crate::transport) fn add(&mut self, manifest: &Manifest, tag: Option<&Tag>) {
        if let Ok(Content::Index { manifests, .. }) = manifest.content() {
            self.children
                .extend(manifests.into_iter().map(|child| child.digest));
        }
        if let Some(tag) = tag {
            self.tags.insert(tag.clone(), manifest.digest().clone());
        }
        self.manifests
            .insert(manifest.digest().clone(), manifest.clone());
    }

    /// What `tag` was made to name.
    pub(in crate::transport) fn find(&self, tag: &Tag) -> Option<&Digest> {
        self.tags.get(tag)
    }

    /// A manifest that was stored.
    pub(in crate::transport) fn manifest(&self, digest: &Digest) -> Option<&Manifest> {
        self.manifests.get(digest)
    }

    /// The tags that were written.
    pub(in crate::transport) fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.keys()
    }

    /// Whether nothing was written.
    pub(in crate::transport) fn is_empty(&self) -> bool {
        self.manifests.is_empty()
    }

    /// Puts everything into `table`: tags by their names, and without a name what nothing else leads
    /// to, so that it can be found.
    pub(in crate::transport) fn write_into(
        &self,
        table: &mut Table,
    ) -> Result<(), serde_json::Error> {
        for (tag, digest) in &self.tags {
            if let Some(manifest) = self.manifests.get(digest) {
                table.add(manifest, Some(tag))?;
            }
        }
        for (digest, manifest) in &self.manifests {
            if !self.children.contains(digest) {
                table.add(manifest, None)?;
            }
        }
        Ok(())
    }
}

/// The path of a blob in a layout.
pub(in crate::transport) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}", digest.as_str().replacen(':', "/", 1))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manifest(content: &str) -> Manifest {
        let document = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [],
            "annotations": {"content": content},
        });
        Manifest::new(
            Bytes::from(document.to_string()),
            MediaType::new(MediaType::OCI_INDEX),
        )
    }

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    #[test]
    fn entries_of_others_keep_their_bytes() {
        let other = json!({
            "mediaType": MediaType::OCI_MANIFEST, "size": 3, "digest": Digest::sha256(b"x"),
            "annotations": {"b": "1", REF_NAME: "example.com/with:name"}, "unknown": {"z": 1},
        });
        let document = json!({"schemaVersion": 2, "manifests": [other], "annotations": {"a": "b"}});
        let mut table = Table::parse(Bytes::from(document.to_string())).unwrap();
        table.add(&manifest("one"), Some(&tag("v1"))).unwrap();
        table.add(&manifest("two"), Some(&tag("v1"))).unwrap();
        let written = table.to_bytes().unwrap();
        let value: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(value["manifests"][0], other);
        assert_eq!(value["annotations"], document["annotations"]);
        assert_eq!(value["manifests"].as_array().unwrap().len(), 2);
        let again = Table::parse(written).unwrap();
        assert_eq!(
            again.find(&tag("v1")).unwrap().digest,
            *manifest("two").digest()
        );
        // The other name is no tag.
        assert_eq!(again.tags(), BTreeSet::from([tag("v1")]));
    }

    #[test]
    fn the_only_image_needs_no_name() {
        let mut table = Table::default();
        assert_eq!(table.only(), None);
        table.add(&manifest("one"), Some(&tag("v1"))).unwrap();
        table.add(&manifest("signature"), None).unwrap();
        assert_eq!(table.only(), Some(manifest("one").digest()));
        table.add(&manifest("one"), Some(&tag("v2"))).unwrap();
        assert_eq!(table.only(), Some(manifest("one").digest()));
        table.add(&manifest("two"), Some(&tag("v3"))).unwrap();
        assert_eq!(table.only(), None);
    }

    #[test]
    fn what_an_index_leads_to_has_no_entry_of_its_own() {
        let child = manifest("child");
        let index = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX,
            "manifests": [{
                "mediaType": MediaType::OCI_INDEX, "digest": child.digest(),
                "size": child.bytes().len(),
            }],
        });
        let index = Manifest::new(
            Bytes::from(index.to_string()),
            MediaType::new(MediaType::OCI_INDEX),
        );
        let signature = manifest("signature");
        let mut pending = Pending::default();
        pending.add(&child, None);
        pending.add(&index, Some(&tag("v1")));
        pending.add(&signature, None);
        let mut table = Table::default();
        pending.write_into(&mut table).unwrap();
        let digests: BTreeSet<_> = table.digests().collect();
        assert_eq!(
            digests,
            BTreeSet::from([index.digest(), signature.digest()])
        );
    }

    #[test]
    fn what_is_no_index_is_refused() {
        for document in ["", "[]", "{}", r#"{"manifests":[],"manifests":[]}"#] {
            assert!(Table::parse(Bytes::from(document)).is_err(), "{document}");
        }
    }
}
