//! What the registry holds, and whether its tags point at complete images. Must not know HTTP.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use transship::oci::Digest;

/// A manifest as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredManifest {
    pub(crate) bytes: Bytes,
    pub(crate) media_type: String,
}

#[derive(Default)]
pub(super) struct Repository {
    pub(super) blobs: HashMap<Digest, Bytes>,
    pub(super) manifests: BTreeMap<Digest, StoredManifest>,
    pub(super) tags: BTreeMap<String, Digest>,
    pub(super) sessions: HashMap<String, BytesMut>,
}

#[derive(Default)]
pub(super) struct Storage {
    pub(super) repositories: BTreeMap<String, Repository>,
    /// Blobs whose bytes arrived although some repository had them, in order.
    pub(super) duplicate_uploads: Vec<Digest>,
    /// States in which a tag pointed at an incomplete image, in words.
    pub(super) violations: Vec<String>,
    sessions: u64,
    hidden: Vec<Hidden>,
}

/// Content that was acknowledged and is not shown yet.
struct Hidden {
    /// How many more requests do not see it.
    requests: usize,
    repository: String,
    content: HiddenContent,
}

enum HiddenContent {
    Blob(Digest, Bytes),
    Manifest(Digest, StoredManifest, Option<String>),
}

/// What a manifest needs: its blobs and its child manifests.
struct References {
    blobs: Vec<String>,
    children: Vec<String>,
}

impl Storage {
    pub(super) fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    /// Opens an upload session.
    pub(super) fn open(&mut self, repository: &str) -> String {
        self.sessions += 1;
        let session = format!("session-{}", self.sessions);
        self.repository(repository)
            .sessions
            .insert(session.clone(), BytesMut::new());
        session
    }

    /// Stores uploaded bytes under their digest, which the caller has checked.
    pub(super) fn receive(&mut self, repository: &str, digest: Digest, content: Bytes) {
        if self.find_blob(&digest).is_some() {
            self.duplicate_uploads.push(digest.clone());
        }
        self.repository(repository).blobs.insert(digest, content);
    }

    /// A blob of any repository.
    pub(super) fn find_blob(&self, digest: &Digest) -> Option<Bytes> {
        self.repositories
            .values()
            .find_map(|repository| repository.blobs.get(digest).cloned())
    }

    /// Takes a blob out of a repository until `requests` more have been answered.
    pub(super) fn hide_blob(&mut self, name: &str, digest: &Digest, requests: usize) {
        if let Some(bytes) = self.repository(name).blobs.remove(digest) {
            let content = HiddenContent::Blob(digest.clone(), bytes);
            self.hide(name, content, requests);
        }
    }

    /// Takes a manifest and its tag out of a repository until `requests` more have been answered.
    pub(super) fn hide_manifest(&mut self, name: &str, reference: &str, requests: usize) {
        let repository = self.repository(name);
        let Some((digest, manifest)) = repository.resolve(reference) else {
            return;
        };
        repository.manifests.remove(&digest);
        let tag = repository.tags.remove(reference);
        let tag = tag.map(|_| reference.to_owned());
        self.hide(
            name,
            HiddenContent::Manifest(digest, manifest, tag),
            requests,
        );
    }

    fn hide(&mut self, name: &str, content: HiddenContent, requests: usize) {
        self.hidden.push(Hidden {
            requests,
            repository: name.to_owned(),
            content,
        });
    }

    /// Another request came: shows what has been hidden long enough.
    pub(super) fn show_hidden(&mut self) {
        for hidden in std::mem::take(&mut self.hidden) {
            if hidden.requests > 0 {
                self.hidden.push(Hidden {
                    requests: hidden.requests - 1,
                    ..hidden
                });
                continue;
            }
            let repository = self.repository(&hidden.repository);
            match hidden.content {
                HiddenContent::Blob(digest, content) => {
                    repository.blobs.insert(digest, content);
                }
                HiddenContent::Manifest(digest, manifest, tag) => {
                    repository.manifests.insert(digest.clone(), manifest);
                    repository.tags.extend(tag.map(|tag| (tag, digest)));
                }
            }
            self.check(&hidden.repository);
        }
    }

    /// Removes the blobs of a repository that none of its manifests names.
    pub(super) fn collect_garbage(&mut self, name: &str) {
        // What was acknowledged and is not shown yet is there all the same.
        let hidden: Vec<_> = self
            .hidden
            .iter()
            .filter(|hidden| hidden.repository == name)
            .filter_map(|hidden| match &hidden.content {
                HiddenContent::Manifest(_, manifest, _) => Some(manifest.clone()),
                HiddenContent::Blob(..) => None,
            })
            .collect();
        let repository = self.repository(name);
        let mut named = BTreeSet::new();
        for stored in repository.manifests.values().chain(&hidden) {
            let manifest = serde_json::from_slice(&stored.bytes).unwrap_or_default();
            let References { blobs, children } = references(&manifest);
            named.extend(blobs.into_iter().chain(children));
        }
        repository
            .blobs
            .retain(|digest, _| named.contains(digest.as_str()));
        self.check(name);
    }

    /// Notes every tag of a repository that points at an incomplete image.
    pub(super) fn check(&mut self, name: &str) {
        let Some(repository) = self.repositories.get(name) else {
            return;
        };
        for (tag, digest) in &repository.tags {
            if let Err(missing) = repository.complete(digest.as_str(), &mut BTreeSet::new()) {
                self.violations.push(format!(
                    "{name}:{tag} points at {digest}, which lacks {missing}"
                ));
            }
        }
    }
}

impl Repository {
    pub(super) fn resolve(&self, reference: &str) -> Option<(Digest, StoredManifest)> {
        let digest = match self.tags.get(reference) {
            Some(digest) => digest.clone(),
            None => reference.parse().ok()?,
        };
        let manifest = self.manifests.get(&digest)?.clone();
        Some((digest, manifest))
    }

    /// What a manifest that is about to be stored refers to and this repository lacks.
    pub(super) fn missing(&self, manifest: &Value) -> Vec<String> {
        let References { blobs, children } = references(manifest);
        let blobs = blobs.into_iter().filter(|digest| !self.has_blob(digest));
        let children = children
            .into_iter()
            .filter(|digest| !self.has_manifest(digest) && !self.has_blob(digest));
        blobs.chain(children).collect()
    }

    /// The descriptors of the manifests whose `subject` is `subject`.
    pub(super) fn referrers(&self, subject: &str) -> Vec<Value> {
        let mut descriptors = Vec::new();
        for (digest, stored) in &self.manifests {
            let Ok(manifest) = serde_json::from_slice::<Value>(&stored.bytes) else {
                continue;
            };
            if manifest.pointer("/subject/digest").and_then(Value::as_str) != Some(subject) {
                continue;
            }
            let mut descriptor = serde_json::Map::new();
            descriptor.insert("mediaType".to_owned(), stored.media_type.clone().into());
            descriptor.insert("digest".to_owned(), digest.as_str().into());
            descriptor.insert("size".to_owned(), stored.bytes.len().into());
            let artifact_type = manifest
                .get("artifactType")
                .or_else(|| manifest.pointer("/config/mediaType"));
            if let Some(artifact_type) = artifact_type {
                descriptor.insert("artifactType".to_owned(), artifact_type.clone());
            }
            if let Some(annotations) = manifest.get("annotations") {
                descriptor.insert("annotations".to_owned(), annotations.clone());
            }
            descriptors.push(descriptor.into());
        }
        descriptors
    }

    fn has_blob(&self, digest: &str) -> bool {
        digest
            .parse::<Digest>()
            .is_ok_and(|digest| self.blobs.contains_key(&digest))
    }

    fn has_manifest(&self, digest: &str) -> bool {
        digest
            .parse::<Digest>()
            .is_ok_and(|digest| self.manifests.contains_key(&digest))
    }

    /// Fails with the first digest that is missing below a manifest.
    pub(super) fn complete(&self, digest: &str, seen: &mut BTreeSet<String>) -> Result<(), String> {
        if !seen.insert(digest.to_owned()) {
            return Ok(());
        }
        let Some((_, stored)) = self.resolve(digest) else {
            // An index may list blobs.
            return if self.has_blob(digest) {
                Ok(())
            } else {
                Err(digest.to_owned())
            };
        };
        let manifest = serde_json::from_slice(&stored.bytes).unwrap_or_default();
        let References { blobs, children } = references(&manifest);
        if let Some(missing) = blobs.into_iter().find(|digest| !self.has_blob(digest)) {
            return Err(missing);
        }
        children
            .iter()
            .try_for_each(|child| self.complete(child, seen))
    }
}

fn references(manifest: &Value) -> References {
    let list = |name: &str| {
        let descriptors = manifest.get(name).and_then(Value::as_array);
        descriptors.into_iter().flatten()
    };
    let digest = |descriptor: &Value| Some(descriptor.get("digest")?.as_str()?.to_owned());
    let config = manifest.get("config").into_iter();
    let layers = list("layers").filter(|layer| {
        let media_type = layer.get("mediaType").and_then(Value::as_str);
        !media_type
            .is_some_and(|name| name.contains("foreign") || name.contains("nondistributable"))
    });
    References {
        blobs: config.chain(layers).filter_map(digest).collect(),
        children: list("manifests").filter_map(digest).collect(),
    }
}
