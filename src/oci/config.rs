//! The configuration of an image (image-spec, config.md), as far as people look at it.
//!
//! A configuration is a blob like any other and is copied as bytes; nothing that is copied depends
//! on what is read here.

use serde::Deserialize;

use super::{Digest, Platform};

/// The largest configuration that is read, in bytes; the limit that containerd has.
pub const MAX_CONFIG_BYTES: usize = 8 * 1024 * 1024;
/// Most layers of one image; overlay file systems take about 500.
const MAX_LAYERS: usize = 10_000;

/// What a configuration says of its image. Other members are not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// What the image runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// When the image was built, in the text of the document: usually RFC 3339.
    pub created: Option<String>,
    #[serde(rename = "rootfs", default)]
    root_file_system: RootFileSystem,
    history: Option<Vec<HistoryEntry>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct RootFileSystem {
    diff_ids: Option<Vec<Digest>>,
}

/// One step of the build.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HistoryEntry {
    /// The command that made the layer.
    #[serde(default)]
    pub created_by: Option<String>,
    /// Whether the step changed only the configuration, so that no layer belongs to it.
    #[serde(default)]
    pub empty_layer: bool,
}

/// Why a blob is not the configuration of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// More than [`MAX_CONFIG_BYTES`].
    #[error("the image configuration is larger than {} MiB", MAX_CONFIG_BYTES / (1024 * 1024))]
    TooLarge,
    /// More layers or history entries than any image has.
    #[error("the image configuration lists more than {MAX_LAYERS} layers or history entries")]
    TooMany,
    /// No JSON, or a member of the wrong type.
    #[error("malformed image configuration at line {line}, column {column}")]
    Json {
        /// Where the parser stopped, from 1.
        line: usize,
        /// Where the parser stopped, from 1.
        column: usize,
    },
}

impl ImageConfig {
    /// Reads a configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge);
        }
        let config: Self = serde_json::from_slice(bytes).map_err(|error| ConfigError::Json {
            line: error.line(),
            column: error.column(),
        })?;
        if config.diff_ids().len() > MAX_LAYERS || config.history().len() > MAX_LAYERS {
            return Err(ConfigError::TooMany);
        }
        Ok(config)
    }

    /// The digests of the uncompressed layers, from the lowest to the highest.
    #[must_use]
    pub fn diff_ids(&self) -> &[Digest] {
        self.root_file_system
            .diff_ids
            .as_deref()
            .unwrap_or_default()
    }

    /// The steps of the build in their order. Builders may leave them out.
    #[must_use]
    pub fn history(&self) -> &[HistoryEntry] {
        self.history.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_says_what_the_image_is_made_of() {
        let config = ImageConfig::parse(
            br#"{"architecture":"arm","os":"linux","variant":"v6","created":"2026-01-02T03:04:05Z",
                "config":{"Env":["A=B"],"Labels":null},"docker_version":"27.0",
                "rootfs":{"type":"layers","diff_ids":[
                    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
                "history":[{"created":"2026-01-02T03:04:05Z","created_by":"ADD / /"},
                    {"created_by":"ENV A=B","empty_layer":true,"comment":"x"}]}"#,
        )
        .unwrap();
        assert_eq!(config.platform.to_string(), "linux/arm/v6");
        assert_eq!(config.created.as_deref(), Some("2026-01-02T03:04:05Z"));
        assert_eq!(config.diff_ids(), [Digest::sha256(b"")]);
        assert_eq!(config.history().len(), 2);
        assert!(config.history()[1].empty_layer);
        assert_eq!(config.history()[0].created_by.as_deref(), Some("ADD / /"));
    }

    #[test]
    fn everything_may_be_absent() {
        for document in [
            "{}",
            r#"{"created":null,"history":null,"rootfs":{"diff_ids":null}}"#,
        ] {
            let config = ImageConfig::parse(document.as_bytes()).unwrap();
            assert!(config.diff_ids().is_empty() && config.history().is_empty());
        }
    }

    #[test]
    fn configs_are_bounded() {
        let text = format!("{{\"created\":\"{}\"}}", "0".repeat(MAX_CONFIG_BYTES));
        assert_eq!(
            ImageConfig::parse(text.as_bytes()),
            Err(ConfigError::TooLarge)
        );
        let text = format!("{{\"history\":[{}{{}}]}}", "{},".repeat(MAX_LAYERS));
        assert_eq!(
            ImageConfig::parse(text.as_bytes()),
            Err(ConfigError::TooMany)
        );
        assert_eq!(
            ImageConfig::parse(b"{\"os\":3}"),
            Err(ConfigError::Json { line: 1, column: 8 })
        );
    }
}
