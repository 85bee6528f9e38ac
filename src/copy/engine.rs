//! The run: images side by side, each to its targets side by side, one failure never stopping the
//! rest.
//!
//! What is asked of a registry is asked once per run, and only when the answer is not known: see
//! `docs/adr/0009-requests-of-a-copy.md`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _};

use super::bandwidth::Limiter;
use super::blob::{BlobTransfers, Trust};
use super::closure::Closure;
use super::conversion::{Conversions, Original};
use super::place::{DestinationState, Places};
use super::progress::{Counters, Event, Observer};
use super::strict::may_publish;
use super::tags::{TagWrite, Tagged};
use super::write::Writer;
use super::{
    Copied, Effect, Failure, FailurePolicy, ImageCopy, ManifestName, Options, Referrers, Root,
    Side, Target,
};
use crate::oci::{Digest, Manifest};
use crate::reason::Reason;
use crate::registry::ManifestReference;
use crate::transport::Source;

/// What the targets of an image have now, in their order.
pub(super) type Current = Vec<Result<Option<Digest>, Failure>>;
/// The result for a target at which nothing is left to do.
pub(super) type Settled = Option<Result<Copied, Failure>>;

/// What became of one image, by target in their order.
pub type ImageOutcome = Vec<Result<Copied, Failure>>;

/// One run.
pub(super) struct Engine<'a> {
    pub(super) options: &'a Options,
    pub(super) places: Places,
    pub(super) blobs: BlobTransfers,
    pub(super) conversions: Conversions,
    observer: Arc<dyn Observer>,
    counters: Arc<Counters>,
    /// Images with several tags: the second waits until the first is in place.
    roots: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

/// How much of an image is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// All of it.
    Whole,
    /// What can be written without anybody seeing it: everything but the tags of registries.
    Content,
}

/// One target, and what is known of its place.
pub(super) struct Goal<'a> {
    pub(super) target: &'a Target,
    pub(super) destination: Arc<DestinationState>,
    stage: Stage,
}

/// Copies images and says what became of each.
pub async fn copy_images(
    copies: &[ImageCopy],
    options: &Options,
    counters: Arc<Counters>,
    observer: Arc<dyn Observer>,
) -> Vec<ImageOutcome> {
    let limiter = options.bandwidth.map(|it| Arc::new(Limiter::new(it)));
    let engine = Engine {
        options,
        places: Places::of(copies),
        conversions: Conversions::new(
            options.conversion,
            options.parallel_layers,
            Arc::clone(&counters),
            Arc::clone(&observer),
            limiter.clone(),
            options.first_wait,
        ),
        blobs: BlobTransfers::new(
            Arc::clone(&counters),
            Arc::clone(&observer),
            limiter,
            options.first_wait,
        ),
        observer,
        counters,
        roots: Mutex::default(),
    };
    // In any order: a slow image must not keep those behind it from their start.
    let is_strict = options.failure_policy == FailurePolicy::Strict;
    let stage = if is_strict {
        Stage::Content
    } else {
        Stage::Whole
    };
    let copying = |(position, copy)| {
        let image = engine.copy(copy, stage);
        image.map(move |outcome| (position, outcome))
    };
    let mut outcomes: Vec<(usize, ImageOutcome)> = futures::stream::iter(copies.iter().enumerate())
        .map(copying)
        .buffer_unordered(options.parallel_images.max(1))
        .collect()
        .await;
    outcomes.sort_unstable_by_key(|(position, _)| *position);
    let mut outcomes: Vec<ImageOutcome> =
        outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    let may_publish = !is_strict || may_publish(copies, &mut outcomes);
    if may_publish {
        if is_strict {
            engine.publish(copies, &mut outcomes).await;
        }
        engine.finish(copies, &mut outcomes).await;
    }
    engine.tell(copies, &outcomes);
    outcomes
}

impl Engine<'_> {
    async fn copy(&self, copy: &ImageCopy, stage: Stage) -> ImageOutcome {
        let outcome = match self.copy_to_targets(copy, Trust::Known, stage).await {
            Ok(outcome) => outcome,
            Err(failure) => vec![Err(failure); copy.targets.len()],
        };
        let written = outcome.iter().filter(|result| result.is_ok());
        self.counters.count_images(written.count());
        outcome
    }

    pub(super) async fn copy_to_targets(
        &self,
        copy: &ImageCopy,
        trust: Trust,
        stage: Stage,
    ) -> Result<ImageOutcome, Failure> {
        let goals = self.goals(copy, stage);
        // The tags tell which referrers there are. Asking now costs no time.
        let (looked_up, ()) =
            futures::join!(self.look_up(copy, &goals, trust), self.list_source(copy));
        let (wanted, current) = looked_up?;
        let wanted = match wanted {
            Some(digest) => {
                let settled = settle(&goals, &current, &digest, &digest);
                if !self.options.changes_images()
                    && let Some(outcome) = all_settled(&settled)
                {
                    self.check_signatures(copy, &digest).await?;
                    return Ok(self.bring_referrers(copy, &goals, outcome, &[digest]).await);
                }
                ManifestName::Digest(digest)
            }
            None => copy.image.clone(),
        };
        // It will be written: what the destinations hold is asked for meanwhile.
        let (root, _) = futures::join!(
            Root::read(
                copy.source.as_ref(),
                wanted.as_reference(),
                &self.options.platforms
            ),
            join_all(goals.iter().map(|goal| goal.destination.existing())),
        );
        let Root { source, manifest } = root?;
        self.check_signatures(copy, &source).await?;
        if self.conversions.needs_layers(&manifest)
            && let Some(outcome) = all_settled(&settle_unread(&goals, &current, &source))
        {
            return Ok(outcome);
        }
        let (place, root) = self.conversions.readable(&copy.source, manifest).await?;
        if !self.options.conversion.is_none() {
            let original = Original {
                place: &place,
                digest: &source,
                root,
            };
            return self
                .write_converted(copy, &goals, current, original, trust)
                .await;
        }
        let settled = settle(&goals, &current, &source, root.digest());
        self.write_image(copy, &goals, settled, &source, root, trust)
            .await
    }

    /// Brings what refers to `subjects` to wherever an image is that was settled without writing it.
    async fn bring_referrers(
        &self,
        copy: &ImageCopy,
        goals: &[Goal<'_>],
        mut outcome: ImageOutcome,
        subjects: &[Digest],
    ) -> ImageOutcome {
        if outcome.iter().flatten().any(Copied::is_in_place) {
            let referrers = self.list_referrers(copy, subjects).await;
            self.copy_referrers(copy, referrers, goals, &mut outcome)
                .await;
        }
        outcome
    }

    /// Writes the image `root`, made of `source`, to where nothing is settled yet.
    async fn write_image(
        &self,
        copy: &ImageCopy,
        goals: &[Goal<'_>],
        settled: Vec<Settled>,
        source: &Digest,
        root: Manifest,
        trust: Trust,
    ) -> Result<ImageOutcome, Failure> {
        if let Some(outcome) = all_settled(&settled)
            && !outcome.iter().flatten().any(Copied::is_in_place)
        {
            return Ok(outcome);
        }
        let alone = self.root_lock(root.digest());
        let alone = alone.lock().await;
        let closure = if trust == Trust::Known && self.is_written(copy, goals, root.digest()).await
        {
            None
        } else {
            Some(Closure::read(&copy.source, root.clone(), &self.options.platforms).await?)
        };
        let writes = goals.iter().zip(settled).map(|(goal, settled)| {
            let (closure, root) = (closure.as_ref(), &root);
            async move {
                if let Some(result) = settled {
                    return result;
                }
                let tagged = self.write_to(copy, goal, closure, root, trust).await?;
                goal.written(source, root.digest(), tagged)
            }
        });
        let subjects: Vec<Digest> = closure.iter().flat_map(Closure::digests).cloned().collect();
        let (mut outcome, referrers) =
            futures::join!(join_all(writes), self.list_referrers(copy, &subjects));
        drop(alone);
        self.copy_referrers(copy, referrers, goals, &mut outcome)
            .await;
        Ok(outcome)
    }

    async fn write_to(
        &self,
        copy: &ImageCopy,
        goal: &Goal<'_>,
        closure: Option<&Closure>,
        root: &Manifest,
        trust: Trust,
    ) -> Result<Tagged, Failure> {
        let writer = self.writer(&copy.source, &goal.destination);
        match (closure, goal.tag()) {
            (Some(closure), tag) => writer.write(closure, tag, trust).await,
            (None, Some(tag)) => writer
                .write_tag(root, tag)
                .await
                .map_err(|error| Failure::of_place(Side::Destination, &error)),
            (None, None) => Ok(Tagged::Image),
        }
    }

    /// What the source has, and what is in place of it. The source is asked only if its answer can
    /// save something; without an answer, the image has to be read.
    async fn look_up(
        &self,
        copy: &ImageCopy,
        goals: &[Goal<'_>],
        trust: Trust,
    ) -> Result<(Option<Digest>, Current), Failure> {
        let may_have = join_all(goals.iter().map(|goal| async move {
            match trust {
                Trust::Known => goal.destination.may_have(goal.target.tag.as_ref()).await,
                Trust::Nothing => goal.target.protects_tag(),
            }
        }))
        .await;
        let found = join_all(
            goals
                .iter()
                .zip(&may_have)
                .map(|(goal, may_have)| async move {
                    if *may_have {
                        goal.find(&copy.image).await
                    } else {
                        Ok(None)
                    }
                }),
        );
        let wanted = async {
            match &copy.image {
                ManifestName::Digest(digest) => Ok(Some(digest.clone())),
                ManifestName::Tag(_) if may_have.contains(&true) => {
                    find_source(copy.source.as_ref(), copy.image.as_reference()).await
                }
                ManifestName::Tag(_) => Ok(None),
            }
        };
        let (wanted, found) = futures::join!(wanted, found);
        Ok((wanted?, found))
    }

    /// Whether the image may be copied. It is asked before anything of it is written, and also when it is in
    /// place already: whoever asks for signed images is not told that an unsigned one is in order.
    async fn check_signatures(&self, copy: &ImageCopy, digest: &Digest) -> Result<(), Failure> {
        match &self.options.signatures {
            Some(signatures) => signatures.check(&copy.source, digest).await,
            None => Ok(()),
        }
    }

    async fn list_source(&self, copy: &ImageCopy) {
        if self.options.referrers != Referrers::None {
            let state = self.places.source(copy.source.as_ref());
            state.tags(copy.source.as_ref()).await;
        }
    }

    pub(super) fn goals<'a>(&self, copy: &'a ImageCopy, stage: Stage) -> Vec<Goal<'a>> {
        copy.targets
            .iter()
            .filter_map(|target| {
                let destination = self.places.destination(target.place.as_ref())?;
                Some(Goal {
                    target,
                    destination: Arc::clone(destination),
                    stage,
                })
            })
            .collect()
    }

    async fn is_written(&self, copy: &ImageCopy, goals: &[Goal<'_>], image: &Digest) -> bool {
        for goal in goals {
            if !self
                .writer(&copy.source, &goal.destination)
                .has_written(image)
                .await
            {
                return false;
            }
        }
        true
    }

    pub(super) fn writer<'a>(
        &'a self,
        source: &'a Arc<dyn Source>,
        destination: &'a DestinationState,
    ) -> Writer<'a> {
        Writer {
            source,
            destination,
            blobs: &self.blobs,
        }
    }

    pub(super) fn root_lock(&self, root: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(roots.entry(root.clone()).or_default())
    }

    fn tell(&self, copies: &[ImageCopy], outcomes: &[ImageOutcome]) {
        for (copy, outcome) in copies.iter().zip(outcomes) {
            let source = copy.display_source();
            for (target, result) in copy.targets.iter().zip(outcome) {
                self.observer.observe(&Event::ImageEnded {
                    source: &source,
                    destination: &target.to_string(),
                    result: result.as_ref(),
                });
            }
        }
    }
}

impl Goal<'_> {
    /// The tag to be written, if there is one and its time has come.
    pub(super) fn tag(&self) -> Option<TagWrite<'_>> {
        if self.stage == Stage::Content && self.is_shown_at_once() {
            return None;
        }
        self.target.tag.as_ref().map(|tag| TagWrite {
            tag,
            policy: self.target.existing,
        })
    }

    /// Whether a tag can be read as soon as it is written, as in a registry. Other places show nothing
    /// before they are finished.
    pub(super) fn is_shown_at_once(&self) -> bool {
        self.destination.place.location().is_some()
    }

    /// The result of a write of `wanted`.
    pub(super) fn written(
        &self,
        source: &Digest,
        wanted: &Digest,
        tagged: Tagged,
    ) -> Result<Copied, Failure> {
        match tagged {
            Tagged::Image => Ok(Copied {
                source: source.clone(),
                digest: wanted.clone(),
                effect: Effect::Written,
            }),
            Tagged::Other(found) => self.target.leave(source, wanted, &found),
        }
    }

    /// What is there where the image is to be: under the tag, or under the digest that it is named by.
    async fn find(&self, image: &ManifestName) -> Result<Option<Digest>, Failure> {
        let destination = &self.destination;
        let found = match (&self.target.tag, image) {
            (Some(tag), _) if self.target.protects_tag() => destination.find_protected(tag).await,
            (Some(tag), _) => destination.find_manifest(ManifestReference::Tag(tag)).await,
            (None, ManifestName::Digest(digest)) => {
                let reference = ManifestReference::Digest(digest);
                destination.find_manifest(reference).await
            }
            (None, ManifestName::Tag(_)) => Ok(None),
        };
        found.map_err(|error| Failure::of_place(Side::Destination, &error))
    }
}

/// What is settled before anything is written, where `wanted` is to be in place.
fn settle(goals: &[Goal<'_>], current: &Current, source: &Digest, wanted: &Digest) -> Vec<Settled> {
    let goals = goals.iter().zip(current);
    goals
        .map(|(goal, current)| match current {
            Ok(found) => goal.target.settle(source, wanted, found.as_ref()),
            Err(failure) => Some(Err(failure.clone())),
        })
        .collect()
}

/// The same where it would take reading all layers to know what is wanted: a tag that is there and may
/// not be moved stays, whatever it points at.
fn settle_unread(goals: &[Goal<'_>], current: &Current, source: &Digest) -> Vec<Settled> {
    let goals = goals.iter().zip(current);
    goals
        .map(|(goal, current)| match current {
            Ok(Some(found)) if goal.target.protects_tag() => {
                Some(goal.target.leave_unread(source, found))
            }
            Ok(_) => None,
            Err(failure) => Some(Err(failure.clone())),
        })
        .collect()
}

/// The outcome, if nothing is left to do anywhere.
fn all_settled(settled: &[Settled]) -> Option<ImageOutcome> {
    settled.iter().cloned().collect()
}

/// The digest that a source has for `reference`, which it must have.
async fn find_source(
    source: &dyn Source,
    reference: ManifestReference<'_>,
) -> Result<Option<Digest>, Failure> {
    match source.find_manifest(reference).await {
        Ok(Some(digest)) => Ok(Some(digest)),
        Ok(None) => Err(Failure {
            reason: Reason::SourceNotFound,
            message: format!(
                "{} has no {}: check the name{}",
                source.name(),
                match reference {
                    ManifestReference::Tag(tag) => format!("tag {tag}"),
                    ManifestReference::Digest(digest) => format!("manifest {digest}"),
                },
                match source.location() {
                    Some(_) => ", and whether the credentials may see it",
                    None => "",
                },
            ),
        }),
        Err(error) => Err(Failure::of_place(Side::Source, &error)),
    }
}
