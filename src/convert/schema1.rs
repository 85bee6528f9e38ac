//! An image of Docker's schema 1 as one of schema 2.
//!
//! Schema 1 has neither a configuration of its own nor the digests of what its layers unpack to.
//! The configuration is made of the last step of the build, as Docker and skopeo make it, so that
//! the image runs as it did; what the layers unpack to has to be given. The signature is left
//! behind: it is about the old document, and made with a key that nobody knows.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::media_type::Family;
use super::{Error, Measured};
use crate::oci::{
    Descriptor, Digest, LayerCompression, MAX_CONFIG_BYTES, Manifest, MediaType, Schema1,
    Schema1Step, read_document,
};

/// Members of a step that say where it stood among the others.
const OF_THE_STEP: [&str; 6] = ["id", "parent", "parent_id", "layer_id", "throwaway", "Size"];
/// What schema 1 was built on, unless a step says otherwise.
const DEFAULT_SYSTEM: &str = "linux";

/// An image of schema 1 whose steps fit together.
#[derive(Debug)]
pub struct Schema1Image {
    digest: Digest,
    architecture: Option<String>,
    /// From the first to the last.
    steps: Vec<Step>,
}

/// One step of the build, and what is said of it.
#[derive(Debug)]
struct Step {
    layer: Digest,
    configuration: String,
    said: Said,
}

/// What is read of `v1Compatibility`.
#[derive(Debug, Deserialize)]
struct Said {
    id: String,
    parent: Option<String>,
    created: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    throwaway: Option<bool>,
    container_config: Option<Container>,
}

/// The container that the step ran in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    cmd: Option<Vec<String>>,
}

/// An entry of the `history` of a configuration.
#[derive(Serialize)]
struct HistoryEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<&'a str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

impl Schema1Image {
    /// Reads the document and refuses one whose steps are no chain.
    pub fn read(manifest: &Manifest) -> Result<Self, Error> {
        let document = Schema1::parse(manifest)?;
        let digest = manifest.digest().clone();
        let steps: Vec<Step> = document
            .steps
            .into_iter()
            .enumerate()
            .map(|(position, step)| read_step(&digest, position, step))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            steps: chain(&digest, steps)?,
            architecture: document.architecture,
            digest,
        })
    }

    /// The layers that hold something, from the lowest to the highest, duplicates included.
    pub fn layers(&self) -> impl Iterator<Item = &Digest> {
        self.steps
            .iter()
            .filter(|step| !step.is_empty())
            .map(|step| &step.layer)
    }

    /// The image as one of schema 2, the manifest and its configuration, once it is known of each of
    /// [`Self::layers`] how long it is and what it unpacks to.
    pub fn convert(&self, layers: &[(u64, Measured)]) -> Result<(Manifest, Bytes), Error> {
        let config = self.config(layers)?;
        if config.len() > MAX_CONFIG_BYTES {
            return Err(self.inconsistent(format!(
                "its configuration has more than {MAX_CONFIG_BYTES} bytes"
            )));
        }
        let descriptors = self
            .layers()
            .zip(layers)
            .map(|(digest, (size, measured))| {
                let media_type = match measured.compression {
                    LayerCompression::Gzip => MediaType::DOCKER_LAYER_GZIP,
                    LayerCompression::None => MediaType::DOCKER_LAYER,
                    LayerCompression::Zstd => {
                        let problem = format!("its layer {digest} is compressed with zstd");
                        return Err(self.inconsistent(problem));
                    }
                };
                Ok(Descriptor::new(
                    MediaType::new(media_type),
                    digest.clone(),
                    *size,
                ))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let layers: Vec<_> = descriptors.iter().map(members).collect();
        let config_descriptor = Descriptor::new(
            MediaType::new(MediaType::DOCKER_CONFIG),
            Digest::sha256(&config),
            config.len() as u64,
        );
        let media_type = Family::Docker.manifest();
        let document = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": members(&config_descriptor),
            "layers": layers,
        });
        let bytes = Bytes::from(document.to_string());
        let manifest = Manifest::new(bytes, MediaType::new(media_type));
        manifest.content()?;
        Ok((manifest, config))
    }

    /// The configuration of the last step, with what schema 2 has beside it.
    fn config(&self, layers: &[(u64, Measured)]) -> Result<Bytes, Error> {
        let unreadable = |_| self.inconsistent("its last step cannot be read".to_owned());
        let last = self
            .steps
            .last()
            .ok_or_else(|| self.inconsistent("it has no steps".to_owned()))?;
        let mut members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&last.configuration).map_err(unreadable)?;
        members.retain(|name, _| !OF_THE_STEP.contains(&name.as_str()));
        if !members.contains_key("os") {
            let system = to_raw_value(DEFAULT_SYSTEM).map_err(unreadable)?;
            members.insert("os".to_owned(), system);
        }
        if let (Some(architecture), false) =
            (&self.architecture, members.contains_key("architecture"))
        {
            let architecture = to_raw_value(architecture).map_err(unreadable)?;
            members.insert("architecture".to_owned(), architecture);
        }
        let diff_ids: Vec<_> = layers
            .iter()
            .map(|(_, measured)| &measured.diff_id)
            .collect();
        let root = json!({"type": "layers", "diff_ids": diff_ids});
        members.insert(
            "rootfs".to_owned(),
            to_raw_value(&root).map_err(unreadable)?,
        );
        let history: Vec<_> = self.steps.iter().map(Step::history).collect();
        members.insert(
            "history".to_owned(),
            to_raw_value(&history).map_err(unreadable)?,
        );
        let config = serde_json::to_vec(&members).map_err(unreadable)?;
        Ok(Bytes::from(config))
    }

    fn inconsistent(&self, problem: String) -> Error {
        inconsistent(&self.digest, problem)
    }
}

impl Step {
    /// Whether it changed only the configuration.
    fn is_empty(&self) -> bool {
        self.said.throwaway.unwrap_or(false)
    }

    fn history(&self) -> HistoryEntry<'_> {
        let said = &self.said;
        let command = said
            .container_config
            .as_ref()
            .and_then(|container| container.cmd.as_deref())
            .unwrap_or_default();
        HistoryEntry {
            created: said.created.as_deref(),
            author: said.author.as_deref().filter(|text| !text.is_empty()),
            created_by: command.join(" "),
            comment: said.comment.as_deref().filter(|text| !text.is_empty()),
            empty_layer: self.is_empty(),
        }
    }
}

fn read_step(digest: &Digest, position: usize, step: Schema1Step) -> Result<Step, Error> {
    let said = read_document(step.configuration.as_bytes(), MAX_CONFIG_BYTES).map_err(|error| {
        inconsistent(
            digest,
            format!("`history[{position}].v1Compatibility` is malformed: {error}"),
        )
    })?;
    Ok(Step {
        layer: step.layer,
        configuration: step.configuration,
        said,
    })
}

/// The steps from the first to the last. Old versions of Docker wrote a step more than once; the
/// later entry is the one that counts.
fn chain(digest: &Digest, steps: Vec<Step>) -> Result<Vec<Step>, Error> {
    let broken = || {
        inconsistent(
            digest,
            "the steps of its `history` are not each the parent of the one before".to_owned(),
        )
    };
    let mut chain: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        match chain.last() {
            Some(later) if later.said.id == step.said.id => {}
            Some(later) if later.said.parent.as_ref() != Some(&step.said.id) => {
                return Err(broken());
            }
            _ => chain.push(step),
        }
    }
    let has_parent = |step: &Step| step.said.parent.as_ref().is_some_and(|id| !id.is_empty());
    let mut seen = HashSet::new();
    if chain.last().is_none_or(has_parent) || !chain.iter().all(|step| seen.insert(&step.said.id)) {
        return Err(broken());
    }
    chain.reverse();
    Ok(chain)
}

fn members(descriptor: &Descriptor) -> serde_json::Value {
    json!({
        "mediaType": descriptor.media_type,
        "size": descriptor.size,
        "digest": descriptor.digest,
    })
}

fn inconsistent(digest: &Digest, problem: String) -> Error {
    Error::Inconsistent {
        digest: digest.clone(),
        problem,
    }
}
