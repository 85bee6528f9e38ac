//! Documents that are refused, each for a fixed reason (registry-behaviour cases 51, 58, 64 and 65).

mod kinds;
mod names;
mod text;
mod values;

use std::collections::BTreeSet;

use transship::oci::ManifestError;

use super::templates::{Kind, descriptor_with, manifest};
use kinds::{media_types, two_kinds_at_once};
use names::{equal_names, names_in_another_case};
use text::{no_json, too_much};
use values::{data, digests, missing_members, sizes, types_of_members};

struct Case {
    name: String,
    media_type: &'static str,
    document: Vec<u8>,
    reason: &'static str,
}

/// Collects cases of one kind of document.
#[derive(Default)]
struct Corpus(Vec<Case>);

impl Corpus {
    fn add(&mut self, kind: Kind, name: &str, document: impl Into<Vec<u8>>, reason: &'static str) {
        self.0.push(Case {
            name: format!("{kind:?}: {name}"),
            media_type: kind.media_type(),
            document: document.into(),
            reason,
        });
    }
}

#[test]
fn every_hostile_manifest_is_refused_for_its_reason() {
    let mut corpus = Corpus::default();
    two_kinds_at_once(&mut corpus);
    media_types(&mut corpus);
    equal_names(&mut corpus);
    names_in_another_case(&mut corpus);
    sizes(&mut corpus);
    digests(&mut corpus);
    data(&mut corpus);
    types_of_members(&mut corpus);
    missing_members(&mut corpus);
    no_json(&mut corpus);
    too_much(&mut corpus);
    let cases = corpus.0;

    let mut failures = Vec::new();
    for case in &cases {
        let content = manifest(case.media_type, case.document.clone()).content();
        let reason = content.as_ref().map_err(ManifestError::reason);
        if reason != Err(case.reason) {
            failures.push(format!(
                "{}: expected {}, got {:?}",
                case.name,
                case.reason,
                content.map(|_| "a manifest")
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "a name occurs twice");
    let documents: BTreeSet<_> = cases
        .iter()
        .map(|case| (case.media_type, &case.document))
        .collect();
    assert_eq!(documents.len(), cases.len(), "a document occurs twice");
    assert!(cases.len() >= 200, "only {} documents", cases.len());
}

#[test]
fn a_message_repeats_nothing_that_the_document_chose() {
    let mut corpus = Corpus::default();
    equal_names(&mut corpus);
    types_of_members(&mut corpus);
    for kind in Kind::ALL {
        let member = "\"se\\u0063ret\":{\"SECRET\":1,\"SECRET\":2}";
        corpus.add(kind, "names", format!("{{{member}}}"), "DuplicateMember");
        for text in ["\"SECRET\"", "[\"SECRET\"]", "{\"SECRET\":1}"] {
            corpus.add(kind, "value", kind.with("schemaVersion", text), "Value");
            corpus.add(
                kind,
                "digest",
                kind.with("subject", &descriptor_with("digest", text)),
                "",
            );
            corpus.add(
                kind,
                "size",
                kind.with("subject", &descriptor_with("size", text)),
                "",
            );
        }
    }
    for case in corpus.0 {
        let error = manifest(case.media_type, case.document)
            .content()
            .unwrap_err();
        let message = error.to_string();
        assert!(!message.to_lowercase().contains("secret"), "{message}");
        assert!(message.len() < 300, "{message}");
    }
}
