//! One schedule's registries, images and wishes, drawn at random.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use transship::convert::{Compression, Conversion, Format};
use transship::copy::{
    Copied, Counters, Effect, Failure, FailurePolicy, ImageCopy, ManifestName, Options, Selection,
    TagPolicy, Target, Unobserved, copy_images,
};
use transship::oci::Digest;
use transship::reason::Reason;

use super::Outcomes;
use super::content::{
    fallback_tag, seed_compressed_image, seed_cosign_signature, seed_index, seed_large_image,
    seed_signature,
};
use super::party::{Party, client};
use crate::support::registry::{Dialect, Random, Registry, Role, StoredManifest, random_faults};

/// `REPOSITORY:TAG` at the source, and where it goes: number of the destination and repository.
struct Wish {
    repository: &'static str,
    tag: &'static str,
    targets: Vec<(usize, &'static str)>,
    /// What becomes of tags that are there.
    existing: TagPolicy,
}

/// Something that belongs to an image and has to come along.
enum Companion {
    /// A referrer of a subject.
    Referrer { subject: Digest, digest: Digest },
    /// A tag.
    Tag(String),
}

/// What one schedule happens to.
pub(super) struct Setting {
    source: Party,
    destinations: Vec<Party>,
    wishes: Vec<Wish>,
    /// What comes with the tag `v1` of the repository `one`.
    companions: Vec<Companion>,
    /// What was at a destination before: its number, repository and tag.
    earlier: BTreeMap<(usize, &'static str, &'static str), Digest>,
    options: Options,
    /// How many engines do the same at once.
    pub(super) engines: usize,
    /// The number of requests at the first destination after which the first run is no more.
    pub(super) killed_after: Option<usize>,
    /// Whether each run starts with nothing in memory, as a new process does.
    forgets: bool,
    state: Option<TempDir>,
}

impl Setting {
    /// Starts registries and fills them.
    pub(super) async fn draw(random: &mut Random) -> Self {
        let source = Party::draw(random, Role::Source).await;
        let mut destinations = Vec::new();
        for _ in 0..=u64::from(random.one_in(4)) {
            let role = random.pick(&[Role::Destination, Role::Permissive]);
            destinations.push(Party::draw(random, role).await);
        }
        let state = random.one_in(4).then(|| tempfile::tempdir().unwrap());
        let mut setting = Self {
            source,
            destinations,
            wishes: Vec::new(),
            companions: Vec::new(),
            earlier: BTreeMap::new(),
            options: Options {
                first_wait: Duration::from_millis(1),
                ..Options::default()
            },
            engines: if random.one_in(8) { 2 } else { 1 },
            killed_after: random
                .one_in(4)
                .then(|| usize::try_from(1 + random.below(40)).unwrap()),
            forgets: random.one_in(2),
            state,
        };
        if random.one_in(8) {
            setting.seed_for_conversion(random);
        } else {
            setting.seed(random);
        }
        setting.prepare_destinations(random);
        if random.one_in(8) {
            setting.be_strict();
        }
        setting
    }

    /// No tag moves unless all images can be written. A tag that may not be there would hold back all
    /// others for ever.
    fn be_strict(&mut self) {
        self.options.failure_policy = FailurePolicy::Strict;
        for wish in &mut self.wishes {
            if wish.existing == TagPolicy::Fail {
                wish.existing = TagPolicy::Keep;
            }
        }
    }

    /// What all tags point at.
    pub(super) fn tags(&self) -> Vec<Option<StoredManifest>> {
        let targets = self.wishes.iter().flat_map(|wish| {
            let targets = wish.targets.iter();
            targets.map(move |(number, repository)| (*number, *repository, wish.tag))
        });
        targets
            .map(|(number, repository, tag)| self.party(number).registry.manifest(repository, tag))
            .collect()
    }

    fn seed(&mut self, random: &mut Random) {
        let source = &self.source.registry;
        let first = seed_index(source, "one", "v1", &[b"base", b"first"]);
        seed_index(source, "one", "v2", &[b"base", b"second"]);
        source.seed_image("two", Some("v1"), &[b"base", b"third"]);
        self.wish(random, "one", "v1", "mirror/one");
        self.wish(random, "one", "v2", "mirror/one");
        self.wish(random, "two", "v1", "mirror/two");
        if random.one_in(64) {
            seed_large_image(&self.source.registry, "large", "v1");
            self.wish(random, "large", "v1", "mirror/large");
            self.state
                .get_or_insert_with(|| tempfile::tempdir().unwrap());
        }
        match random.below(8) {
            0 => self.options.platforms = Selection::Rewrite(vec!["linux/amd64".parse().unwrap()]),
            1 => {}
            _ => self.sign(random, &first),
        }
    }

    /// Images whose layers are compressed in another way when they arrive.
    fn seed_for_conversion(&mut self, random: &mut Random) {
        let source = &self.source.registry;
        seed_compressed_image(source, "app", "v1", &[b"the base", b"one"]);
        seed_compressed_image(source, "app", "v2", &[b"the base", b"two", b""]);
        self.wish(random, "app", "v1", "mirror/one");
        self.wish(random, "app", "v2", "mirror/two");
        self.options.conversion = Conversion {
            format: random.pick(&[Format::Oci, Format::Preserve]),
            compression: Some(Compression::ZSTD),
            leave_out_unsupported: false,
        };
    }

    fn sign(&mut self, random: &mut Random, subject: &Digest) {
        let source = &self.source.registry;
        if random.one_in(2) {
            let digest = seed_signature(source, self.source.dialect, "one", subject);
            self.companions.push(Companion::Referrer {
                subject: subject.clone(),
                digest,
            });
        }
        if random.one_in(4) {
            let tag = seed_cosign_signature(source, "one", subject);
            self.companions.push(Companion::Tag(tag));
        }
    }

    fn wish(
        &mut self,
        random: &mut Random,
        repository: &'static str,
        tag: &'static str,
        to: &'static str,
    ) {
        let mut targets = vec![(0, to)];
        if random.one_in(3) {
            targets.push((self.destinations.len() - 1, "copy/of/everything"));
            // Two images of one name are one place.
            targets.truncate(if self.has_target("copy/of/everything", tag) {
                1
            } else {
                2
            });
        }
        let policies = [TagPolicy::Overwrite, TagPolicy::Keep, TagPolicy::Fail];
        let existing = if random.one_in(4) {
            random.pick(&policies)
        } else {
            TagPolicy::Overwrite
        };
        self.wishes.push(Wish {
            repository,
            tag,
            targets,
            existing,
        });
    }

    fn has_target(&self, repository: &str, tag: &str) -> bool {
        let targets = self.wishes.iter().filter(|wish| wish.tag == tag);
        targets
            .flat_map(|wish| &wish.targets)
            .any(|(_, to)| *to == repository)
    }

    /// Creates the repositories, some of them with an earlier image under the same tag.
    fn prepare_destinations(&mut self, random: &mut Random) {
        let mut earlier = BTreeMap::new();
        for wish in &self.wishes {
            for (number, repository) in &wish.targets {
                let destination = &self.party(*number).registry;
                if self.party(*number).dialect == Some(Dialect::Ecr) {
                    destination.create_repository(repository);
                }
                if random.one_in(4) {
                    let layers: [&[u8]; 2] = [b"base", b"earlier"];
                    let digest = destination.seed_image(repository, Some(wish.tag), &layers);
                    earlier.insert((*number, *repository, wish.tag), digest);
                }
            }
        }
        self.earlier = earlier;
    }

    fn parties(&self) -> impl Iterator<Item = &Party> {
        std::iter::once(&self.source).chain(&self.destinations)
    }

    fn party(&self, number: usize) -> &Party {
        self.destinations.get(number).expect("a destination")
    }

    /// The first destination, which every image goes to.
    pub(super) fn destination(&self) -> &Registry {
        &self.party(0).registry
    }

    pub(super) fn add_faults(&self, random: &mut Random) {
        for party in self.parties() {
            for rule in random_faults(random, party.role) {
                party.registry.add(rule);
            }
        }
    }

    pub(super) fn clear_faults(&self) {
        for party in self.parties() {
            party.registry.clear_rules();
        }
    }

    /// One run of the engine.
    pub(super) async fn run(&self) -> Outcomes {
        let client = |party: &Party| {
            if self.forgets || self.state.is_some() {
                client(&party.registry, &party.access, self.state.as_ref())
            } else {
                party.client.clone()
            }
        };
        let source = client(&self.source);
        let clients: Vec<_> = self.destinations.iter().map(client).collect();
        let copies: Vec<_> = self
            .wishes
            .iter()
            .map(|wish| ImageCopy {
                source: self.source.place(&source, wish.repository),
                image: ManifestName::Tag(wish.tag.parse().unwrap()),
                targets: wish
                    .targets
                    .iter()
                    .map(|(number, repository)| Target {
                        place: self
                            .party(*number)
                            .place(clients.get(*number).expect("a client"), repository),
                        tag: Some(wish.tag.parse().unwrap()),
                        existing: wish.existing,
                    })
                    .collect(),
            })
            .collect();
        let counters = Arc::new(Counters::default());
        copy_images(&copies, &self.options, counters, Arc::new(Unobserved)).await
    }

    /// What is said to be in place is, and what may not be moved has not been.
    pub(super) fn assert_no_false_success(&self, outcomes: &Outcomes) {
        for (wish, outcome) in self.wishes.iter().zip(outcomes) {
            for ((number, repository), result) in wish.targets.iter().zip(outcome) {
                let destination = self.party(*number);
                if let Some(earlier) = self.protected(wish, *number, repository) {
                    let there = destination.registry.manifest(repository, wish.tag);
                    assert_eq!(Digest::sha256(&there.unwrap().bytes), *earlier);
                    let written = |copied: &Copied| copied.effect != Effect::Kept;
                    assert!(!result.as_ref().is_ok_and(written), "{result:?}");
                    continue;
                }
                if let Ok(copied) = result
                    && copied.effect != Effect::Kept
                {
                    self.assert_in_place(wish, destination, repository, copied);
                }
            }
        }
    }

    /// What is under a tag that may not be moved.
    fn protected(&self, wish: &Wish, number: usize, repository: &'static str) -> Option<&Digest> {
        let earlier = self.earlier.get(&(number, repository, wish.tag))?;
        (wish.existing != TagPolicy::Overwrite).then_some(earlier)
    }

    /// Everything is in place, except where it may not be.
    pub(super) fn assert_all_settled(&self, outcomes: &Outcomes) {
        for (wish, outcome) in self.wishes.iter().zip(outcomes) {
            for ((number, repository), result) in wish.targets.iter().zip(outcome) {
                let is_protected = self.protected(wish, *number, repository).is_some();
                match (result, wish.existing) {
                    (Ok(copied), TagPolicy::Overwrite | TagPolicy::Keep) => {
                        assert_eq!(copied.effect == Effect::Kept, is_protected, "{copied:?}");
                    }
                    (Ok(copied), TagPolicy::Fail) => assert!(!is_protected, "{copied:?}"),
                    (Err(Failure { reason, message }), existing) => {
                        assert_eq!(*reason, Reason::TagExists, "{message}");
                        assert!(is_protected && existing == TagPolicy::Fail, "{message}");
                    }
                }
            }
        }
    }

    fn assert_in_place(&self, wish: &Wish, destination: &Party, repository: &str, copied: &Copied) {
        let wanted = self
            .source
            .registry
            .manifest(wish.repository, wish.tag)
            .unwrap();
        let there = destination.registry.manifest(repository, wish.tag);
        let there = there.unwrap_or_else(|| panic!("{repository}:{} is absent", wish.tag));
        assert_eq!(copied.source, Digest::sha256(&wanted.bytes));
        assert_eq!(
            copied.digest,
            Digest::sha256(&there.bytes),
            "{repository}:{}",
            wish.tag
        );
        if self.options.conversion.is_none() && matches!(self.options.platforms, Selection::All) {
            assert_eq!(there, wanted);
        }
        let complete = destination.registry.is_complete(repository, wish.tag);
        assert_eq!(complete, Ok(()), "{repository}:{}", wish.tag);
        if (wish.repository, wish.tag) == ("one", "v1") {
            for companion in &self.companions {
                self.assert_came_along(companion, destination, repository);
            }
        }
    }

    fn assert_came_along(&self, companion: &Companion, destination: &Party, repository: &str) {
        let names = match companion {
            Companion::Tag(tag) => vec![tag.clone()],
            Companion::Referrer { digest, .. } => vec![digest.to_string()],
        };
        for name in &names {
            let there = destination.registry.manifest(repository, name);
            assert_eq!(there, self.source.registry.manifest("one", name), "{name}");
            assert_eq!(destination.registry.is_complete(repository, name), Ok(()));
        }
        if let Companion::Referrer { subject, digest } = companion
            && destination
                .dialect
                .is_some_and(|dialect| !dialect.has_referrers())
        {
            let list = destination
                .registry
                .manifest(repository, &fallback_tag(subject));
            let list = String::from_utf8(list.unwrap().bytes.to_vec()).unwrap();
            assert!(list.contains(digest.as_str()), "{list}");
        }
    }

    /// Another run finds everything in place, by the same digests, and sends nothing.
    pub(super) async fn assert_stays(&self, before: &Outcomes) {
        let sent: Vec<_> = self
            .destinations
            .iter()
            .map(|it| it.registry.writes())
            .collect();
        let outcomes = self.run().await;
        for (earlier, later) in before.iter().flatten().zip(outcomes.iter().flatten()) {
            let digest = |result: &Result<Copied, Failure>| {
                let copied = result.as_ref().ok()?;
                Some(copied.digest.clone())
            };
            assert_eq!(digest(earlier), digest(later));
            let written = |copied: &Copied| copied.effect == Effect::Written;
            assert!(!later.as_ref().is_ok_and(written), "{later:?}");
        }
        let now: Vec<_> = self
            .destinations
            .iter()
            .map(|it| it.registry.writes())
            .collect();
        assert_eq!(
            sent, now,
            "something was written although everything was in place"
        );
    }

    pub(super) fn assert_never_incomplete(&self) {
        for destination in &self.destinations {
            destination.registry.assert_never_incomplete();
        }
    }
}
