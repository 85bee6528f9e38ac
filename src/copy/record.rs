//! The lines in the log of a run that a program reads, too: how far it is, and what became of each image.
//!
//! A worker has no token to say it anywhere else; whoever started its pod may read its log. See
//! `docs/adr/0015-what-workers-tell.md`.

use std::ops::Add;

use serde::Deserialize;

use super::{Copied, Counts, Effect, Failure, PlannedImage};
use crate::oci::Digest;
use crate::reason::Reason;

const PROGRESS: &str = "copying";
const COPIED: &str = "image copied";
const FAILED: &str = "image not copied";

/// What one line of a log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// How far the run is.
    Progress(Progress),
    /// An image is in place.
    Copied {
        /// The source, fully written out.
        source: String,
        /// The destination, fully written out.
        destination: String,
        /// What the source has.
        source_digest: Digest,
        /// What the destination has for it.
        digest: Digest,
    },
    /// An image could not be copied.
    Failed {
        /// The source, fully written out.
        source: String,
        /// The destination, fully written out.
        destination: String,
        /// Why.
        failure: Failure,
    },
}

/// How far a run, or a part of one, is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Bytes of blobs that were sent.
    pub bytes: u64,
    /// Blobs that were sent.
    pub blobs_copied: u64,
    /// Blobs that were mounted.
    pub blobs_mounted: u64,
    /// Blobs that were there.
    pub blobs_skipped: u64,
    /// Images that were written, once per destination. They count as in place when they have been read back, at
    /// the end.
    pub images_written: u64,
}

/// Of several workers together.
impl Add for Progress {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            blobs_copied: self.blobs_copied.saturating_add(other.blobs_copied),
            blobs_mounted: self.blobs_mounted.saturating_add(other.blobs_mounted),
            blobs_skipped: self.blobs_skipped.saturating_add(other.blobs_skipped),
            images_written: self.images_written.saturating_add(other.images_written),
        }
    }
}

impl From<Counts> for Progress {
    fn from(counts: Counts) -> Self {
        Self {
            bytes: counts.bytes,
            blobs_copied: counts.sent,
            blobs_mounted: counts.mounted,
            blobs_skipped: counts.existing,
            images_written: counts.images,
        }
    }
}

/// A line as JSON: more than these fields is for people.
#[derive(Deserialize)]
struct Line {
    message: String,
    source: Option<String>,
    destination: Option<String>,
    source_digest: Option<Digest>,
    digest: Option<Digest>,
    reason: Option<Reason>,
    failure: Option<String>,
    #[serde(flatten)]
    progress: Progress,
}

impl Record {
    /// What a line of a log in JSON says; [`None`] when it is for people only.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let line: Line = serde_json::from_str(line).ok()?;
        match line.message.as_str() {
            PROGRESS => Some(Self::Progress(line.progress)),
            COPIED => Some(Self::Copied {
                source: line.source?,
                destination: line.destination?,
                source_digest: line.source_digest?,
                digest: line.digest?,
            }),
            FAILED => Some(Self::Failed {
                source: line.source?,
                destination: line.destination?,
                failure: Failure {
                    reason: line.reason?,
                    message: line.failure?,
                },
            }),
            _ => None,
        }
    }
}

pub(super) fn log_progress(progress: Progress) {
    tracing::info!(
        bytes = progress.bytes,
        blobs_copied = progress.blobs_copied,
        blobs_mounted = progress.blobs_mounted,
        blobs_skipped = progress.blobs_skipped,
        images_written = progress.images_written,
        "{PROGRESS}"
    );
}

pub(super) fn log_copied(image: &PlannedImage, destination: &str, copied: &Copied) {
    tracing::info!(
        source = %image.source,
        %destination,
        source_digest = %copied.source,
        digest = %copied.digest,
        unchanged = copied.effect == Effect::Unchanged,
        "{COPIED}"
    );
}

pub(super) fn log_failed(image: &PlannedImage, destination: &str, failure: &Failure) {
    tracing::error!(
        source = %image.source,
        %destination,
        reason = %failure.reason,
        failure = %failure.message,
        "{FAILED}"
    );
}
