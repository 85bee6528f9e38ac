//! Descriptors (image-spec, descriptor.md): what a manifest says of the content it points at.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Digest, DigestError, MAX_MANIFEST_BYTES, MediaType, Platform};

/// What kind of manifest an index entry is, where its platform cannot tell (BuildKit).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// The index entry that such a manifest belongs to (BuildKit).
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
const ATTESTATION: &str = "attestation-manifest";

/// A descriptor as it stands in a manifest or an index.
///
/// Members of other names stay in the raw bytes of the manifest, which are never written anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes, at most [`i64::MAX`].
    pub size: u64,
    /// What the content runs on; only index entries say it, and not all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free text under names, for example `org.opencontainers.image.ref.name`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The type of the artifact, when the content is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// Where else the content may be found. Whoever wrote the manifest chose them: they are not to
    /// be trusted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The content itself; it has been verified against size and digest.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_base64")]
    pub data: Option<Bytes>,
}

impl Descriptor {
    /// A descriptor with the three members that every descriptor has.
    #[must_use]
    pub const fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            artifact_type: None,
            urls: Vec::new(),
            data: None,
        }
    }

    /// Whether this index entry is an attestation manifest, as BuildKit adds one for each platform.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.annotations
            .get(REFERENCE_TYPE)
            .is_some_and(|kind| kind == ATTESTATION)
    }

    /// The entry of the same index that this attestation manifest is about.
    ///
    /// [`None`] when it is no attestation manifest, or does not say what it is about.
    #[must_use]
    pub fn attests(&self) -> Option<Digest> {
        if !self.is_attestation() {
            return None;
        }
        self.annotations.get(REFERENCE_DIGEST)?.parse().ok()
    }
}

/// A descriptor as it is read, before its digest is parsed and its `data` verified.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnverifiedDescriptor {
    #[serde(deserialize_with = "media_type")]
    media_type: MediaType,
    digest: String,
    #[serde(deserialize_with = "size")]
    size: u64,
    platform: Option<Platform>,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "optional_media_type")]
    artifact_type: Option<MediaType>,
    urls: Option<Vec<String>>,
    data: Option<String>,
}

/// Why a descriptor describes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// The digest breaks the grammar or names another algorithm.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Only the content of no bytes has the size 0, and it has one digest.
    #[error("its size and its digest contradict each other")]
    FalseSize,
    /// A manifest that is larger than any that is read.
    #[error("its size is more than the {MAX_MANIFEST_BYTES} bytes of a manifest")]
    ManifestSize,
    /// The `data` is no base64, or not of the size and digest that stand beside it.
    #[error("its `data` is not the content of that size and digest")]
    FalseData,
}

impl UnverifiedDescriptor {
    pub(super) fn verify(self) -> Result<Descriptor, DescriptorError> {
        let digest = Digest::try_from(self.digest)?;
        if (self.size == 0) != digest.is_of_nothing() {
            return Err(DescriptorError::FalseSize);
        }
        if self.media_type.is_manifest()
            && usize::try_from(self.size).map_or(true, |size| size > MAX_MANIFEST_BYTES)
        {
            return Err(DescriptorError::ManifestSize);
        }
        let data = match self.data {
            None => None,
            Some(text) => {
                let content = STANDARD
                    .decode(text)
                    .map_err(|_| DescriptorError::FalseData)?;
                if u64::try_from(content.len()) != Ok(self.size) || !digest.matches(&content) {
                    return Err(DescriptorError::FalseData);
                }
                Some(Bytes::from(content))
            }
        };
        Ok(Descriptor {
            media_type: self.media_type,
            digest,
            size: self.size,
            platform: self.platform,
            annotations: self.annotations.unwrap_or_default(),
            artifact_type: self.artifact_type,
            urls: self.urls.unwrap_or_default(),
            data,
        })
    }
}

fn media_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MediaType, D::Error> {
    optional_media_type(deserializer)?.ok_or_else(|| D::Error::custom("no media type"))
}

/// A media type, [`None`] for what Go writes in the place of none.
pub(super) fn optional_media_type<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<MediaType>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let media_type = MediaType::new(&text);
    // To a parser that compares letter by letter, ` Application/…;x` is none of the known types.
    let is_known =
        media_type.is_manifest() || media_type.is_layer() || media_type.is_image_config();
    if media_type.as_str().is_empty() || (is_known && media_type.as_str() != text) {
        return Err(D::Error::custom("no media type"));
    }
    Ok(Some(media_type))
}

/// A size that the other implementations, which count in signed numbers, understand.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if i64::try_from(size).is_err() {
        return Err(D::Error::custom("a size beyond the signed numbers"));
    }
    Ok(size)
}

#[expect(
    clippy::ref_option,
    reason = "the signature that serde calls with a reference to the field"
)]
fn as_base64<S: Serializer>(data: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
    match data {
        Some(content) => serializer.serialize_str(&STANDARD.encode(content)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(document: Value) -> Result<Descriptor, DescriptorError> {
        serde_json::from_value::<UnverifiedDescriptor>(document)
            .unwrap()
            .verify()
    }

    fn empty_json() -> Value {
        json!({
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        })
    }

    #[test]
    fn every_member_is_written_as_it_was_read() {
        let mut document = empty_json();
        document["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
        document["annotations"] = json!({"a": "b"});
        document["artifactType"] = json!("application/vnd.example");
        document["urls"] = json!(["https://example.test/blob"]);
        document["data"] = json!("e30=");
        let descriptor = read(document.clone()).unwrap();
        assert_eq!(descriptor.data.as_deref(), Some(b"{}".as_slice()));
        assert_eq!(serde_json::to_value(&descriptor).unwrap(), document);
    }

    #[test]
    fn absent_members_stay_absent() {
        let descriptor = read(empty_json()).unwrap();
        assert_eq!(serde_json::to_value(&descriptor).unwrap(), empty_json());
        let Descriptor {
            media_type,
            digest,
            size,
            ..
        } = descriptor.clone();
        assert_eq!(Descriptor::new(media_type, digest, size), descriptor);
    }

    #[test]
    fn data_that_is_something_else_is_refused() {
        for data in ["e31=", "e30gIA==", "e30", "e30=\n", "?", ""] {
            let mut document = empty_json();
            document["data"] = json!(data);
            assert_eq!(read(document), Err(DescriptorError::FalseData), "{data:?}");
        }
    }

    #[test]
    fn an_attestation_names_what_it_is_about() {
        let mut document = empty_json();
        let digest = document["digest"].as_str().unwrap().to_owned();
        document["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": digest,
        });
        let attestation = read(document.clone()).unwrap();
        assert!(attestation.is_attestation());
        assert_eq!(attestation.attests().unwrap().as_str(), digest);

        document["annotations"]["vnd.docker.reference.type"] = json!("other");
        let other = read(document).unwrap();
        assert!(!other.is_attestation());
        assert_eq!(other.attests(), None);
    }
}
