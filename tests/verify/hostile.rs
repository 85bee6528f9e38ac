//! Signatures that somebody changed, cut, mixed or blew up. None is accepted, whoever is trusted.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use transship::oci::Digest;
use transship::verify::{Refusal, Signature, Signers};

use super::signer::{Made, Request, World, image, judge, key, logged_key, release};

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";

fn other() -> Digest {
    Digest::sha256(b"another image")
}

#[tokio::test]
async fn a_document_that_was_swapped_is_refused() {
    let world = World::make(&[
        Request::by_key(&other(), "simple", "p256"),
        Request::by_identity(&other(), "simple"),
    ])
    .await;
    let document = |made: &Made| {
        let text = String::from_utf8(made.content()).unwrap();
        let text = text.replace(other().as_str(), image().as_str());
        made.clone().with_document(text.as_bytes())
    };
    let by_key = document(&world.signatures[0]);
    assert_eq!(
        world.judge(&by_key, key("p256"), &image()),
        Err(Refusal::OtherKey)
    );
    let by_identity = document(&world.signatures[1]);
    assert_eq!(
        world.judge(&by_identity, release(), &image()),
        Err(Refusal::Forged)
    );
}

#[rstest]
#[case::identity("simple", "", release())]
#[case::key("simple", "p256", logged_key("p256"))]
#[case::identity_in_bundle("bundle", "", release())]
#[case::key_in_bundle("bundle", "p256", logged_key("p256"))]
#[tokio::test]
async fn the_log_entry_of_another_signature_is_refused(
    #[case] form: &'static str,
    #[case] by: &'static str,
    #[case] signers: Signers,
) {
    let request = |digest: &Digest| match by {
        "" => Request::by_identity(digest, form),
        by => Request {
            log: "v1",
            ..Request::by_key(digest, form, by)
        },
    };
    let world = World::make(&[request(&image()), request(&other())]).await;
    let [mine, foreign] = &world.signatures[..] else {
        panic!("two signatures were asked for");
    };
    let mut mixed = mine.clone();
    if form == "simple" {
        let entry = foreign.annotations[LOG_ENTRY].clone();
        mixed.annotations.insert(LOG_ENTRY.to_owned(), entry);
    } else {
        let entries = "/verificationMaterial/tlogEntries";
        *mixed.bundle.pointer_mut(entries).unwrap() =
            foreign.bundle.pointer(entries).unwrap().clone();
    }
    assert_eq!(world.judge(mine, signers.clone(), &image()), Ok(()));
    assert_eq!(
        world.judge(&mixed, signers, &image()),
        Err(Refusal::OtherLogEntry)
    );
}

#[tokio::test]
async fn the_certificate_of_somebody_else_is_refused() {
    let stranger = Request {
        subject: "https://forge.test/stranger",
        ..Request::by_identity(&image(), "simple")
    };
    let world = World::make(&[Request::by_identity(&image(), "simple"), stranger]).await;
    let mut mixed = world.signatures[1].clone();
    let certificate = world.signatures[0].annotations[CERTIFICATE].clone();
    mixed
        .annotations
        .insert(CERTIFICATE.to_owned(), certificate);
    assert!(world.judge(&mixed, release(), &image()).is_err());
}

#[rstest]
#[case::provenance("https://slsa.dev/provenance/v1")]
#[case::vulnerabilities("https://cosign.sigstore.dev/attestation/vuln/v1")]
#[tokio::test]
async fn an_attestation_is_not_a_signature(#[case] predicate: &'static str) {
    let world = World::make(&[
        Request {
            predicate,
            ..Request::by_key(&image(), "bundle", "p256")
        },
        Request {
            predicate,
            ..Request::by_identity(&image(), "bundle")
        },
    ])
    .await;
    for (made, signers) in world.signatures.iter().zip([key("p256"), release()]) {
        assert_eq!(
            world.judge(made, signers, &image()),
            Err(Refusal::Attestation)
        );
    }
}

#[tokio::test]
async fn the_time_that_a_log_vouched_for_cannot_be_changed() {
    let world = World::make(&[Request::by_identity(&image(), "simple")]).await;
    let mut made = world.signatures[0].clone();
    let mut entry: Value = serde_json::from_str(&made.annotations[LOG_ENTRY]).unwrap();
    let time = entry["Payload"]["integratedTime"].as_i64().unwrap();
    entry["Payload"]["integratedTime"] = json!(time - 10);
    made.annotations
        .insert(LOG_ENTRY.to_owned(), entry.to_string());
    assert_eq!(
        world.judge(&made, release(), &image()),
        Err(Refusal::UntrustedLogEntry)
    );
}

/// The signatures that are damaged below, each with who is trusted.
async fn genuine() -> (World, Vec<(Made, Signers)>) {
    let mut world = World::make(&[
        Request::by_key(&image(), "simple", "p256"),
        Request {
            log: "v1",
            ..Request::by_key(&image(), "bundle", "p256")
        },
        Request::by_identity(&image(), "simple"),
        Request::by_identity(&image(), "bundle"),
        Request {
            log: "v2",
            ..Request::by_identity(&image(), "bundle")
        },
    ])
    .await;
    let signers = [
        key("p256"),
        logged_key("p256"),
        release(),
        release(),
        release(),
    ];
    let signatures = std::mem::take(&mut world.signatures);
    for (made, signers) in signatures.iter().zip(&signers) {
        assert_eq!(world.judge(made, signers.clone(), &image()), Ok(()));
    }
    (world, signatures.into_iter().zip(signers).collect())
}

/// All texts in a document, by their path.
fn texts(document: &Value, path: &str, found: &mut Vec<String>) {
    match document {
        Value::String(_) => found.push(path.to_owned()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                texts(item, &format!("{path}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                texts(member, &format!("{path}/{name}"), found);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_bundle_without_one_of_its_members_is_refused() {
    let (world, genuine) = genuine().await;
    let trust = world.trust();
    let mut accepted = BTreeSet::new();
    for (made, signers) in genuine.iter().filter(|(made, _)| !made.bundle.is_null()) {
        let mut paths = Vec::new();
        texts(&made.bundle, "", &mut paths);
        for path in paths {
            let mut changed = made.clone();
            *changed.bundle.pointer_mut(&path).unwrap() = json!("");
            if judge(&trust, &changed, signers.clone(), &image()).is_ok() {
                accepted.insert(path);
            }
        }
    }
    // A hint to find the key by, and the name of a log of Rekor's second version, whose checkpoint names it again.
    let free = [
        "/verificationMaterial/publicKey/hint",
        "/verificationMaterial/tlogEntries/0/logId/keyId",
    ];
    assert_eq!(accepted, free.map(str::to_owned).into());
}

#[tokio::test]
async fn a_signature_that_is_cut_anywhere_is_refused() {
    let (world, genuine) = genuine().await;
    let trust = world.trust();
    for (made, signers) in &genuine {
        let content = made.content();
        for length in (0..content.len()).step_by(31) {
            let verdict = if made.bundle.is_null() {
                let cut = made.clone().with_document(&content[..length]);
                judge(&trust, &cut, signers.clone(), &image())
            } else {
                Signature::from_bundle(&content[..length]).map(|_| ())
            };
            assert!(verdict.is_err(), "cut at {length}");
        }
        for (name, value) in &made.annotations {
            for length in (0..value.len()).step_by(31) {
                let mut cut = made.clone();
                cut.annotations
                    .insert(name.clone(), value.chars().take(length).collect());
                let is_chain = name.ends_with("/chain");
                let verdict = judge(&trust, &cut, signers.clone(), &image());
                assert!(verdict.is_err() || is_chain, "{name} cut at {length}");
            }
        }
    }
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let annotations = |value: String| [(SIGNATURE.to_owned(), value)].into();
    let too_large = Some(Refusal::TooLarge);
    let large = vec![b' '; 1024 * 1024];
    let read = |document: &[u8], value: String| {
        Signature::from_layer(document.to_vec(), &annotations(value)).err()
    };
    assert_eq!(read(&large, "AAAA".to_owned()), too_large);
    assert_eq!(read(b"{}", "A".repeat(1024 * 1024)), too_large);
    assert_eq!(Signature::from_bundle(&large).err(), too_large);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Signature::from_bundle(deep.as_bytes()).is_err());
    let chain = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".repeat(100);
    let many = [
        (SIGNATURE.to_owned(), "AAAA".to_owned()),
        (CERTIFICATE.to_owned(), chain),
    ];
    let refusal = Signature::from_layer(b"{}".to_vec(), &many.into()).err();
    assert_eq!(refusal, Some(Refusal::Malformed("its certificate")));
}

/// A byte of the content or of an annotation, and what is added to it.
#[test]
fn a_signature_with_any_other_byte_is_refused() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (world, genuine) = runtime.block_on(genuine());
    let trust = world.trust();
    let strategy = (0..genuine.len(), any::<prop::sample::Index>(), 1..=255_u8);
    proptest!(ProptestConfig::with_cases(500), |((which, position, change) in strategy)| {
        let (made, signers) = &genuine[which];
        let mut content = made.content();
        let position = position.index(content.len());
        content[position] = content[position].wrapping_add(change);
        let read = if made.bundle.is_null() {
            Signature::from_layer(content.clone(), &made.annotations)
        } else {
            Signature::from_bundle(&content)
        };
        let mut rule_holds = false;
        if let Ok(signature) = read {
            let rules = transship::verify::Rules::new(&[super::signer::policy(signers.clone())], &trust).unwrap();
            rule_holds = rules.of("registry.test/app").next().unwrap().check(&signature, &image()).is_ok();
        }
        // What a bundle says twice, or does not use, may be anything; the statement itself never is.
        let says_the_same = !made.bundle.is_null()
            && Signature::from_bundle(&content).is_ok()
            && serde_json::from_slice::<Value>(&content)
                .is_ok_and(|changed| essence(&changed) == essence(&made.bundle));
        prop_assert!(!rule_holds || says_the_same);
    });
}

/// What of a bundle is proved.
fn essence(bundle: &Value) -> Value {
    json!([
        bundle.pointer("/dsseEnvelope/payload"),
        bundle.pointer("/dsseEnvelope/payloadType"),
        bundle.pointer("/dsseEnvelope/signatures/0/sig"),
        bundle.pointer("/verificationMaterial/certificate"),
        bundle.pointer("/verificationMaterial/tlogEntries/0/canonicalizedBody"),
        bundle.pointer("/verificationMaterial/tlogEntries/0/integratedTime"),
    ])
}
