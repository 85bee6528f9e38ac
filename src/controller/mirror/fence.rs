//! What a worker may still write of which nobody can be sure that it has stopped: its node does not answer.
//! Pure.
//!
//! Such a worker stops by itself at its deadline. Until then no other worker is sent to a tag that it may move
//! to something else: whichever of them came last would win. See `docs/adr/0017-fencing.md`.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::copy::PlannedOptions;
use crate::oci::Digest;

/// What a worker writes to one destination, and until when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fence {
    /// The digest of the source.
    pub(super) source: Digest,
    /// In which form.
    pub(super) options: PlannedOptions,
    /// When it has stopped for certain.
    pub(super) until: Timestamp,
}

impl Fence {
    /// Whether it does not matter if both write: they write the same.
    fn writes_the_same(&self, source: &Digest, options: &PlannedOptions) -> bool {
        self.source == *source
            && self.options.platforms == options.platforms
            && self.options.conversion == options.conversion
    }
}

/// The fences around destinations, by their references.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fences(HashMap<String, Vec<Fence>>);

impl Fences {
    pub(super) fn add(&mut self, reference: String, fence: Fence) {
        self.0.entry(reference).or_default().push(fence);
    }

    /// Until when `source` must not be written to a destination in this form.
    pub(super) fn until(
        &self,
        reference: &str,
        source: &Digest,
        options: &PlannedOptions,
    ) -> Option<Timestamp> {
        let fences = self.0.get(reference)?.iter();
        fences
            .filter(|fence| !fence.writes_the_same(source, options))
            .map(|fence| fence.until)
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_be_overwritten_with_something_else_waits() {
        let (old, new) = (Digest::sha256(b"old"), Digest::sha256(b"new"));
        let options = PlannedOptions::default();
        let until = Timestamp::from_second(100).unwrap();
        let mut fences = Fences::default();
        let fence = Fence {
            source: old.clone(),
            options: options.clone(),
            until,
        };
        fences.add("one.test/a:1".to_owned(), fence.clone());
        assert_eq!(fences.until("one.test/a:1", &new, &options), Some(until));
        assert_eq!(fences.until("one.test/a:1", &old, &options), None);
        assert_eq!(fences.until("one.test/a:2", &new, &options), None);
        let mut zstd = options.clone();
        zstd.conversion.compression = Some("zstd".parse().unwrap());
        assert_eq!(fences.until("one.test/a:1", &old, &zstd), Some(until));

        let later = Timestamp::from_second(200).unwrap();
        fences.add(
            "one.test/a:1".to_owned(),
            Fence {
                until: later,
                ..fence
            },
        );
        assert_eq!(fences.until("one.test/a:1", &new, &options), Some(later));
    }
}
