//! What a mirror has written: which tag, with which digest. Pure.
//!
//! Only what stands here is ever removed. It is kept apart from the status, so that a status that is lost or
//! changed removes nothing and keeps nothing from being removed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decide::{Decision, EndedRun};
use super::scan::Scan;
use crate::api::ImageState;
use crate::copy::AccessReference;
use crate::oci::{Digest, Reference};

/// One tag that the mirror wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    /// Where.
    pub(super) reference: Reference,
    /// What it pointed at then.
    pub(super) digest: Digest,
    /// With whose rights: the spec may not name the destination any more.
    pub(super) access: AccessReference,
    /// Since when no source selects it; nothing while one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unwanted_since: Option<Timestamp>,
}

/// Everything that the mirror wrote and that was not seen to be gone, by reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger(BTreeMap<Reference, Written>);

impl Ledger {
    pub(super) fn new(entries: Vec<Written>) -> Self {
        let entries = entries.into_iter();
        Self(
            entries
                .map(|written| (written.reference.clone(), written))
                .collect(),
        )
    }

    /// In the order of references.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Written> {
        self.0.values()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn remove(&mut self, reference: &Reference) {
        self.0.remove(reference);
    }

    /// Writes down what the run that has just ended put in place: what it was to copy, and what the destination
    /// was then seen to hold.
    pub(super) fn record(&mut self, scan: &Scan, decision: &Decision, run: &EndedRun) {
        for (image, status) in scan.images.iter().zip(&decision.images) {
            let source = image.wanted.source.to_string();
            let destinations = image.wanted.destinations.iter();
            let places = destinations
                .zip(&image.destinations)
                .zip(&status.destinations);
            for ((destination, found), status) in places {
                let name = (source.clone(), status.reference.clone());
                // Without the plan nobody knows what it wrote.
                let planned = run.planned.as_ref();
                if planned.is_some_and(|planned| planned.contains(&name))
                    && status.state == ImageState::Present
                    && let Ok(Some(digest)) = found
                {
                    let written = Written {
                        reference: destination.reference.clone(),
                        digest: digest.clone(),
                        access: destination.access.clone(),
                        unwanted_since: None,
                    };
                    self.0.insert(written.reference.clone(), written);
                }
            }
        }
    }

    /// Marks what no source selects any more, and what one selects again.
    pub(super) fn mark(&mut self, scan: &Scan, now: Timestamp) {
        let wanted: BTreeSet<&Reference> = scan
            .images
            .iter()
            .flat_map(|image| &image.wanted.destinations)
            .map(|destination| &destination.reference)
            .collect();
        // What could not be listed may select anything.
        let is_complete = scan.unlisted.is_empty();
        for written in self.0.values_mut() {
            if wanted.contains(&written.reference) {
                written.unwanted_since = None;
            } else if is_complete && written.unwanted_since.is_none() {
                written.unwanted_since = Some(now);
            }
        }
    }
}
