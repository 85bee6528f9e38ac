//! What refers to an image comes with it: signatures, attestations, SBOMs.
//!
//! Referrers are found through the registry's referrers API or its fallback tags, and, for cosign's
//! older form, through tags that are made from the digest: `sha256-<hex>.sig`, `.att` and `.sbom`.

use std::collections::{BTreeSet, HashSet};

use futures::{StreamExt as _, TryStreamExt as _};

use super::blob::Trust;
use super::closure::Closure;
use super::engine::{Engine, Goal, ImageOutcome};
use super::finish::not_kept;
use super::place::DestinationState;
use super::tags::{TagWrite, Tagged, tag_exists};
use super::write::find;
use super::{Copied, Failure, ImageCopy, Referrers, Selection, Side, TagPolicy};
use crate::oci::{Descriptor, Digest, MediaType, Tag};
use crate::reason::Reason;
use crate::registry::ManifestReference;
use crate::transport::Existing;

/// Most referrers of one image, those of referrers included.
const MAX_REFERRERS: usize = 1000;
/// What cosign puts behind the digest of what it signs.
const COSIGN_SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];

/// Subjects whose referrers are asked for at once.
const PARALLEL_SUBJECTS: usize = 8;

/// What refers to some subjects: digests, with the tag that each is found by, if that is how.
type Found = Vec<(Digest, Option<Tag>)>;

/// What refers to an image directly.
pub(super) struct DirectReferrers {
    subjects: Vec<Digest>,
    referrers: Result<Found, Failure>,
}

impl Engine<'_> {
    /// Asks what refers to `subjects`, which can be done while they are copied.
    pub(super) async fn list_referrers(
        &self,
        copy: &ImageCopy,
        subjects: &[Digest],
    ) -> DirectReferrers {
        let referrers = self.referrers_of(copy, subjects).await;
        DirectReferrers {
            subjects: subjects.to_vec(),
            referrers,
        }
    }

    /// Copies what was listed, and what refers to that, to wherever the image is in place. A referrer
    /// that cannot be copied makes the image fail there: its signature would be missed.
    pub(super) async fn copy_referrers(
        &self,
        copy: &ImageCopy,
        listed: DirectReferrers,
        goals: &[Goal<'_>],
        outcome: &mut ImageOutcome,
    ) {
        if let Err(failure) = self.try_copy_referrers(copy, listed, goals, outcome).await {
            for result in outcome.iter_mut().filter(|result| is_in_place(result)) {
                *result = Err(failure.clone());
            }
        }
    }

    async fn try_copy_referrers(
        &self,
        copy: &ImageCopy,
        listed: DirectReferrers,
        goals: &[Goal<'_>],
        outcome: &mut ImageOutcome,
    ) -> Result<(), Failure> {
        let mut seen: HashSet<Digest> = listed.subjects.into_iter().collect();
        let mut referrers = listed.referrers?;
        while !referrers.is_empty() {
            let mut subjects = Vec::new();
            for (referrer, tag) in referrers {
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
            referrers = self.referrers_of(copy, &subjects).await?;
        }
        Ok(())
    }

    /// Everything that refers to one of `subjects` and comes along, in their order.
    async fn referrers_of(&self, copy: &ImageCopy, subjects: &[Digest]) -> Result<Found, Failure> {
        let Referrers::All {
            artifact_types,
            cosign_tags,
        } = &self.options.referrers
        else {
            return Ok(Vec::new());
        };
        let state = self.places.source(copy.source.as_ref());
        let tags = state.tags(copy.source.as_ref()).await;
        let of_each: Vec<Found> = futures::stream::iter(subjects)
            .map(|subject| async move {
                let mut found = referrers_of_one(copy, subject, tags, artifact_types).await?;
                if *cosign_tags {
                    found.extend(tagged_for_one(copy, subject, tags).await?);
                }
                Ok::<_, Failure>(found)
            })
            .buffered(PARALLEL_SUBJECTS)
            .try_collect()
            .await?;
        Ok(of_each.concat())
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
            if is_in_place(result)
                && let Err(failure) = self.bring_referrer(copy, &closure, tag, goal).await
            {
                *result = Err(failure);
            }
        }
        Ok(())
    }

    /// Writes a referrer where it is not in place, and reads it back: nothing else points at it that
    /// would tell if the registry had lost it.
    async fn bring_referrer(
        &self,
        copy: &ImageCopy,
        closure: &Closure,
        tag: Option<&Tag>,
        goal: &Goal<'_>,
    ) -> Result<(), Failure> {
        let (destination, digest) = (&goal.destination, closure.root_digest());
        let policy = goal.target.existing;
        let of_destination = |error| Failure::of_place(Side::Destination, &error);
        if *destination.existing().await != Existing::Nothing && destination.may_have(tag).await {
            let found = find(destination, tag, digest)
                .await
                .map_err(of_destination)?;
            if found.as_ref() == Some(digest) && is_listed(destination, closure).await? {
                return Ok(());
            }
            if let (Some(found), Some(tag)) = (&found, tag)
                && found != digest
                && policy.protects()
            {
                return stays(destination, tag, policy, found, digest);
            }
        }
        for trust in [Trust::Known, Trust::Nothing] {
            let tagged = self
                .writer(&copy.source, destination)
                .write(closure, tag.map(|tag| TagWrite { tag, policy }), trust)
                .await?;
            if let (Tagged::Other(found), Some(tag)) = (&tagged, tag) {
                return stays(destination, tag, policy, found, digest);
            }
            if self.shows(destination, tag, digest).await?
                && is_listed(destination, closure).await?
            {
                return Ok(());
            }
        }
        Err(not_kept(&destination.place.name(), digest))
    }
}

/// Whether an image is where its referrers belong.
fn is_in_place(result: &Result<Copied, Failure>) -> bool {
    result.as_ref().is_ok_and(Copied::is_in_place)
}

/// What becomes of a referrer whose tag is there with the digest `found`, which may not be moved.
fn stays(
    destination: &DestinationState,
    tag: &Tag,
    policy: TagPolicy,
    found: &Digest,
    wanted: &Digest,
) -> Result<(), Failure> {
    let name = format!("{}:{tag}", destination.place.name());
    if policy == TagPolicy::Fail {
        return Err(tag_exists(&name, found, wanted));
    }
    tracing::info!(tag = %name, digest = %found, source = %wanted, "kept what was there");
    Ok(())
}

/// Whether a referrer that is there can be found by what it refers to. In a registry without the
/// referrers API that is a second write, which an earlier run may not have come to.
async fn is_listed(destination: &DestinationState, closure: &Closure) -> Result<bool, Failure> {
    match closure.subject() {
        Some(subject) => destination
            .place
            .lists_referrer(&subject, closure.root_digest())
            .await
            .map_err(|error| Failure::of_place(Side::Destination, &error)),
        None => Ok(true),
    }
}

/// What names `subject` as its subject and is of one of `artifact_types`, or of any if there are none.
async fn referrers_of_one(
    copy: &ImageCopy,
    subject: &Digest,
    tags: Option<&BTreeSet<Tag>>,
    artifact_types: &[MediaType],
) -> Result<Found, Failure> {
    let of_source = |error| Failure::of_place(Side::Source, &error);
    let listed = copy
        .source
        .referrers(subject, tags)
        .await
        .map_err(of_source)?;
    let mut referrers = Vec::with_capacity(listed.len());
    for referrer in listed {
        if artifact_types.is_empty() || is_one_of(copy, &referrer, artifact_types).await? {
            referrers.push((referrer.digest, None));
        }
    }
    Ok(referrers)
}

/// Whether a referrer is of one of these types, by the list that it stands in or by what it says
/// itself.
async fn is_one_of(
    copy: &ImageCopy,
    referrer: &Descriptor,
    artifact_types: &[MediaType],
) -> Result<bool, Failure> {
    if let Some(kind) = &referrer.artifact_type {
        return Ok(artifact_types.contains(kind));
    }
    let manifest = copy
        .source
        .manifest(ManifestReference::Digest(&referrer.digest))
        .await
        .map_err(|error| Failure::of_place(Side::Source, &error))?;
    let content = manifest
        .content()
        .map_err(|error| Failure::of_manifest(&error))?;
    let kind = content.artifact_type();
    Ok(kind.is_some_and(|kind| artifact_types.contains(kind)))
}

/// What cosign keeps for `subject` under tags.
async fn tagged_for_one(
    copy: &ImageCopy,
    subject: &Digest,
    tags: Option<&BTreeSet<Tag>>,
) -> Result<Found, Failure> {
    let of_source = |error| Failure::of_place(Side::Source, &error);
    let mut referrers = Vec::new();
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

/// The tags under which cosign keeps what belongs to `subject`: those that exist, when that is known.
fn cosign_tags(subject: &Digest, existing: Option<&BTreeSet<Tag>>) -> Vec<Tag> {
    let stem = subject.as_str().replacen(':', "-", 1);
    COSIGN_SUFFIXES
        .iter()
        .filter_map(|suffix| format!("{stem}.{suffix}").parse().ok())
        .filter(|tag| existing.is_none_or(|existing| existing.contains(tag)))
        .collect()
}
