//! Another form of the same image: Docker or OCI documents, layers compressed in another way.
//!
//! The configuration keeps its bytes, so the image keeps its ID, unless it had none, as in Docker's
//! schema 1; what is unpacked is the same, bit
//! by bit, which is verified against the configuration for each layer. The result depends on the
//! image and the [`Conversion`] only: not on the machine, the day, or what was converted before.
//!
//! Documents are converted by pure functions in `manifest.rs` and `index.rs`; `recompress.rs` is the
//! filter that layers run through. Nothing here knows where images come from or go to: that is the
//! business of `crate::copy`.

mod annotate;
mod document;
mod error;
mod index;
mod manifest;
mod media_type;
mod memory;
mod recompress;
mod schema1;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::annotate::annotate;
pub use self::error::Error;
pub use self::index::convert_index;
pub use self::manifest::{convert_manifest, layers_to_recompress};
pub use self::memory::{Memo, NewLayer};
pub use self::recompress::{CodecError, Measured, Recompressed, decompress, measure, recompress};
pub use self::schema1::Schema1Image;
use crate::oci::LayerCompression;

/// How an image is to be changed. The default changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Conversion {
    /// The documents: manifests, indexes and the media types in them.
    pub format: Format,
    /// How layers are compressed; [`None`] leaves them as they are.
    pub compression: Option<Compression>,
    /// Whether to leave out what the format has no place for, instead of refusing the image.
    pub leave_out_unsupported: bool,
}

impl Conversion {
    /// Whether it changes anything at all.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self.format, Format::Preserve) && self.compression.is_none()
    }
}

/// The family of documents that an image is described by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// What the source has.
    #[default]
    Preserve,
    /// image-spec 1.1.
    Oci,
    /// Docker image manifest version 2, schema 2.
    Docker,
}

/// How layers are compressed.
///
/// As text it is `none`, `gzip`, `zstd`, or one of the latter two with a level: `zstd:19`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Compression {
    algorithm: LayerCompression,
    level: u8,
}

/// A text is not a [`Compression`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected none, gzip, gzip:1 to gzip:9, zstd, or zstd:1 to zstd:19")]
pub struct CompressionError;

impl Compression {
    /// Layers as plain tar files.
    pub const NONE: Self = Self {
        algorithm: LayerCompression::None,
        level: 0,
    };
    /// The level that gzip has by default everywhere.
    pub const GZIP: Self = Self {
        algorithm: LayerCompression::Gzip,
        level: 6,
    };
    /// The level that zstd has by default everywhere.
    pub const ZSTD: Self = Self {
        algorithm: LayerCompression::Zstd,
        level: 3,
    };

    /// What the bytes are in.
    #[must_use]
    pub const fn algorithm(self) -> LayerCompression {
        self.algorithm
    }

    /// How hard to try: 1 to 9 for gzip, 1 to 19 for zstd, whose higher levels take more memory than
    /// a worker has.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let (default, highest) = match name {
            "none" if level.is_none() => return Ok(Self::NONE),
            "gzip" => (Self::GZIP, 9),
            "zstd" => (Self::ZSTD, 19),
            _ => return Err(CompressionError),
        };
        let Some(level) = level else {
            return Ok(default);
        };
        match level.parse() {
            Ok(level) if (1..=highest).contains(&level) => Ok(Self { level, ..default }),
            _ => Err(CompressionError),
        }
    }
}

impl TryFrom<String> for Compression {
    type Error = CompressionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Compression> for String {
    fn from(compression: Compression) -> Self {
        compression.to_string()
    }
}

/// The text that is parsed; the level is always there if there is one.
impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.algorithm {
            LayerCompression::None => formatter.write_str("none"),
            LayerCompression::Gzip => write!(formatter, "gzip:{}", self.level),
            LayerCompression::Zstd => write!(formatter, "zstd:{}", self.level),
        }
    }
}
