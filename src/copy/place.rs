//! What is known of the places of a run: learnt once, shared by all images that go there.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::ImageCopy;
use crate::oci::{Descriptor, Digest, Tag};
use crate::registry::{ErrorKind, ManifestReference};
use crate::transport::{Destination, Error, Existing, Source};

/// Tags of a source that are listed to find signatures and fallback tags without asking for each.
const MAX_SOURCE_TAGS: usize = 10_000;

/// One destination of the run.
#[derive(Debug)]
pub(super) struct DestinationState {
    pub(super) place: Arc<dyn Destination>,
    /// How many images go there.
    images: usize,
    /// What the place says that it holds, or why it does not say so.
    listing: OnceCell<Result<Existing, Error>>,
    manifests: Mutex<HashMap<Digest, ManifestState>>,
}

/// Whether a manifest was put in place by this run. The lock is held while somebody does that.
type ManifestState = Arc<tokio::sync::Mutex<bool>>;

impl DestinationState {
    /// What was there when the run began. A place that does not say may hold anything.
    pub(super) async fn existing(&self) -> &Existing {
        self.listing().await.as_ref().unwrap_or(&Existing::Unknown)
    }

    async fn listing(&self) -> &Result<Existing, Error> {
        self.listing
            .get_or_init(|| async {
                self.place.existing().await.inspect_err(|error| {
                    tracing::debug!(destination = self.place.name(), %error, "the destination does not say what it holds");
                })
            })
            .await
    }

    /// Whether `tag` may be there: [`false`] only if that is certain and cheaper to know than to ask
    /// for the tag.
    pub(super) async fn may_have(&self, tag: Option<&Tag>) -> bool {
        if self.images < 2 && self.listing.get().is_none() {
            return true;
        }
        match (self.existing().await, tag) {
            (Existing::Nothing, _) => false,
            (Existing::Tags(tags), Some(tag)) => tags.contains(tag),
            (Existing::Tags(_), None) | (Existing::Unknown, _) => true,
        }
    }

    /// Whether it is certain that `tag` was not there when the run began.
    pub(super) async fn is_new(&self, tag: &Tag) -> bool {
        match self.existing().await {
            Existing::Nothing => true,
            Existing::Tags(tags) => !tags.contains(tag),
            Existing::Unknown => false,
        }
    }

    /// The digest that the place has for `reference`.
    pub(super) async fn find_manifest(
        &self,
        reference: ManifestReference<'_>,
    ) -> Result<Option<Digest>, Error> {
        unless_hidden(self.place.find_manifest(reference).await)
    }

    /// The digest under a tag that may not be moved. A look that is denied shows nothing only if the
    /// tag is not in the list of tags either, or that is denied as well: then the whole repository is
    /// absent or hidden, and the first write tells which.
    pub(super) async fn find_protected(&self, tag: &Tag) -> Result<Option<Digest>, Error> {
        let found = self.place.find_manifest(ManifestReference::Tag(tag)).await;
        match found {
            Err(error) if is_denied(&error) => match self.listing().await {
                Err(listing) if is_denied(listing) => Ok(None),
                Ok(_) if self.is_new(tag).await => Ok(None),
                Ok(_) | Err(_) => Err(error),
            },
            found => found,
        }
    }

    /// Whether the place has `blob`.
    pub(super) async fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        unless_hidden(self.place.has_blob(blob).await)
    }

    /// The state of one manifest in this run.
    pub(super) fn manifest(&self, digest: &Digest) -> ManifestState {
        let mut manifests = self
            .manifests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(manifests.entry(digest.clone()).or_default())
    }
}

/// What was found, where nothing is found if the registry denies the look. Some answer that for what
/// is absent; who really lacks the right is told so by the first write.
fn unless_hidden<T: Default>(found: Result<T, Error>) -> Result<T, Error> {
    match found {
        Err(error) if is_denied(&error) => Ok(T::default()),
        found => found,
    }
}

fn is_denied(error: &Error) -> bool {
    matches!(error, Error::Registry(error) if error.kind() == ErrorKind::Denied)
}

/// One source of the run.
#[derive(Debug, Default)]
pub(super) struct SourceState {
    tags: OnceCell<Option<BTreeSet<Tag>>>,
}

impl SourceState {
    /// All tags of `source`, unless they are too many or it does not list them.
    pub(super) async fn tags(&self, source: &dyn Source) -> Option<&BTreeSet<Tag>> {
        self.tags
            .get_or_init(|| async {
                source
                    .tags(MAX_SOURCE_TAGS)
                    .await
                    .inspect_err(|error| {
                        tracing::debug!(source = source.name(), %error, "the source does not list its tags");
                    })
                    .unwrap_or_default()
            })
            .await
            .as_ref()
    }
}

/// All places of a run, by name.
#[derive(Debug, Default)]
pub(super) struct Places {
    destinations: HashMap<String, Arc<DestinationState>>,
    sources: HashMap<String, Arc<SourceState>>,
}

impl Places {
    pub(super) fn of(copies: &[ImageCopy]) -> Self {
        let mut destinations: HashMap<String, DestinationState> = HashMap::new();
        let mut sources = HashMap::new();
        for copy in copies {
            sources.entry(copy.source.name()).or_default();
            for target in &copy.targets {
                destinations
                    .entry(target.place.name())
                    .or_insert_with(|| DestinationState {
                        place: Arc::clone(&target.place),
                        images: 0,
                        listing: OnceCell::new(),
                        manifests: Mutex::default(),
                    })
                    .images += 1;
            }
        }
        Self {
            destinations: destinations
                .into_iter()
                .map(|(name, state)| (name, Arc::new(state)))
                .collect(),
            sources,
        }
    }

    pub(super) fn source(&self, source: &dyn Source) -> Arc<SourceState> {
        self.sources
            .get(&source.name())
            .cloned()
            .unwrap_or_default()
    }

    pub(super) fn destinations(&self) -> impl Iterator<Item = &Arc<DestinationState>> {
        self.destinations.values()
    }

    pub(super) fn destination(&self, place: &dyn Destination) -> Option<&Arc<DestinationState>> {
        self.destinations.get(&place.name())
    }
}
