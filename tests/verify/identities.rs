//! Signatures without a key: certificates for an identity, proofs of logs, times.

use rstest::rstest;
use transship::verify::{Identity, Matcher, Refusal, Signers};

use super::signer::{
    ISSUER, Made, Request, SUBJECT, World, exact, identity, image, logged_key, release,
};

async fn make(request: Request) -> (World, Made) {
    let mut world = World::make(&[request]).await;
    let made = world.signatures.remove(0);
    (world, made)
}

fn expression(text: &str) -> Matcher {
    Matcher::Regex(text.to_owned())
}

#[rstest]
#[case::simple("simple", "v1", false)]
#[case::bundle("bundle", "v1", false)]
#[case::bundle_with_timestamp("bundle", "v2", false)]
#[case::old_issuer("simple", "v1", true)]
#[case::old_issuer_in_bundle("bundle", "v1", true)]
#[tokio::test]
async fn a_signature_by_the_identity_is_accepted(
    #[case] form: &'static str,
    #[case] log: &'static str,
    #[case] old_issuer: bool,
) {
    let (world, made) = make(Request {
        old_issuer,
        log,
        ..Request::by_identity(&image(), form)
    })
    .await;
    assert_eq!(world.judge(&made, release(), &image()), Ok(()));
    let other = transship::oci::Digest::sha256(b"another image");
    assert_eq!(
        world.judge(&made, release(), &other),
        Err(Refusal::OtherImage)
    );
}

#[tokio::test]
async fn a_person_is_an_identity_too() {
    let (world, made) = make(Request {
        subject: "a@b.test",
        ..Request::by_identity(&image(), "bundle")
    })
    .await;
    let person = identity(exact(ISSUER), exact("a@b.test"));
    assert_eq!(world.judge(&made, person, &image()), Ok(()));
}

#[tokio::test]
async fn issuer_and_subject_both_have_to_match() {
    let (world, made) = make(Request::by_identity(&image(), "simple")).await;
    let other = Err(Refusal::OtherIdentity {
        issuer: ISSUER.to_owned(),
        subject: SUBJECT.to_owned(),
    });
    for (issuer, subject, expected) in [
        (exact("https://other.test"), exact(SUBJECT), &other),
        (exact(ISSUER), exact("https://forge.test/org/other"), &other),
        (
            exact(ISSUER),
            expression("https://forge.test/org/.*"),
            &Ok(()),
        ),
        (
            expression("https://(issuer|other).test"),
            exact(SUBJECT),
            &Ok(()),
        ),
        // A part is not enough.
        (exact(ISSUER), expression("https://forge.test/org/"), &other),
        (expression("issuer"), exact(SUBJECT), &other),
    ] {
        let signers = identity(issuer, subject);
        assert_eq!(
            &world.judge(&made, signers.clone(), &image()),
            expected,
            "{signers:?}"
        );
    }
    let several = Signers::Identities {
        identities: ["https://other.test", ISSUER]
            .map(|issuer| Identity {
                issuer: exact(issuer),
                subject: exact(SUBJECT),
            })
            .to_vec(),
        trusted_root: "root".to_owned(),
    };
    assert_eq!(world.judge(&made, several, &image()), Ok(()));
}

#[rstest]
#[case::stranger("authority", Refusal::UntrustedCertificate)]
#[case::no_usage("usage", Refusal::UntrustedCertificate)]
#[case::no_proof("sct", Refusal::UnloggedCertificate)]
#[tokio::test]
async fn a_certificate_that_lacks_something_is_refused(
    #[values("simple", "bundle")] form: &'static str,
    #[case] without: &'static str,
    #[case] expected: Refusal,
) {
    let (world, made) = make(Request {
        without,
        ..Request::by_identity(&image(), form)
    })
    .await;
    assert_eq!(world.judge(&made, release(), &image()), Err(expected));
}

#[rstest]
#[case::expired(30 * 60, false)]
#[case::too_early(-30 * 60, true)]
#[tokio::test]
async fn the_certificate_must_have_been_valid_when_the_log_saw_the_signature(
    #[values("simple", "bundle")] form: &'static str,
    #[case] logged_at: i64,
    #[case] is_past: bool,
) {
    let (world, made) = make(Request {
        logged_at,
        ..Request::by_identity(&image(), form)
    })
    .await;
    let refusal = world.judge(&made, release(), &image()).unwrap_err();
    let by_chain = is_past && refusal == Refusal::UntrustedCertificate;
    assert!(refusal == Refusal::CertificateTime || by_chain, "{refusal}");
}

#[rstest]
#[case::no_log("simple", "", Refusal::NoLogEntry)]
#[case::no_log_in_bundle("bundle", "", Refusal::NoLogEntry)]
#[case::foreign("simple", "foreign", Refusal::UntrustedLogEntry)]
#[case::foreign_in_bundle("bundle", "foreign", Refusal::UntrustedLogEntry)]
#[tokio::test]
async fn a_log_of_the_root_has_to_vouch(
    #[case] form: &'static str,
    #[case] log: &'static str,
    #[case] expected: Refusal,
) {
    let (world, made) = make(Request {
        log,
        ..Request::by_identity(&image(), form)
    })
    .await;
    assert_eq!(world.judge(&made, release(), &image()), Err(expected));
}

#[tokio::test]
async fn keys_and_certificates_do_not_stand_in_for_each_other() {
    let world = World::make(&[
        Request {
            log: "v1",
            ..Request::by_key(&image(), "simple", "p256")
        },
        Request {
            log: "v1",
            ..Request::by_key(&image(), "bundle", "p256")
        },
        Request::by_identity(&image(), "simple"),
        Request::by_identity(&image(), "bundle"),
    ])
    .await;
    for made in &world.signatures[..2] {
        let refusal = world.judge(made, release(), &image());
        assert_eq!(refusal, Err(Refusal::NoCertificate));
    }
    for made in &world.signatures[2..] {
        let refusal = world.judge(made, logged_key("p256"), &image());
        assert_eq!(refusal, Err(Refusal::OtherKey));
    }
}
