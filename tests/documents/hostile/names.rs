//! Members with equal names, and with names that some parsers take for others.

use std::collections::BTreeSet;

use super::super::templates::{Kind, descriptor_members, descriptor_with, escape, object};
use super::Corpus;

pub(super) fn equal_names(corpus: &mut Corpus) {
    for kind in Kind::ALL {
        for (name, text) in kind.members() {
            for (spelling, escaped) in [("plain", name.to_owned()), ("escaped", escape(name))] {
                let mut members: Vec<_> = kind
                    .members()
                    .into_iter()
                    .map(|(name, text)| (name.to_owned(), text))
                    .collect();
                members.insert(0, (escaped, text.clone()));
                let name = format!("{name} twice, {spelling}");
                corpus.add(kind, &name, object(&members), "DuplicateMember");
            }
        }
        for (place, around) in kind.descriptors() {
            for (name, text) in descriptor_members("application/octet-stream") {
                let mut members = descriptor_members("application/octet-stream");
                members.push((name, text));
                let name = format!("{name} of {place} twice");
                corpus.add(kind, &name, around(&object(&members)), "DuplicateMember");
            }
            let platform = r#"{"os":"linux","architecture":"amd64","os":"windows"}"#;
            let document = around(&descriptor_with("platform", platform));
            corpus.add(
                kind,
                &format!("os of {place} twice"),
                document,
                "DuplicateMember",
            );
        }
        for (name, text) in [
            ("annotations", r#"{"a":"1","b":"2","a":"3"}"#),
            ("unknown", r#"{"a":1,"a":1}"#),
            ("other", r#"[[{"a":{"b":1,"\u0062":1}}]]"#),
        ] {
            let document = kind.with(name, text);
            corpus.add(
                kind,
                &format!("twice in {name}"),
                document,
                "DuplicateMember",
            );
        }
    }
}

pub(super) fn names_in_another_case(corpus: &mut Corpus) {
    for kind in Kind::ALL {
        let mut names: Vec<_> = kind.members().into_iter().map(|(name, _)| name).collect();
        names.push("fsLayers");
        for name in names {
            for variant in variants(name) {
                // Beside the real one, and in its place.
                for document in [
                    kind.with(&variant, "null"),
                    kind.document()
                        .replacen(&format!("\"{name}\""), &format!("\"{variant}\""), 1),
                ] {
                    if document != kind.document() {
                        let case = format!("{variant} {}", document.len());
                        corpus.add(kind, &case, document, "CaseVariant");
                    }
                }
            }
        }
        for (place, around) in kind.descriptors() {
            for (name, _) in descriptor_members("") {
                for variant in variants(name) {
                    let document = around(&descriptor_with(&variant, "null"));
                    corpus.add(
                        kind,
                        &format!("{variant} of {place}"),
                        document,
                        "CaseVariant",
                    );
                }
            }
            for name in ["OS", "o\u{17f}", "Os.Version", "ARCHITECTURE", "Variant"] {
                let platform = format!(r#"{{"os":"linux","architecture":"amd64","{name}":"x"}}"#);
                let document = around(&descriptor_with("platform", &platform));
                corpus.add(kind, &format!("{name} of {place}"), document, "CaseVariant");
            }
        }
    }
}

/// Names that Go's parser takes for `name`.
fn variants(name: &str) -> BTreeSet<String> {
    let (first, rest) = name.split_at(1);
    let first = format!("{}{rest}", first.to_ascii_uppercase());
    let folded = name.replace('s', "\u{17f}").replace('k', "\u{212a}");
    let mut variants = BTreeSet::from([
        first,
        name.to_ascii_uppercase(),
        name.to_ascii_lowercase(),
        escape(&name.to_ascii_uppercase()),
        folded,
    ]);
    variants.remove(name);
    variants
}
