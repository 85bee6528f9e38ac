//! The configuration of an image (image-spec, config.md), as far as people look at it.
//!
//! A configuration is a blob like any other and is copied as bytes; nothing that is copied depends
//! on what is read here.

use serde::Deserialize;

use super::document::{self, DocumentError};
use super::platform::Part;
use super::{Digest, Platform};

/// The largest configuration that is read, in bytes; the limit that containerd has.
pub const MAX_CONFIG_BYTES: usize = 8 * 1024 * 1024;

/// What a configuration says of its image. Other members are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// What the image runs on.
    pub platform: Platform,
    /// When the image was built, in the text of the document: usually RFC 3339.
    pub created: Option<String>,
    /// The digests of the uncompressed layers, from the lowest to the highest.
    pub diff_ids: Vec<Digest>,
    /// The steps of the build in their order. Builders may leave them out.
    pub history: Vec<HistoryEntry>,
}

/// One step of the build.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HistoryEntry {
    /// The command that made the layer.
    pub created_by: Option<String>,
    /// Whether the step changed only the configuration, so that no layer belongs to it.
    #[serde(default)]
    pub empty_layer: bool,
}

/// A blob is not the configuration of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed image configuration: {0}")]
pub struct ConfigError(DocumentError);

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    os: Part,
    #[serde(default)]
    architecture: Part,
    variant: Option<Part>,
    #[serde(rename = "os.version")]
    os_version: Option<Part>,
    #[serde(rename = "os.features")]
    os_features: Option<Vec<Part>>,
    created: Option<String>,
    rootfs: Option<RootFileSystem>,
    history: Option<Vec<HistoryEntry>>,
}

#[derive(Deserialize)]
struct RootFileSystem {
    diff_ids: Option<Vec<Digest>>,
}

impl ImageConfig {
    /// Reads a configuration of at most [`MAX_CONFIG_BYTES`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let document: Document = document::read(bytes, MAX_CONFIG_BYTES).map_err(ConfigError)?;
        Ok(Self {
            platform: Platform {
                os: document.os,
                architecture: document.architecture,
                variant: document.variant,
                os_version: document.os_version,
                os_features: document.os_features,
            },
            created: document.created,
            diff_ids: document
                .rootfs
                .and_then(|rootfs| rootfs.diff_ids)
                .unwrap_or_default(),
            history: document.history.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

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
        assert_eq!(config.diff_ids, [Digest::sha256(b"")]);
        assert_eq!(config.history.len(), 2);
        assert!(config.history[1].empty_layer);
        assert_eq!(config.history[0].created_by.as_deref(), Some("ADD / /"));
    }

    #[test]
    fn everything_may_be_absent() {
        for document in [
            "{}",
            r#"{"created":null,"history":null,"rootfs":{"diff_ids":null}}"#,
        ] {
            let config = ImageConfig::parse(document.as_bytes()).unwrap();
            assert!(config.diff_ids.is_empty() && config.history.is_empty());
        }
    }

    #[rstest]
    #[case::large(format!("{{\"created\":\"{}\"}}", "0".repeat(MAX_CONFIG_BYTES)), "more than 8388608 bytes")]
    #[case::many_steps(format!("{{\"history\":[{}{{}}]}}", "{},".repeat(10_000)), "`history` has more")]
    #[case::type_of_a_member("{\"os\":3}".to_owned(), "`os` is not")]
    #[case::digest("{\"rootfs\":{\"diff_ids\":[\"sha256:x\"]}}".to_owned(), "`rootfs.diff_ids[0]` is not")]
    #[case::twice("{\"os\":\"a\",\"os\":\"b\"}".to_owned(), "`os` occurs twice")]
    fn malformed_configs_are_refused(#[case] document: String, #[case] expected: &str) {
        let error = ImageConfig::parse(document.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}
