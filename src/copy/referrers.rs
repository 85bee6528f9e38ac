//! What refers to an image comes with it: signatures, attestations, SBOMs.
//!
//! Referrers are found through the registry's referrers API or its fallback tags, and, for cosign's
//! older form, through tags that are made from the digest: `sha256-<hex>.sig`, `.att` and `.sbom`.

use std::collections::{BTreeSet, HashSet};

use super::blob::Trust;
use super::closure::Closure;
use super::engine::{Engine, Goal, ImageOutcome};
use super::place::SourceState;
use super::{Failure, ImageCopy, Selection, Side};
use crate::oci::{Digest, Tag};
use crate::reason::Reason;
use crate::registry::ManifestReference;

/// Most referrers of one image, those of referrers included.
const MAX_REFERRERS: usize = 1000;
/// What cosign puts behind the digest of what it signs.
const COSIGN_SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];

impl Engine<'_> {
    /// Copies what refers to `subjects` to wherever the image is in place. A referrer that cannot be
    /// copied makes the image fail there: its signature would be missed.
    pub(super) async fn copy_referrers(
        &self,
        copy: &ImageCopy,
        subjects: &[Digest],
        goals: &[Goal<'_>],
        outcome: &mut ImageOutcome,
    ) {
        if !self.options.referrers {
            return;
        }
        if let Err(failure) = self
            .try_copy_referrers(copy, subjects, goals, outcome)
            .await
        {
            for result in outcome.iter_mut().filter(|result| result.is_ok()) {
                *result = Err(failure.clone());
            }
        }
    }

    async fn try_copy_referrers(
        &self,
        copy: &ImageCopy,
        subjects: &[Digest],
        goals: &[Goal<'_>],
        outcome: &mut ImageOutcome,
    ) -> Result<(), Failure> {
        let state = self.places.source(copy.source.as_ref());
        let mut seen: HashSet<Digest> = subjects.iter().cloned().collect();
        let mut subjects: Vec<Digest> = subjects.to_vec();
        while let Some(subject) = subjects.pop() {
            for (referrer, tag) in self.referrers_of(copy, &subject, &state).await? {
                if !seen.insert(referrer.clone()) {
                    continue;
                }
                if seen.len() > MAX_REFERRERS {
                    return Err(Failure {
                        reason: Reason::SourceInvalid,
                        message: format!(
                            "more than {MAX_REFERRERS} manifests refer to one image of {}",
                            copy.source.name()
                        ),
                    });
                }
                self.copy_referrer(copy, &referrer, tag.as_ref(), goals, outcome)
                    .await?;
                subjects.push(referrer);
            }
        }
        Ok(())
    }

    /// Everything that refers to `subject`, with the tag that it is found by, if that is how.
    async fn referrers_of(
        &self,
        copy: &ImageCopy,
        subject: &Digest,
        state: &SourceState,
    ) -> Result<Vec<(Digest, Option<Tag>)>, Failure> {
        let of_source = |error| Failure::of_place(Side::Source, &error);
        let tags = state.tags(copy.source.as_ref()).await;
        let mut referrers: Vec<_> = copy
            .source
            .referrers(subject, tags)
            .await
            .map_err(of_source)?
            .into_iter()
            .map(|referrer| (referrer.digest, None))
            .collect();
        for tag in cosign_tags(subject, tags) {
            let found = copy
                .source
                .find_manifest(ManifestReference::Tag(&tag))
                .await
                .map_err(of_source)?;
            referrers.extend(found.map(|digest| (digest, Some(tag))));
        }
        Ok(referrers)
    }

    async fn copy_referrer(
        &self,
        copy: &ImageCopy,
        referrer: &Digest,
        tag: Option<&Tag>,
        goals: &[Goal<'_>],
        outcome: &mut ImageOutcome,
    ) -> Result<(), Failure> {
        let manifest = copy
            .source
            .manifest(ManifestReference::Digest(referrer))
            .await
            .map_err(|error| Failure::of_place(Side::Source, &error))?;
        let closure = Closure::read(&copy.source, manifest, &Selection::All).await?;
        for (goal, result) in goals.iter().zip(outcome) {
            if result.is_ok()
                && let Err(failure) = self
                    .writer(&copy.source, &goal.destination)
                    .write(&closure, tag, Trust::Known)
                    .await
            {
                *result = Err(failure);
            }
        }
        Ok(())
    }
}

/// The tags under which cosign keeps what belongs to `subject`: those that exist, when that is known.
fn cosign_tags(subject: &Digest, existing: Option<&BTreeSet<Tag>>) -> Vec<Tag> {
    let stem = subject.as_str().replacen(':', "-", 1);
    COSIGN_SUFFIXES
        .iter()
        .filter_map(|suffix| format!("{stem}.{suffix}").parse().ok())
        .filter(|tag| existing.is_none_or(|existing| existing.contains(tag)))
        .collect()
}
