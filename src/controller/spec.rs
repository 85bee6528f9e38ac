//! Fields that several specs have, as checked values. Pure. Which field it was is said by who asks.

use std::time::Duration;

use jiff::SignedDuration;

use crate::api::{CompressionAlgorithm, ImageFormat, LayerCompression, SecretReference};
use crate::convert::{Compression, CompressionError, Format};
use crate::copy::AccessReference;

/// A duration such as `30m`; [`None`] if it is none, or negative.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let duration = text.parse::<SignedDuration>().ok()?;
    Duration::try_from(duration).ok()
}

/// The names of the Secrets that a registry is reached with.
pub(super) fn access_reference(
    secret: Option<&SecretReference>,
    certificates: Option<&SecretReference>,
    insecure: bool,
) -> AccessReference {
    AccessReference {
        credentials: secret.map(|secret| secret.name.clone()),
        certificates: certificates.map(|secret| secret.name.clone()),
        insecure,
    }
}

/// The format that is asked for.
pub(super) const fn format(format: ImageFormat) -> Format {
    match format {
        ImageFormat::Preserve => Format::Preserve,
        ImageFormat::Oci => Format::Oci,
        ImageFormat::Docker => Format::Docker,
    }
}

/// The compression that is asked for; the error is a level that the algorithm does not have.
pub(super) fn compression(
    compression: &LayerCompression,
) -> Result<Option<Compression>, CompressionError> {
    let name = match compression.algorithm {
        CompressionAlgorithm::Preserve => return Ok(None),
        CompressionAlgorithm::Gzip => "gzip",
        CompressionAlgorithm::Zstd => "zstd",
    };
    let text = match compression.level {
        Some(level) => format!("{name}:{level}"),
        None => name.to_owned(),
    };
    text.parse().map(Some)
}
