//! Which platforms of an index are copied, and what becomes of the index then.
//!
//! Pure: documents in, documents out.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Failure;
use crate::oci::{Content, Descriptor, Digest, Manifest, Platform};
use crate::reason::Reason;

/// The platforms to copy. An image that is no index is copied whatever is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// All of them; the index stays as it is.
    #[default]
    All,
    /// These; the index stays as it is, and names images that the destination does not have. Not
    /// every registry takes that.
    Sparse(Vec<Platform>),
    /// These, under a new index that names nothing else. Its digest is another than the source's.
    Rewrite(Vec<Platform>),
    /// The image for this one, without an index: for places that hold no index.
    Image(Platform),
}

impl Selection {
    /// Whether the destination's index is another than the source's.
    pub(super) const fn rewrites(&self) -> bool {
        matches!(self, Self::Rewrite(_) | Self::Image(_))
    }

    /// The image of the index `root` that is copied in its place, when a single one is.
    pub(super) fn image(&self, root: &Manifest) -> Result<Option<Digest>, Failure> {
        let Self::Image(platform) = self else {
            return Ok(None);
        };
        match content(root)? {
            Content::Index { manifests, .. } => {
                the_image(root.digest(), &manifests, platform).map(Some)
            }
            Content::Image { .. } | Content::Artifact { .. } => Ok(None),
        }
    }

    /// The image to write for the image `root` of the source.
    pub(super) fn apply(&self, root: Manifest) -> Result<Manifest, Failure> {
        let Self::Rewrite(platforms) = self else {
            return Ok(root);
        };
        match content(&root)? {
            Content::Index { manifests, .. } => {
                let kept = select(root.digest(), &manifests, platforms)?;
                if kept.len() == manifests.len() {
                    return Ok(root);
                }
                rewrite(&root, &manifests, &kept)
            }
            Content::Image { .. } | Content::Artifact { .. } => Ok(root),
        }
    }

    /// The children of the index `root` that are to be copied.
    pub(super) fn children(
        &self,
        root: &Digest,
        manifests: Vec<Descriptor>,
    ) -> Result<Vec<Descriptor>, Failure> {
        let Self::Sparse(platforms) = self else {
            return Ok(manifests);
        };
        let kept = select(root, &manifests, platforms)?;
        Ok(manifests
            .into_iter()
            .filter(|child| kept.contains(&child.digest))
            .collect())
    }
}

fn content(manifest: &Manifest) -> Result<Content, Failure> {
    manifest
        .content()
        .map_err(|error| Failure::of_manifest(&error))
}

/// The children of an index that belong to one of the platforms.
///
/// A child that names no platform belongs to all of them: an index within the index is kept whole.
/// An attestation goes with the image that it is about.
fn select(
    index: &Digest,
    manifests: &[Descriptor],
    platforms: &[Platform],
) -> Result<BTreeSet<Digest>, Failure> {
    if let Some(missing) = platforms
        .iter()
        .find(|wanted| !manifests.iter().any(|child| matches(child, wanted)))
    {
        return Err(no_such_platform(index, manifests, missing));
    }
    let mut kept = BTreeSet::new();
    for child in manifests.iter().filter(|child| !child.is_attestation()) {
        let of_all = child.platform.as_ref().is_none_or(Platform::is_unknown);
        if of_all || platforms.iter().any(|wanted| matches(child, wanted)) {
            kept.insert(child.digest.clone());
        }
    }
    for child in manifests {
        if child.attests().is_some_and(|image| kept.contains(&image)) {
            kept.insert(child.digest.clone());
        }
    }
    Ok(kept)
}

fn matches(child: &Descriptor, wanted: &Platform) -> bool {
    child
        .platform
        .as_ref()
        .is_some_and(|platform| platform.matches(wanted))
}

/// The one image of an index for a platform. Of several, which differ in what a platform does not
/// say, none is taken by chance.
fn the_image(
    index: &Digest,
    manifests: &[Descriptor],
    platform: &Platform,
) -> Result<Digest, Failure> {
    let found: BTreeSet<&Digest> = manifests
        .iter()
        .filter(|child| !child.is_attestation() && matches(child, platform))
        .map(|child| &child.digest)
        .collect();
    match found.first() {
        Some(&only) if found.len() == 1 => Ok(only.clone()),
        None => Err(no_such_platform(index, manifests, platform)),
        Some(_) => Err(Failure {
            reason: Reason::SourceInvalid,
            message: format!(
                "index {index} has {} images for {platform}; name its variant, or one of them by \
                 its digest",
                found.len()
            ),
        }),
    }
}

fn no_such_platform(index: &Digest, manifests: &[Descriptor], missing: &Platform) -> Failure {
    let available: BTreeSet<String> = manifests
        .iter()
        .filter_map(|child| child.platform.as_ref())
        .filter(|platform| !platform.is_unknown())
        .take(20)
        .map(ToString::to_string)
        .collect();
    let available: Vec<String> = available.into_iter().collect();
    Failure {
        reason: Reason::SourceInvalid,
        message: format!(
            "index {index} has no image for {missing}; it has {}",
            available.join(", ")
        ),
    }
}

/// The index with the kept children only. Every other member keeps its bytes; the members come in
/// the order of their names, so that the result is the same on every machine.
fn rewrite(
    index: &Manifest,
    manifests: &[Descriptor],
    kept: &BTreeSet<Digest>,
) -> Result<Manifest, Failure> {
    const MANIFESTS: &str = "manifests";
    let unreadable = |_| Failure {
        reason: Reason::SourceInvalid,
        message: format!("index {} cannot be written anew", index.digest()),
    };
    let mut document: BTreeMap<String, &RawValue> =
        serde_json::from_slice(index.bytes()).map_err(unreadable)?;
    let children: Vec<&RawValue> = match document.get(MANIFESTS) {
        Some(children) => serde_json::from_str(children.get()).map_err(unreadable)?,
        None => Vec::new(),
    };
    let children: Vec<&RawValue> = children
        .into_iter()
        .zip(manifests)
        .filter(|(_, child)| kept.contains(&child.digest))
        .map(|(raw, _)| raw)
        .collect();
    let children = serde_json::value::to_raw_value(&children).map_err(unreadable)?;
    document.insert(MANIFESTS.to_owned(), &children);
    let bytes = serde_json::to_vec(&document).map_err(unreadable)?;
    Ok(Manifest::new(
        Bytes::from(bytes),
        index.media_type().clone(),
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::oci::MediaType;

    /// An index with an image for each of three platforms, an attestation of the first, and an
    /// entry without a platform.
    fn index() -> (Manifest, Vec<Digest>) {
        let digests: Vec<Digest> = (0..5_u8).map(|seed| Digest::sha256(&[seed])).collect();
        let entry = |digest: &Digest| json!({"mediaType": MediaType::OCI_MANIFEST, "digest": digest, "size": 7});
        let mut entries: Vec<Value> = digests.iter().map(entry).collect();
        entries[0]["platform"] = json!({"os": "linux", "architecture": "amd64"});
        entries[1]["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
        entries[2]["platform"] =
            json!({"os": "windows", "architecture": "amd64", "os.version": "10.0.1"});
        entries[3]["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        entries[3]["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": digests[0],
        });
        let document = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_INDEX,
            "manifests": entries,
            "annotations": {"b": "1", "a": "2"},
            "unknown": {"z": 1, "a": [1, 2]},
        });
        let bytes = Bytes::from(document.to_string());
        (
            Manifest::new(bytes, MediaType::new(MediaType::OCI_INDEX)),
            digests,
        )
    }

    fn platforms(names: &[&str]) -> Vec<Platform> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn children(index: &Manifest) -> Vec<Digest> {
        let Content::Index { manifests, .. } = index.content().unwrap() else {
            panic!("not an index")
        };
        manifests.into_iter().map(|child| child.digest).collect()
    }

    #[rstest]
    #[case::one_with_its_attestation(&["linux/amd64"], &[0, 3, 4])]
    #[case::variant_left_out(&["linux/arm64"], &[1, 4])]
    #[case::two(&["linux/arm64/v8", "windows/amd64"], &[1, 2, 4])]
    #[case::all(&["linux/amd64", "linux/arm64", "windows/amd64"], &[0, 1, 2, 3, 4])]
    fn children_of_the_platforms_are_kept(#[case] wanted: &[&str], #[case] expected: &[usize]) {
        let (index, digests) = index();
        let expected: Vec<_> = expected.iter().map(|&at| digests[at].clone()).collect();
        let rewritten = Selection::Rewrite(platforms(wanted))
            .apply(index.clone())
            .unwrap();
        assert_eq!(children(&rewritten), expected);
        let Content::Index { manifests, .. } = index.content().unwrap() else {
            panic!("not an index")
        };
        let sparse = Selection::Sparse(platforms(wanted));
        assert_eq!(sparse.apply(index.clone()).unwrap(), index);
        let copied: Vec<_> = sparse
            .children(index.digest(), manifests)
            .unwrap()
            .into_iter()
            .map(|child| child.digest)
            .collect();
        assert_eq!(copied, expected);
    }

    #[test]
    fn a_new_index_keeps_every_other_member() {
        let (index, _) = index();
        let rewritten = Selection::Rewrite(platforms(&["linux/amd64"]))
            .apply(index.clone())
            .unwrap();
        let before: Value = serde_json::from_slice(index.bytes()).unwrap();
        let mut after: Value = serde_json::from_slice(rewritten.bytes()).unwrap();
        assert_eq!(after["manifests"][0], before["manifests"][0]);
        after["manifests"] = before["manifests"].clone();
        assert_eq!(after, before);
    }

    #[test]
    fn an_index_of_which_everything_is_kept_keeps_its_digest() {
        let (index, _) = index();
        let wanted = platforms(&["linux/amd64", "linux/arm64", "windows/amd64"]);
        let kept = Selection::Rewrite(wanted).apply(index.clone()).unwrap();
        assert_eq!(kept, index);
    }

    #[test]
    fn a_single_image_is_the_only_one_for_its_platform() {
        let (index, digests) = index();
        let image = |platform: &str| {
            let selection = Selection::Image(platform.parse().unwrap());
            selection.image(&index)
        };
        assert_eq!(image("linux/arm64").unwrap().as_ref(), Some(&digests[1]));
        assert_eq!(
            image("linux/s390x").unwrap_err().reason,
            Reason::SourceInvalid
        );
        assert_eq!(Selection::All.image(&index).unwrap(), None);
        let two = index_of(
            &digests[..2],
            &json!({"os": "linux", "architecture": "arm"}),
        );
        let several = Selection::Image("linux/arm".parse().unwrap()).image(&two);
        let message = several.unwrap_err().message;
        assert!(message.contains("2 images for linux/arm"), "{message}");
    }

    fn index_of(digests: &[Digest], platform: &Value) -> Manifest {
        let entries: Vec<Value> = digests
            .iter()
            .map(|digest| {
                json!({
                    "mediaType": MediaType::OCI_MANIFEST, "digest": digest, "size": 7,
                    "platform": platform,
                })
            })
            .collect();
        let document = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries,
        });
        let bytes = Bytes::from(document.to_string());
        Manifest::new(bytes, MediaType::new(MediaType::OCI_INDEX))
    }

    #[test]
    fn a_platform_that_is_not_there_is_named_with_those_that_are() {
        let (index, _) = index();
        let failure = Selection::Rewrite(platforms(&["linux/s390x"]))
            .apply(index)
            .unwrap_err();
        assert_eq!(failure.reason, Reason::SourceInvalid);
        assert!(failure.message.contains("linux/s390x"), "{failure}");
        assert!(failure.message.contains("linux/amd64"), "{failure}");
        assert!(!failure.message.contains("unknown"), "{failure}");
    }
}
