//! What a run did, in a form small enough for a pod's termination message.

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::reason::Reason;

/// The largest report in bytes; Kubernetes cuts termination messages at 4096.
const MAX_REPORT_BYTES: usize = 3584;
/// Most characters of one failure's message.
const MAX_MESSAGE_CHARACTERS: usize = 300;

/// Counts of one run, and its first failures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Bytes of blobs sent to destinations.
    pub bytes: u64,
    /// Blobs sent to destinations.
    pub blobs_copied: u64,
    /// Blobs that a destination took from another of its own repositories.
    pub blobs_mounted: u64,
    /// Blobs that were already there.
    pub blobs_skipped: u64,
    /// Images that were put in place, once per destination.
    pub images_copied: u64,
    /// The first failures.
    pub failures: Vec<ReportedFailure>,
    /// Failures that found no room in [`Self::failures`].
    pub failures_omitted: u64,
}

/// One copy that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedFailure {
    /// The source, fully written out.
    pub source: String,
    /// The destination, fully written out.
    pub destination: String,
    /// The fixed reason.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

impl ReportedFailure {
    /// The failure of one copy.
    #[must_use]
    pub fn new(source: String, destination: String, failure: &Failure) -> Self {
        let message = failure
            .message
            .chars()
            .take(MAX_MESSAGE_CHARACTERS)
            .collect();
        Self {
            source,
            destination,
            reason: failure.reason,
            message,
        }
    }
}

impl Report {
    /// The report as one line of JSON of at most 3.5 KiB; failures that find no room are
    /// counted instead.
    pub fn to_termination_message(&self) -> Result<String, serde_json::Error> {
        let mut report = self.clone();
        loop {
            let line = serde_json::to_string(&report)?;
            if line.len() <= MAX_REPORT_BYTES || report.failures.pop().is_none() {
                return Ok(line);
            }
            report.failures_omitted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_fits_into_a_termination_message() {
        let failure = Failure {
            reason: Reason::PushDenied,
            message: "x".repeat(1000),
        };
        let failures: Vec<_> = (0..100)
            .map(|index| {
                ReportedFailure::new(
                    format!("source/{index}:1"),
                    "destination/a:1".to_owned(),
                    &failure,
                )
            })
            .collect();
        let report = Report {
            bytes: 7,
            failures,
            ..Report::default()
        };
        let line = report.to_termination_message().unwrap();
        assert!(line.len() <= MAX_REPORT_BYTES, "{}", line.len());
        let read: Report = serde_json::from_str(&line).unwrap();
        assert_eq!(read.failures[0].source, "source/0:1");
        assert_eq!(
            read.failures_omitted + u64::try_from(read.failures.len()).unwrap(),
            100
        );
        assert_eq!(read.bytes, 7);
    }
}
