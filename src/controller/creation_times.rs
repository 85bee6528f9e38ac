//! When images were created, of those that were asked about: what has a digest does not change.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::oci::Digest;

/// Most images that are remembered: some ten megabytes. After that all are forgotten, and asked for again.
const MAX_REMEMBERED: usize = 50_000;

/// What an image says of its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Creation {
    At(Timestamp),
    NotSaid,
}

impl From<Option<Timestamp>> for Creation {
    fn from(said: Option<Timestamp>) -> Self {
        said.map_or(Self::NotSaid, Self::At)
    }
}

/// What images say of their creation.
#[derive(Debug, Default)]
pub(super) struct KnownCreationTimes(Mutex<HashMap<Digest, Creation>>);

impl KnownCreationTimes {
    /// What an image says, if it was asked before.
    pub(super) fn get(&self, image: &Digest) -> Option<Creation> {
        self.lock().get(image).copied()
    }

    pub(super) fn insert(&self, image: Digest, created: Creation) {
        let mut known = self.lock();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(image, created);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Creation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
