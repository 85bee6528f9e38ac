//! What was converted before, as the destination itself remembers it.
//!
//! An OCI layer says in its annotations what it was made from and how. Docker's format has no place
//! for that; there an image with the same configuration has the same layers in the same order.

use std::collections::HashMap;

use super::Compression;
use super::recompress::ENCODER_VERSION;
use crate::oci::{Content, Descriptor, Digest, Manifest};

/// The annotation of a layer that was compressed anew: the digest of the layer it was made from.
const SOURCE_DIGEST: &str = "dev.transship.source.digest";
/// How it was made: the compression with its level, and the version of the encoder.
const ENCODING: &str = "dev.transship.encoding";

/// A layer that takes the place of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLayer {
    /// The position among the layers of the manifest, from 0.
    pub position: usize,
    /// The digest of the new bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// What was asked for.
    pub compression: Compression,
}

/// The layers that manifests of the destination name, by what they were made from.
#[derive(Debug, Default)]
pub struct Memo {
    annotated: HashMap<(Digest, String), (Digest, u64)>,
    by_config: HashMap<Digest, Vec<Descriptor>>,
}

impl Memo {
    /// Takes note of what one manifest of the destination says. One that cannot be read says nothing.
    pub fn remember(&mut self, manifest: &Manifest) {
        let Ok(Content::Image { config, layers, .. }) = manifest.content() else {
            return;
        };
        if manifest.media_type().is_docker() {
            self.by_config.insert(config.digest, layers);
            return;
        }
        for layer in layers {
            let source = layer.annotations.get(SOURCE_DIGEST);
            let encoding = layer.annotations.get(ENCODING);
            if let (Some(source), Some(encoding)) = (source, encoding)
                && let Ok(source) = source.parse()
            {
                self.annotated
                    .insert((source, encoding.clone()), (layer.digest, layer.size));
            }
        }
    }

    /// The layer that `source` became when it was compressed with exactly this compression, digest
    /// and size.
    #[must_use]
    pub fn annotated(&self, source: &Digest, compression: Compression) -> Option<(Digest, u64)> {
        self.annotated
            .get(&(source.clone(), encoding(compression)))
            .cloned()
    }

    /// The layer at `position` of a Docker image with this configuration, if it is compressed with
    /// the same algorithm; its level is not known.
    #[must_use]
    pub fn of_docker_image(
        &self,
        config: &Digest,
        position: usize,
        compression: Compression,
    ) -> Option<&Descriptor> {
        self.by_config
            .get(config)?
            .get(position)
            .filter(|layer| layer.media_type.layer_compression() == Some(compression.algorithm()))
    }
}

/// What the descriptor of a new layer says of its origin.
pub(super) fn annotations(
    source: &Digest,
    compression: Compression,
) -> impl Iterator<Item = (String, String)> {
    [
        (SOURCE_DIGEST.to_owned(), source.to_string()),
        (ENCODING.to_owned(), encoding(compression)),
    ]
    .into_iter()
}

fn encoding(compression: Compression) -> String {
    format!("{compression}/{ENCODER_VERSION}")
}
