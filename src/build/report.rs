//! What a stage did, as one line of JSON in the termination message of its container.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BuildFailure;
use crate::oci::{Digest, MediaType};

/// The largest report in bytes; Kubernetes cuts termination messages at 4096.
const MAX_REPORT_BYTES: usize = 3584;
/// Most characters of a failure's message, each of at most six bytes in JSON.
const MAX_MESSAGE_CHARACTERS: usize = 500;

/// How a stage ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StageReport<T> {
    /// It did what the plan says.
    Succeeded(T),
    /// It did not.
    Failed(BuildFailure),
}

/// What there is of the context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetched {
    /// When the commit was made, in seconds since 1970; [`None`] for a context that is no commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_time: Option<i64>,
    /// The images that the Dockerfile begins with, as it names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub base_images: Vec<String>,
    /// Their digests, when they were taken from where mirrors have them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mirrored: BTreeMap<String, Digest>,
    /// Files of the context.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What was pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// The digest that the registry has for every tag, read there after the push.
    pub digest: Digest,
    /// The media type of the manifest.
    pub media_type: MediaType,
    /// Bytes of the image as a registry stores it: manifest, configuration and layers.
    pub size: u64,
    /// Bytes of blobs that were sent.
    pub bytes: u64,
    /// Blobs that were sent.
    pub blobs_copied: u64,
    /// Blobs that the registry took from another of its repositories.
    pub blobs_mounted: u64,
    /// Blobs that were there.
    pub blobs_skipped: u64,
    /// The digest of the bill of materials that was attached, if one was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<Digest>,
}

impl<T: Serialize> StageReport<T> {
    /// The report as one line of at most 3.5 KiB.
    pub fn to_termination_message(&self) -> Result<String, serde_json::Error> {
        let line = serde_json::to_string(self)?;
        match self {
            Self::Failed(failure) if line.len() > MAX_REPORT_BYTES => {
                let message = failure.message.chars().take(MAX_MESSAGE_CHARACTERS);
                serde_json::to_string(&Self::Failed(BuildFailure {
                    message: message.collect(),
                    ..failure.clone()
                }))
            }
            _ => Ok(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::FailureClass;
    use crate::reason::Reason;

    #[test]
    fn the_longest_failure_fits_into_a_termination_message() {
        let report = StageReport::<Fetched>::Failed(BuildFailure {
            class: FailureClass::Source,
            reason: Reason::SourceInvalid,
            message: "\u{1}".repeat(10_000),
        });
        let line = report.to_termination_message().unwrap();
        assert!(line.len() <= MAX_REPORT_BYTES, "{}", line.len());
        let read: StageReport<Fetched> = serde_json::from_str(&line).unwrap();
        assert!(
            matches!(read, StageReport::Failed(failure) if failure.class == FailureClass::Source)
        );
    }

    #[test]
    fn a_report_says_which_of_both_it_is() {
        let line = r#"{"succeeded":{"commitTime":1700000000,"files":3,"bytes":42}}"#;
        let report: StageReport<Fetched> = serde_json::from_str(line).unwrap();
        assert_eq!(report.to_termination_message().unwrap(), line);
        let line = r#"{"failed":{"class":"Source","reason":"SourceInvalid","message":"no"}}"#;
        let report: StageReport<Fetched> = serde_json::from_str(line).unwrap();
        assert_eq!(report.to_termination_message().unwrap(), line);
    }
}
