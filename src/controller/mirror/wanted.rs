//! What a spec asks for, as checked values: which images go to which references with whose rights.
//!
//! Admission has refused most mistakes already; what it cannot say is refused here, with the field.

use std::collections::BTreeMap;
use std::time::Duration;

use super::claims::{ClaimedTags, RepositoryName, SelectedTags, repository_name};
use super::form::Form;
use super::prune::PruneRules;
use super::spec_error::SpecError;
use crate::api::{Destination, ExistingPolicy, ImageMirrorSpec, LatestOrder, Source, TagRules};
use crate::controller::spec;
use crate::copy::{AccessReference, DestinationTemplate, Failure, PlannedDestination, TagPolicy};
use crate::oci::{Reference, Tag};
use crate::reason::Reason;
use crate::registry::TagList;
use crate::tag_selection::{CreationTimes, Latest, Order, Rules, SelectionError, TagSelection};

/// Most images of a repository that are read to learn when they were created.
const MAX_UNDATED: usize = 1000;

/// A spec that can be acted upon.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// How often to scan.
    pub(crate) interval: Duration,
    /// How long one run may take.
    pub(crate) timeout: Duration,
    /// In which form images are copied.
    pub(crate) form: Form,
    /// Workers of one run.
    pub(crate) shards: u32,
    /// What becomes of tags that are not wanted any more.
    pub(crate) prune: PruneRules,
    sources: Vec<WantedSource>,
    destinations: Vec<Destination>,
}

/// One entry of `spec.sources`.
#[derive(Clone, Debug)]
enum WantedSource {
    Image {
        image: Reference,
        access: AccessReference,
    },
    Repository(Box<WantedRepository>),
}

/// A repository, of which some tags are wanted.
#[derive(Clone, Debug)]
pub(crate) struct WantedRepository {
    /// Any reference in it: what says where it is.
    pub(crate) location: Reference,
    /// Which of its tags.
    selection: TagSelection,
    /// The same as they are written.
    rules: Rules,
    /// With whose rights they are listed and read.
    pub(crate) access: AccessReference,
}

impl WantedRepository {
    /// The repository without a tag, as the status shows it.
    pub(crate) fn name(&self) -> String {
        format!(
            "{}/{}",
            self.location.registry(),
            self.location.repository()
        )
    }

    /// Those of its tags of which it has to be known when their images were created.
    pub(crate) fn undated<'a>(&self, listed: &'a TagList) -> Result<Vec<&'a Tag>, Failure> {
        let undated = self.selection.undated(&listed.tags);
        if undated.len() <= MAX_UNDATED {
            return Ok(undated);
        }
        Err(Failure {
            reason: Reason::TooManyTags,
            message: format!(
                "{}: {} tags match, and latest by Created reads the images of at most {MAX_UNDATED}; narrow the rules",
                self.name(),
                undated.len()
            ),
        })
    }

    /// Which of its tags are mirrored.
    pub(crate) fn select(&self, listed: &TagList, created: &CreationTimes) -> Selected {
        let failed = |reason, error: SelectionError| Failure {
            reason,
            message: format!("{}: {error}", self.name()),
        };
        let selected = self.selection.select(&listed.tags, created);
        // What is missing could have changed the answer.
        if listed.truncated {
            return Err(failed(
                Reason::TooManyTags,
                SelectionError::Unlisted {
                    count: listed.tags.len(),
                },
            ));
        }
        selected.map_err(|error| match error {
            SelectionError::None { .. } => failed(Reason::NoMatchingTags, error),
            SelectionError::TooMany { .. } | SelectionError::Unlisted { .. } => {
                failed(Reason::TooManyTags, error)
            }
        })
    }
}

/// One source image and all its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedImage {
    pub(crate) source: Reference,
    pub(crate) access: AccessReference,
    pub(crate) destinations: Vec<PlannedDestination>,
}

/// A repository of which nobody knows what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnlistedRepository {
    /// The repository at the source.
    pub(crate) source: String,
    /// The repositories that would hold it.
    pub(crate) destinations: Vec<String>,
    /// Why.
    pub(crate) failure: Failure,
}

/// All images of a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WantedImages {
    /// In the order of the spec, and of the tags where it names a repository.
    pub(crate) images: Vec<WantedImage>,
    /// What could not be listed, or of which the rules select nothing that can be copied.
    pub(crate) unlisted: Vec<UnlistedRepository>,
}

/// The tags of one repository that its rules select.
pub(crate) type Selected = Result<Vec<Tag>, Failure>;

impl Wanted {
    /// Checks a spec.
    pub(crate) fn new(spec: &ImageMirrorSpec) -> Result<Self, SpecError> {
        for (field, is_empty) in [
            ("sources", spec.sources.is_empty()),
            ("destinations", spec.destinations.is_empty()),
        ] {
            if is_empty {
                return Err(SpecError::None { field });
            }
        }
        let sources = spec
            .sources
            .iter()
            .enumerate()
            .map(|(index, source)| wanted_source(index, source))
            .collect::<Result<Vec<_>, _>>()?;
        refuse_repeated_images(&sources)?;
        let wanted = Self {
            interval: duration("interval", &spec.interval)?,
            timeout: duration("timeout", &spec.timeout)?,
            form: Form::new(spec)?,
            prune: PruneRules {
                mode: spec.prune.mode,
                grace: duration("prune.grace", &spec.prune.grace)?,
                max_percent: u8::try_from(spec.prune.max_percent.clamp(0, 100)).unwrap_or_default(),
            },
            shards: u32::try_from(spec.limits.shards).unwrap_or_default().max(1),
            sources,
            destinations: spec.destinations.clone(),
        };
        // What can be known without a registry is refused before one is asked: each repository as if it had
        // the tag that its name stands for.
        wanted.expand(
            wanted
                .repositories()
                .map(|repository| Ok(repository.location.tag().cloned().into_iter().collect())),
        )?;
        Ok(wanted)
    }

    /// The repositories whose tags have to be listed, in the order that [`Self::expand`] takes them in.
    pub(crate) fn repositories(&self) -> impl Iterator<Item = &WantedRepository> {
        self.sources.iter().filter_map(|source| match source {
            WantedSource::Repository(repository) => Some(repository.as_ref()),
            WantedSource::Image { .. } => None,
        })
    }

    /// With whose rights all of it is read and written, repetitions included.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = AccessReference> {
        let sources = self.sources.iter().map(|source| match source {
            WantedSource::Image { access, .. } => access.clone(),
            WantedSource::Repository(repository) => repository.access.clone(),
        });
        sources.chain(self.destinations.iter().map(destination_access))
    }

    /// What is wanted of which repository of a destination, as far as the spec alone says.
    pub(super) fn claims(&self) -> Vec<(RepositoryName, ClaimedTags)> {
        let mut claims = Vec::new();
        for source in &self.sources {
            let (location, rules) = match source {
                WantedSource::Image { image, .. } => (image, None),
                WantedSource::Repository(repository) => {
                    (&repository.location, Some(&repository.rules))
                }
            };
            // It was checked when the spec was.
            let destinations = self.destinations_of(location).unwrap_or_default();
            for (planned, destination) in destinations.into_iter().zip(&self.destinations) {
                let repository = repository_name(&planned.reference);
                let tags = match rules {
                    None => ClaimedTags::One(planned.reference),
                    Some(rules) => {
                        ClaimedTags::Selected(SelectedTags::new(rules, &destination.tag))
                    }
                };
                claims.push((repository, tags));
            }
        }
        claims
    }

    /// All images, given the tags that are selected of each of [`Self::repositories`].
    ///
    /// An image that several entries select is wanted once.
    pub(crate) fn expand(
        &self,
        selected: impl IntoIterator<Item = Selected>,
    ) -> Result<WantedImages, SpecError> {
        let mut selected = selected.into_iter();
        let mut wanted = WantedImages::default();
        let mut taken = BTreeMap::new();
        for source in &self.sources {
            match source {
                WantedSource::Image { image, access } => {
                    self.add(image.clone(), access, &mut wanted, &mut taken)?;
                }
                WantedSource::Repository(repository) => match selected.next() {
                    Some(Ok(tags)) => {
                        for tag in tags {
                            let image = repository.location.with_tag(tag);
                            self.add(image, &repository.access, &mut wanted, &mut taken)?;
                        }
                    }
                    Some(Err(failure)) => {
                        wanted.unlisted.push(self.unlisted(repository, failure)?);
                    }
                    None => {}
                },
            }
        }
        Ok(wanted)
    }

    /// Adds one image. `taken` says which source each destination reference is for.
    fn add(
        &self,
        source: Reference,
        access: &AccessReference,
        wanted: &mut WantedImages,
        taken: &mut BTreeMap<Reference, Reference>,
    ) -> Result<(), SpecError> {
        let destinations = self.destinations_of(&source)?;
        refuse_same_place(&source, &destinations)?;
        for destination in &destinations {
            let reference = destination.reference.clone();
            match taken.insert(reference.clone(), source.clone()) {
                Some(first) if first == source => return Ok(()),
                Some(first) => {
                    return Err(SpecError::Collision {
                        first: first.to_string(),
                        second: source.to_string(),
                        reference: reference.to_string(),
                    });
                }
                None => {}
            }
        }
        wanted.images.push(WantedImage {
            source,
            access: access.clone(),
            destinations,
        });
        Ok(())
    }

    fn unlisted(
        &self,
        repository: &WantedRepository,
        failure: Failure,
    ) -> Result<UnlistedRepository, SpecError> {
        let destinations = self.destinations_of(&repository.location)?;
        Ok(UnlistedRepository {
            source: repository.name(),
            destinations: destinations
                .iter()
                .map(|destination| destination.reference.name())
                .collect(),
            failure,
        })
    }

    fn destinations_of(&self, image: &Reference) -> Result<Vec<PlannedDestination>, SpecError> {
        let destinations = self.destinations.iter().enumerate();
        destinations
            .map(|(index, destination)| {
                let template = DestinationTemplate {
                    prefix: &destination.prefix,
                    path: &destination.path,
                    tag: &destination.tag,
                };
                let reference = template
                    .apply(image)
                    .map_err(|source| SpecError::Destination {
                        index,
                        image: image.to_string(),
                        source,
                    })?;
                let access = destination_access(destination);
                Ok(PlannedDestination {
                    reference,
                    access,
                    existing: match destination.existing {
                        ExistingPolicy::Overwrite => TagPolicy::Overwrite,
                        ExistingPolicy::Keep => TagPolicy::Keep,
                        ExistingPolicy::Fail => TagPolicy::Fail,
                    },
                })
            })
            .collect()
    }
}

fn duration(field: &'static str, text: &str) -> Result<Duration, SpecError> {
    spec::duration(text).ok_or(SpecError::Duration { field })
}

fn wanted_source(index: usize, source: &Source) -> Result<WantedSource, SpecError> {
    let access = spec::access_reference(
        source.secret_ref.as_ref(),
        source.cert_secret_ref.as_ref(),
        source.insecure,
    );
    match (&source.image, &source.repository) {
        (Some(image), None) => Ok(WantedSource::Image {
            image: image
                .parse()
                .map_err(|source| SpecError::Image { index, source })?,
            access,
        }),
        (None, Some(repository)) => {
            let location: Reference = repository
                .parse()
                .map_err(|source| SpecError::Repository { index, source })?;
            let name = repository.rsplit('/').next().unwrap_or_default();
            if name.contains([':', '@']) {
                return Err(SpecError::RepositoryWithTag { index });
            }
            let rules = rules(source.tags.as_ref());
            let selection =
                TagSelection::new(&rules).map_err(|source| SpecError::Tags { index, source })?;
            Ok(WantedSource::Repository(Box::new(WantedRepository {
                location,
                selection,
                rules,
                access,
            })))
        }
        (Some(_), Some(_)) | (None, None) => Err(SpecError::Source { index }),
    }
}

fn rules(tags: Option<&TagRules>) -> Rules {
    let tags = tags.cloned().unwrap_or_default();
    Rules {
        include: tags.include,
        exclude: tags.exclude,
        regex: tags.regex,
        semver: tags.semver,
        prerelease: tags.prerelease,
        latest: tags.latest.map(|latest| Latest {
            count: at_most(latest.count),
            order: match latest.by {
                LatestOrder::Semver => Order::Semver,
                LatestOrder::Alphabetical => Order::Alphabetical,
                LatestOrder::Created => Order::Created,
            },
        }),
        limit: at_most(tags.limit),
    }
}

/// A number that admission has bounded; of an object that was stored without, nothing is selected.
fn at_most(number: i32) -> usize {
    usize::try_from(number).unwrap_or_default()
}

fn refuse_repeated_images(sources: &[WantedSource]) -> Result<(), SpecError> {
    let mut seen = BTreeMap::new();
    for (second, source) in sources.iter().enumerate() {
        if let WantedSource::Image { image, .. } = source
            && let Some(first) = seen.insert(image, second)
        {
            return Err(SpecError::RepeatedImage {
                first,
                second,
                image: image.to_string(),
            });
        }
    }
    Ok(())
}

/// Two destinations that are written differently may be one place, which would be written twice at once.
fn refuse_same_place(
    image: &Reference,
    destinations: &[PlannedDestination],
) -> Result<(), SpecError> {
    let mut seen = BTreeMap::new();
    for (second, destination) in destinations.iter().enumerate() {
        if let Some(first) = seen.insert(&destination.reference, second) {
            return Err(SpecError::SamePlace {
                first,
                second,
                image: image.to_string(),
                reference: destination.reference.to_string(),
            });
        }
    }
    Ok(())
}

fn destination_access(destination: &Destination) -> AccessReference {
    spec::access_reference(
        destination.secret_ref.as_ref(),
        destination.cert_secret_ref.as_ref(),
        destination.insecure,
    )
}

#[cfg(test)]
mod tests;
