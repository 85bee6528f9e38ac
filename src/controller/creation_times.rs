//! When images were created, of those that were asked about: what has a digest does not change.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::oci::Digest;

/// Most images that are remembered: some ten megabytes. After that all are forgotten, and asked for again.
const MAX_REMEMBERED: usize = 50_000;

/// What images say of their creation; [`None`] for one that says nothing.
#[derive(Debug, Default)]
pub(super) struct KnownCreationTimes(Mutex<HashMap<Digest, Option<Timestamp>>>);

impl KnownCreationTimes {
    /// What an image says, if it was asked before.
    pub(super) fn get(&self, image: &Digest) -> Option<Option<Timestamp>> {
        self.lock().get(image).copied()
    }

    pub(super) fn insert(&self, image: Digest, created: Option<Timestamp>) {
        let mut known = self.lock();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(image, created);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Option<Timestamp>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
