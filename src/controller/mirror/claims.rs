//! Which mirror keeps a destination tag that several want: the oldest. Pure, in memory.
//!
//! What a mirror wants is read from its spec alone, without asking a registry, so that a new leader knows all of it
//! before it acts on any mirror. Two mirrors that take turns at one tag would never come to rest. See
//! `docs/adr/0018-one-owner-per-tag.md`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::wanted::Wanted;
use crate::api::ImageMirror;
use crate::controller::key_of;
use crate::oci::{Reference, Tag};
use crate::tag_selection::{Rules, TagSelection};

/// What a mirror wants of one repository of a destination.
#[derive(Clone, Debug)]
pub(super) enum ClaimedTags {
    /// One tag, or one digest.
    One(Reference),
    /// What rules select at the source.
    Selected(Box<SelectedTags>),
}

/// What rules select at the source, under the tag that a template makes of it.
#[derive(Clone, Debug)]
pub(super) struct SelectedTags {
    rules: Rules,
    /// Compiled when somebody else wants the same repository, which is seldom; [`None`] in it when the rules are
    /// wrong.
    selection: OnceLock<Option<TagSelection>>,
    template: String,
}

/// The name of a repository at a destination, with its registry.
pub(super) type RepositoryName = Arc<str>;

/// Who wants something; the smallest keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claimant {
    created: Option<Timestamp>,
    uid: String,
    namespace: String,
    name: String,
}

/// What all mirrors want.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What of each repository is wanted by whom, the oldest first. Most have one claim, so there is no room for
    /// another.
    repositories: HashMap<RepositoryName, Vec<Claim>>,
    /// What each mirror is entered with, by namespace and name.
    mirrors: HashMap<String, Entry>,
}

/// What one mirror wants of one repository; it may have several claims there.
#[derive(Debug)]
struct Claim {
    claimant: Arc<Claimant>,
    tags: ClaimedTags,
}

/// That a mirror was entered.
#[derive(Debug)]
struct Entry {
    claimant: Arc<Claimant>,
    generation: Option<i64>,
    repositories: Box<[RepositoryName]>,
}

impl Claims {
    /// Enters what a mirror wants. A spec that cannot be acted upon wants nothing.
    pub(crate) fn enter(&self, mirror: &ImageMirror) {
        let claimant = Arc::new(Claimant::of(mirror));
        let key = key_of(Some(&claimant.namespace), &claimant.name);
        let generation = mirror.metadata.generation;
        let is_known = self
            .lock()
            .mirrors
            .get(&key)
            .is_some_and(|known| known.claimant == claimant && known.generation == generation);
        if is_known {
            return;
        }
        let wanted = Wanted::new(&mirror.spec).map(|wanted| wanted.claims());
        let mut state = self.lock();
        state.forget(&key);
        let mut repositories = Vec::new();
        for (repository, tags) in wanted.into_iter().flatten() {
            let claimant = Arc::clone(&claimant);
            repositories.push(state.claim(repository, Claim { claimant, tags }));
        }
        let entry = Entry {
            claimant,
            generation,
            repositories: repositories.into(),
        };
        state.mirrors.insert(key, entry);
    }

    /// The mirror is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.lock().forget(&key_of(Some(namespace), name));
    }

    /// Which of these destinations another mirror keeps in the place of `mirror`, and how messages may call that.
    pub(super) fn owners<'a>(
        &self,
        mirror: &ImageMirror,
        destinations: impl Iterator<Item = &'a Reference>,
    ) -> BTreeMap<Reference, String> {
        let own = Claimant::of(mirror);
        let state = self.lock();
        let owned = destinations
            .filter_map(|destination| Some((destination.clone(), state.owner(&own, destination)?)));
        owned.collect()
    }

    /// Whether any mirror but this one wants the destination.
    pub(super) fn is_wanted_by_another(
        &self,
        mirror: &ImageMirror,
        destination: &Reference,
    ) -> bool {
        let own = Claimant::of(mirror);
        let state = self.lock();
        let claims = state.repositories.get(&repository_name(destination));
        let mut claims = claims.into_iter().flatten();
        claims.any(|claim| *claim.claimant != own && claim.tags.include(destination))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The oldest claimant of this destination, if it is older than `own`: how messages to that one may call it.
    fn owner(&self, own: &Claimant, destination: &Reference) -> Option<String> {
        let claims = self.repositories.get(&repository_name(destination))?;
        let owner = claims
            .iter()
            .take_while(|claim| *claim.claimant < *own)
            .find(|claim| claim.tags.include(destination));
        owner.map(|owner| owner.claimant.name_for(own))
    }

    /// Adds a claim; returns the name of the repository that is kept already.
    fn claim(&mut self, repository: RepositoryName, claim: Claim) -> RepositoryName {
        let name = match self.repositories.get_key_value(&repository) {
            Some((known, _)) => Arc::clone(known),
            None => repository,
        };
        let claims = self.repositories.entry(Arc::clone(&name)).or_default();
        let place = claims.partition_point(|other| other.claimant <= claim.claimant);
        claims.reserve_exact(1);
        claims.insert(place, claim);
        name
    }

    fn forget(&mut self, key: &str) {
        let Some(entry) = self.mirrors.remove(key) else {
            return;
        };
        for repository in entry.repositories {
            if let Some(claims) = self.repositories.get_mut(&repository) {
                claims.retain(|claim| claim.claimant != entry.claimant);
                if claims.is_empty() {
                    self.repositories.remove(&repository);
                }
            }
        }
    }
}

impl Claimant {
    fn of(mirror: &ImageMirror) -> Self {
        let created = mirror.metadata.creation_timestamp.as_ref();
        Self {
            created: created.map(|time| time.0),
            uid: mirror.uid().unwrap_or_default(),
            namespace: mirror.namespace().unwrap_or_default(),
            name: mirror.name_any(),
        }
    }

    /// The names of objects in other namespaces are nobody's business.
    fn name_for(&self, other: &Self) -> String {
        if self.namespace == other.namespace {
            format!("ImageMirror {}", self.name)
        } else {
            "an ImageMirror of another namespace".to_owned()
        }
    }
}

impl ClaimedTags {
    /// Whether `destination`, which is in the claimed repository, is among them. `latest` and `limit` depend on
    /// what else the source has, so they narrow nothing here.
    fn include(&self, destination: &Reference) -> bool {
        match self {
            Self::One(claimed) => claimed == destination,
            Self::Selected(selected) => destination.tag().is_some_and(|tag| selected.includes(tag)),
        }
    }
}

impl SelectedTags {
    /// What `rules` select, under `template`.
    pub(super) fn new(rules: &Rules, template: &str) -> Box<Self> {
        Box::new(Self {
            rules: rules.clone(),
            selection: OnceLock::new(),
            template: template.to_owned(),
        })
    }

    fn includes(&self, tag: &Tag) -> bool {
        match source_tag(&self.template, tag) {
            SourceTag::Is(tag) => self
                .selection
                .get_or_init(|| TagSelection::new(&self.rules).ok())
                .as_ref()
                .is_some_and(|selection| selection.matches(&tag)),
            SourceTag::Any => true,
            SourceTag::None => false,
        }
    }
}

/// Which tag of the source a template makes a tag of the destination from.
#[derive(Debug, PartialEq, Eq)]
enum SourceTag {
    Is(Tag),
    /// It cannot be told.
    Any,
    /// It makes no such tag.
    None,
}

fn source_tag(template: &str, tag: &Tag) -> SourceTag {
    let Some((before, after)) = template.split_once("{tag}") else {
        return if template == tag.as_str() {
            SourceTag::Any
        } else {
            SourceTag::None
        };
    };
    if after.contains("{tag}") {
        return SourceTag::Any;
    }
    let middle = tag
        .as_str()
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after));
    middle
        .and_then(|middle| middle.parse().ok())
        .map_or(SourceTag::None, SourceTag::Is)
}

/// The repository of a destination, as it is entered.
pub(super) fn repository_name(destination: &Reference) -> RepositoryName {
    destination.name().into()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    /// A mirror of `namespace/name` that was created at this second.
    fn mirror(name: &str, created: i64, sources: &Value, destination: &Value) -> ImageMirror {
        let (namespace, name) = name.split_once('/').unwrap();
        serde_json::from_value(json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {
                "namespace": namespace, "name": name, "uid": format!("uid-of-{name}"), "generation": 1,
                "creationTimestamp": Timestamp::from_second(created).unwrap().to_string(),
            },
            "spec": {"sources": sources, "destinations": [destination]},
        }))
        .unwrap()
    }

    fn destination() -> Value {
        json!({"prefix": "corp.test", "path": "{repository}"})
    }

    fn owner(claims: &Claims, mirror: &ImageMirror, destination: &Reference) -> Option<String> {
        let mut owners = claims.owners(mirror, std::iter::once(destination));
        owners.remove(destination)
    }

    fn claims(mirrors: &[&ImageMirror]) -> Claims {
        let claims = Claims::default();
        for mirror in mirrors {
            claims.enter(mirror);
        }
        claims
    }

    #[test]
    fn the_older_mirror_keeps_the_tag_whoever_is_entered_first() {
        let old = mirror(
            "team/old",
            10,
            &json!([{"image": "a.test/app:1"}]),
            &destination(),
        );
        let new = mirror(
            "team/new",
            20,
            &json!([{"image": "b.test/app:1"}]),
            &destination(),
        );
        let tag = "corp.test/app:1".parse().unwrap();
        for order in [[&old, &new], [&new, &old]] {
            let claims = claims(&order);
            assert_eq!(owner(&claims, &old, &tag), None);
            assert_eq!(
                owner(&claims, &new, &tag).as_deref(),
                Some("ImageMirror old")
            );
            assert!(claims.is_wanted_by_another(&old, &tag));
            let other = "corp.test/app:2".parse().unwrap();
            assert_eq!(owner(&claims, &new, &other), None);
        }
    }

    #[test]
    fn a_mirror_of_another_namespace_is_not_named() {
        let old = mirror(
            "secret/old",
            10,
            &json!([{"image": "a.test/app:1"}]),
            &destination(),
        );
        let new = mirror(
            "team/new",
            20,
            &json!([{"image": "b.test/app:1"}]),
            &destination(),
        );
        let owner = owner(
            &claims(&[&old, &new]),
            &new,
            &"corp.test/app:1".parse().unwrap(),
        );
        assert_eq!(
            owner.as_deref(),
            Some("an ImageMirror of another namespace")
        );
    }

    #[test]
    fn of_two_of_one_second_always_the_same_keeps_it() {
        let a = mirror(
            "team/a",
            10,
            &json!([{"image": "a.test/app:1"}]),
            &destination(),
        );
        let b = mirror(
            "team/b",
            10,
            &json!([{"image": "b.test/app:1"}]),
            &destination(),
        );
        let claims = claims(&[&b, &a]);
        let tag = "corp.test/app:1".parse().unwrap();
        assert_eq!(owner(&claims, &a, &tag), None);
        assert!(owner(&claims, &b, &tag).is_some());
    }

    #[test]
    fn who_changes_or_is_gone_makes_room() {
        let old = mirror(
            "team/old",
            10,
            &json!([{"image": "a.test/app:1"}]),
            &destination(),
        );
        let new = mirror(
            "team/new",
            20,
            &json!([{"image": "b.test/app:1"}]),
            &destination(),
        );
        let tag = "corp.test/app:1".parse().unwrap();
        let claims = claims(&[&old, &new]);
        let mut changed = mirror(
            "team/old",
            10,
            &json!([{"image": "a.test/app:2"}]),
            &destination(),
        );
        changed.metadata.generation = Some(2);
        claims.enter(&changed);
        assert_eq!(owner(&claims, &new, &tag), None);
        claims.enter(&old);
        assert!(owner(&claims, &new, &tag).is_some());
        claims.forget("team", "old");
        assert_eq!(owner(&claims, &new, &tag), None);
        assert!(!claims.is_wanted_by_another(&new, &tag));
    }

    #[rstest]
    #[case::selected("{tag}", "1.29-alpine", true)]
    #[case::not_selected("{tag}", "1.30", false)]
    #[case::made_from_it("v{tag}-copy", "v1.29-copy", true)]
    #[case::not_made_from_it("v{tag}-copy", "v1.29", false)]
    #[case::fixed("stable", "stable", true)]
    #[case::another("stable", "1.29", false)]
    fn a_repository_claims_what_its_rules_select(
        #[case] template: &str,
        #[case] tag: &str,
        #[case] expected: bool,
    ) {
        let sources = json!([{"repository": "a.test/app", "tags": {"include": ["1.29*"]}}]);
        let mut to = destination();
        to["tag"] = json!(template);
        let old = mirror("team/old", 10, &sources, &to);
        let new = mirror(
            "team/new",
            20,
            &json!([{"image": "b.test/app:1"}]),
            &destination(),
        );
        let tag = format!("corp.test/app:{tag}").parse().unwrap();
        assert_eq!(
            owner(&claims(&[&old, &new]), &new, &tag).is_some(),
            expected
        );
    }
}
