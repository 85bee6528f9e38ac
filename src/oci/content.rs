//! What a manifest or an index points at, and the members of a document that say it.

use std::collections::{BTreeMap, HashMap};

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::descriptor::{DescriptorError, UnverifiedDescriptor, optional_media_type};
use super::document::Field;
use super::{Descriptor, MediaType};

/// What a manifest points at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each manifest at a time, and it is taken apart at once"
)]
pub enum Content {
    /// An index or manifest list: other manifests, usually one per platform.
    Index {
        /// The children in the order of the document.
        manifests: Vec<Descriptor>,
        /// The manifest that this one is about, when it is a referrer.
        subject: Option<Descriptor>,
        /// What kind of artifact it is, when it is one and says so.
        artifact_type: Option<MediaType>,
        /// Free text under names.
        annotations: BTreeMap<String, String>,
    },
    /// An image or artifact.
    Image {
        /// The configuration blob.
        config: Descriptor,
        /// The layers in the order of the document, duplicates included.
        layers: Vec<Descriptor>,
        /// The manifest that this one is about, when it is a referrer: a signature, for example.
        subject: Option<Descriptor>,
        /// What kind of artifact it is, when it is one and says so. Otherwise the media type of
        /// the configuration tells.
        artifact_type: Option<MediaType>,
        /// Free text under names.
        annotations: BTreeMap<String, String>,
    },
    /// An artifact manifest of the kinds that image-spec 1.1 did not keep.
    Artifact {
        /// The content in the order of the document, duplicates included.
        blobs: Vec<Descriptor>,
        /// The manifest that this one is about.
        subject: Option<Descriptor>,
        /// What kind of artifact it is.
        artifact_type: Option<MediaType>,
        /// Free text under names.
        annotations: BTreeMap<String, String>,
    },
}

impl Content {
    /// What kind of artifact it is, as lists of referrers say it: its artifact type, or else the media
    /// type of its configuration (distribution-spec, "Listing Referrers").
    #[must_use]
    pub fn artifact_type(&self) -> Option<&MediaType> {
        match self {
            Self::Image {
                config,
                artifact_type,
                ..
            } => Some(artifact_type.as_ref().unwrap_or(&config.media_type)),
            Self::Index { artifact_type, .. } | Self::Artifact { artifact_type, .. } => {
                artifact_type.as_ref()
            }
        }
    }

    /// The manifest that this one is about, when it is a referrer.
    #[must_use]
    pub const fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Index { subject, .. }
            | Self::Image { subject, .. }
            | Self::Artifact { subject, .. } => subject.as_ref(),
        }
    }

    /// Whether the same content is said to have two sizes.
    pub(super) fn has_contradicting_sizes(&self) -> bool {
        let (first, others) = match self {
            Self::Image { config, layers, .. } => (Some(config), layers),
            Self::Index { manifests, .. } => (None, manifests),
            Self::Artifact { blobs, .. } => (None, blobs),
        };
        let mut sizes = HashMap::with_capacity(others.len() + 1);
        first.into_iter().chain(others).any(|descriptor| {
            *sizes.entry(&descriptor.digest).or_insert(descriptor.size) != descriptor.size
        })
    }
}

/// A member that counts as there when it is `null`: some parsers see a list of nothing in it.
type Member<T> = Option<Option<T>>;
type Descriptors = Vec<UnverifiedDescriptor>;

/// All members that the documents of any media type have, so that none is overlooked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    schema_version: Option<u64>,
    #[serde(default, deserialize_with = "optional_media_type")]
    pub(super) media_type: Option<MediaType>,
    #[serde(default, deserialize_with = "optional_media_type")]
    artifact_type: Option<MediaType>,
    #[serde(default, deserialize_with = "member")]
    manifests: Member<Descriptors>,
    #[serde(default, deserialize_with = "member")]
    config: Member<UnverifiedDescriptor>,
    #[serde(default, deserialize_with = "member")]
    layers: Member<Descriptors>,
    #[serde(default, deserialize_with = "member")]
    blobs: Member<Descriptors>,
    #[serde(default, deserialize_with = "member")]
    fs_layers: Member<IgnoredAny>,
    subject: Option<UnverifiedDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

fn member<'de, D, T>(deserializer: D) -> Result<Member<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

impl Document {
    /// What makes it ambiguous for its media type.
    pub(super) fn problem(&self, media_type: &MediaType) -> Option<&'static str> {
        let Self {
            manifests,
            config,
            layers,
            blobs,
            ..
        } = self;
        if self.schema_version.is_some_and(|version| version != 2) {
            return Some("a `schemaVersion` other than 2");
        }
        if self.fs_layers.is_some() {
            return Some("the `fsLayers` of schema 1");
        }
        if media_type.is_index() {
            if config.is_some() || layers.is_some() || blobs.is_some() {
                Some("an index with `config`, `layers` or `blobs`")
            } else if manifests.is_none() {
                Some("an index without `manifests`")
            } else {
                None
            }
        } else if media_type.is_artifact_manifest() {
            (manifests.is_some() || config.is_some() || layers.is_some())
                .then_some("an artifact manifest with `manifests`, `config` or `layers`")
        } else if manifests.is_some() || blobs.is_some() {
            Some("an image manifest with `manifests` or `blobs`")
        } else if config.as_ref().is_none_or(Option::is_none) {
            Some("an image manifest without `config`")
        } else if layers.is_none() {
            Some("an image manifest without `layers`")
        } else {
            None
        }
    }

    /// What it points at, once it is not ambiguous.
    pub(super) fn verify(
        self,
        media_type: &MediaType,
    ) -> Result<Content, (Field, DescriptorError)> {
        let verify = |name, descriptor: UnverifiedDescriptor| {
            descriptor
                .verify()
                .map_err(|problem| (Field::member(name), problem))
        };
        let verify_all = |name, descriptors: Member<Descriptors>| {
            descriptors
                .flatten()
                .unwrap_or_default()
                .into_iter()
                .enumerate()
                .map(|(index, descriptor)| {
                    descriptor
                        .verify()
                        .map_err(|problem| (Field::element(name, index), problem))
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let subject = self
            .subject
            .map(|subject| verify("subject", subject))
            .transpose()?;
        let artifact_type = self.artifact_type;
        let annotations = self.annotations.unwrap_or_default();
        Ok(match self.config.flatten() {
            Some(config) => Content::Image {
                config: verify("config", config)?,
                layers: verify_all("layers", self.layers)?,
                subject,
                artifact_type,
                annotations,
            },
            None if media_type.is_index() => Content::Index {
                manifests: verify_all("manifests", self.manifests)?,
                subject,
                artifact_type,
                annotations,
            },
            None => Content::Artifact {
                blobs: verify_all("blobs", self.blobs)?,
                subject,
                artifact_type,
                annotations,
            },
        })
    }
}
