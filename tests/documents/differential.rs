//! What we read is what Go's parser reads, or we read nothing (threat: two views of one document).
//!
//! The other side is a model of `encoding/json`: names match under Unicode simple folding, and when a
//! member comes twice, the second is written over the first, which shows wherever the second says
//! nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use transship::oci::{Content, Descriptor};

use super::templates::{Kind, escape, manifest};

/// A document with all its members, those of equal names included.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Null,
    Text(String),
    Number(i64),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
    Other,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Tree;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }
            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
                Ok(i64::try_from(number).map_or(Tree::Other, Tree::Number))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
                Ok(Tree::Number(number))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Other)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    elements.push(element);
                }
                Ok(Tree::List(elements))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Tree, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Tree::Object(members))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A descriptor as Go sees it, as far as it decides what is fetched.
#[derive(Clone, Debug, Default, PartialEq)]
struct GoDescriptor {
    media_type: String,
    digest: String,
    size: i64,
    os: String,
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Default, PartialEq)]
struct GoDocument {
    config: GoDescriptor,
    layers: Vec<GoDescriptor>,
    manifests: Vec<GoDescriptor>,
}

/// `unicode.SimpleFold`, for names that are ASCII apart from the two special letters.
fn same_name(name: &str, field: &str) -> bool {
    let folded: String = name
        .chars()
        .map(|character| match character {
            'ſ' => 's',
            'K' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect();
    folded == field.to_ascii_lowercase()
}

impl GoDescriptor {
    /// Go fills the value that is there already: a second object adds to the first.
    fn fill(&mut self, tree: &Tree) {
        let Tree::Object(members) = tree else { return };
        for (name, value) in members {
            match value {
                Tree::Text(text) if same_name(name, "mediaType") => {
                    self.media_type.clone_from(text);
                }
                Tree::Text(text) if same_name(name, "digest") => self.digest.clone_from(text),
                Tree::Number(number) if same_name(name, "size") => self.size = *number,
                Tree::Object(members) if same_name(name, "platform") => {
                    for (name, value) in members {
                        if let (true, Tree::Text(text)) = (same_name(name, "os"), value) {
                            self.os.clone_from(text);
                        }
                    }
                }
                Tree::Object(members) if same_name(name, "annotations") => {
                    for (name, value) in members {
                        if let Tree::Text(text) = value {
                            self.annotations.insert(name.clone(), text.clone());
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// The elements of a second list are filled into those of the first.
    fn fill_list(list: &mut Vec<Self>, tree: &Tree) {
        match tree {
            Tree::Null => list.clear(),
            Tree::List(elements) => {
                list.resize_with(elements.len(), Self::default);
                for (descriptor, element) in list.iter_mut().zip(elements) {
                    descriptor.fill(element);
                }
            }
            _ => {}
        }
    }

    fn of(descriptor: &Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type.as_str().to_owned(),
            digest: descriptor.digest.to_string(),
            size: i64::try_from(descriptor.size).unwrap(),
            os: descriptor
                .platform
                .as_ref()
                .map_or(String::new(), |platform| platform.os().to_owned()),
            annotations: descriptor.annotations.clone(),
        }
    }
}

impl GoDocument {
    fn read(document: &str) -> Self {
        let mut read = Self::default();
        let Ok(Tree::Object(members)) = serde_json::from_str(document) else {
            return read;
        };
        for (name, value) in &members {
            if same_name(name, "config") {
                read.config.fill(value);
            } else if same_name(name, "layers") {
                GoDescriptor::fill_list(&mut read.layers, value);
            } else if same_name(name, "manifests") {
                GoDescriptor::fill_list(&mut read.manifests, value);
            }
        }
        read
    }

    fn of(content: &Content) -> Self {
        let all = |descriptors: &[Descriptor]| descriptors.iter().map(GoDescriptor::of).collect();
        match content {
            Content::Image { config, layers, .. } => Self {
                config: GoDescriptor::of(config),
                layers: all(layers),
                manifests: Vec::new(),
            },
            Content::Index { manifests, .. } => Self {
                manifests: all(manifests),
                ..Self::default()
            },
            Content::Artifact { .. } => unreachable!("no test makes one"),
        }
    }
}

/// A name as it is, in another case, with a special letter, or written with an escape.
fn spelling(name: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        40 => Just(name.to_owned()),
        1 => Just(name.to_ascii_uppercase()),
        1 => Just(name.to_ascii_lowercase()),
        1 => Just(name.replace('s', "ſ")),
        1 => Just(escape(name)),
        1 => Just(format!("{name}s")),
    ]
}

/// An object of some of these members, in any order, now and then with one too many.
fn object(
    members: &[(&'static str, BoxedStrategy<String>)],
    extra: f64,
) -> impl Strategy<Value = String> + use<> {
    let one =
        |(name, value): &(&'static str, BoxedStrategy<String>)| (spelling(name), value.clone());
    let any = proptest::sample::select(members.to_vec()).prop_flat_map(move |member| one(&member));
    let all: Vec<_> = members.iter().map(one).collect();
    (all, proptest::option::weighted(extra, any))
        .prop_map(|(mut all, extra)| {
            all.extend(extra);
            all
        })
        .prop_shuffle()
        .prop_map(|members| {
            let members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect();
            format!("{{{}}}", members.join(","))
        })
}

fn descriptor() -> impl Strategy<Value = String> {
    let quoted = |pattern| proptest::string::string_regex(pattern).unwrap();
    let text = quoted("\"[a-c]{1,2}\"").boxed();
    object(
        &[
            ("mediaType", quoted("\"application/[a-c]{1,2}\"").boxed()),
            ("digest", quoted("\"sha256:[0-3]{64}\"").boxed()),
            (
                "size",
                (1..1_000_000_000_i64)
                    .prop_map(|size| size.to_string())
                    .boxed(),
            ),
            (
                "platform",
                object(&[("os", text.clone()), ("variant", text.clone())], 0.05).boxed(),
            ),
            (
                "annotations",
                object(&[("os", text.clone()), ("size", text)], 0.05).boxed(),
            ),
        ],
        0.05,
    )
}

fn document(kind: Kind) -> impl Strategy<Value = String> {
    let list = proptest::collection::vec(descriptor(), 0..4)
        .prop_map(|descriptors| format!("[{}]", descriptors.join(",")))
        .boxed();
    let members = match kind {
        Kind::Index => vec![("manifests", list)],
        Kind::Image | Kind::DockerImage => vec![("config", descriptor().boxed()), ("layers", list)],
    };
    object(&members, 0.1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_read_is_what_go_reads(
        (kind, document) in prop_oneof![Just(Kind::Index), Just(Kind::Image)]
            .prop_flat_map(|kind| (Just(kind), document(kind)))
    ) {
        if let Ok(content) = manifest(kind.media_type(), document.clone()).content() {
            prop_assert_eq!(GoDocument::of(&content), GoDocument::read(&document));
        }
    }
}

/// The property above says nothing if every document is refused or none is broken.
#[test]
fn the_generated_documents_are_of_both_kinds() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..200 {
        let document = document(Kind::Image)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        match manifest(Kind::Image.media_type(), document).content() {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        accepted >= 20 && refused >= 20,
        "{accepted} accepted, {refused} refused"
    );
}
