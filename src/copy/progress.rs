//! How far a run is: counts for reports, events for whoever watches.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Failure;
use crate::oci::{Descriptor, Digest};

/// What happens while images are copied.
#[derive(Debug)]
pub enum Event<'a> {
    /// A blob is about to be read and written.
    BlobStarted {
        /// The blob.
        blob: &'a Descriptor,
        /// Where it goes.
        destination: &'a str,
    },
    /// Some bytes of a blob were handed to its destination.
    BlobBytes {
        /// The blob.
        digest: &'a Digest,
        /// How many more.
        bytes: u64,
    },
    /// A blob is where it has to be, or failed for now.
    BlobEnded {
        /// The blob.
        digest: &'a Digest,
        /// How.
        outcome: BlobOutcome,
    },
    /// An image is in place at one target, or failed.
    ImageEnded {
        /// The source, with tag or digest.
        source: &'a str,
        /// The target, with tag or digest.
        destination: &'a str,
        /// The digest that is in place, or why none is.
        result: Result<&'a super::Copied, &'a Failure>,
    },
}

/// How a blob came to be where it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobOutcome {
    /// Its bytes were sent.
    Sent,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was there.
    Existing,
    /// It was read and compressed in another way, to be sent then.
    Converted,
    /// All of it was read, and is what it should be; nothing was sent.
    Verified,
    /// It is not there.
    Failed,
}

/// Watches a run. Called from many tasks at once, and must not wait for anything.
pub trait Observer: Send + Sync + fmt::Debug {
    /// Takes note of what happened.
    fn observe(&self, event: &Event<'_>);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _event: &Event<'_>) {}
}

/// What the blobs of a run cost, as it goes on.
#[derive(Debug, Default)]
pub struct Counters {
    bytes: AtomicU64,
    sent: AtomicU64,
    mounted: AtomicU64,
    existing: AtomicU64,
    recompressed: AtomicU64,
    images: AtomicU64,
}

/// The values of [`Counters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of blobs that were sent.
    pub bytes: u64,
    /// Blobs that were sent.
    pub sent: u64,
    /// Blobs that were mounted.
    pub mounted: u64,
    /// Blobs that were there.
    pub existing: u64,
    /// Bytes that unpacked layers have that were compressed in another way.
    pub recompressed_bytes: u64,
    /// Images that were written or found in place, once per target; they are read back at the end.
    pub images: u64,
}

impl Counters {
    pub(super) fn count(&self, blob: &Descriptor, outcome: BlobOutcome) {
        let counter = match outcome {
            BlobOutcome::Sent => {
                self.bytes.fetch_add(blob.size, Ordering::Relaxed);
                &self.sent
            }
            BlobOutcome::Mounted => &self.mounted,
            BlobOutcome::Existing => &self.existing,
            BlobOutcome::Converted | BlobOutcome::Verified | BlobOutcome::Failed => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_recompressed(&self, uncompressed: u64) {
        self.recompressed.fetch_add(uncompressed, Ordering::Relaxed);
    }

    pub(super) fn count_images(&self, written: usize) {
        self.images.fetch_add(written as u64, Ordering::Relaxed);
    }

    /// The values now.
    pub fn now(&self) -> Counts {
        Counts {
            bytes: self.bytes.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            mounted: self.mounted.load(Ordering::Relaxed),
            existing: self.existing.load(Ordering::Relaxed),
            recompressed_bytes: self.recompressed.load(Ordering::Relaxed),
            images: self.images.load(Ordering::Relaxed),
        }
    }
}
