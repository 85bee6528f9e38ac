//! Signatures by keys, with a log and without.

use rstest::rstest;
use transship::verify::{Refusal, Rules, Trust, TrustError};

use super::signer::{Request, World, image, judge, key, logged_key, policy};

#[rstest]
#[tokio::test]
async fn a_signature_by_the_key_is_accepted(
    #[values("simple", "bundle")] form: &'static str,
    #[values("p256", "p384", "ed25519", "rsa")] signer: &'static str,
) {
    let world = World::make(&[Request::by_key(&image(), form, signer)]).await;
    let made = &world.signatures[0];
    assert_eq!(world.judge(made, key(signer), &image()), Ok(()));
    assert_eq!(
        world.judge(made, key("other"), &image()),
        Err(Refusal::OtherKey)
    );
    assert_eq!(
        world.judge(made, logged_key(signer), &image()),
        Err(Refusal::NoLogEntry)
    );
    let other = transship::oci::Digest::sha256(b"another image");
    assert_eq!(
        world.judge(made, key(signer), &other),
        Err(Refusal::OtherImage)
    );
}

#[rstest]
#[case::simple("simple", "p256")]
#[case::simple_rsa("simple", "rsa")]
#[case::simple_p384("simple", "p384")]
#[case::bundle("bundle", "p256")]
#[tokio::test]
async fn a_log_is_asked_for_when_there_is_a_root(
    #[case] form: &'static str,
    #[case] signer: &'static str,
) {
    let logged = |log| Request {
        log,
        ..Request::by_key(&image(), form, signer)
    };
    let world = World::make(&[logged("v1"), logged("foreign")]).await;
    let [made, foreign] = &world.signatures[..] else {
        panic!("two signatures were asked for");
    };
    assert_eq!(world.judge(made, logged_key(signer), &image()), Ok(()));
    assert_eq!(
        world.judge(foreign, logged_key(signer), &image()),
        Err(Refusal::UntrustedLogEntry)
    );
    // Without a root the key alone decides.
    assert_eq!(world.judge(foreign, key(signer), &image()), Ok(()));
}

#[tokio::test]
async fn any_of_several_keys_may_sign() {
    let world = World::make(&[Request::by_key(&image(), "simple", "p256")]).await;
    let mut trust = Trust::default();
    for name in ["other", "rsa", "p256"] {
        trust
            .add_keys("rotated", world.keys[name].as_bytes())
            .unwrap();
    }
    let made = &world.signatures[0];
    assert_eq!(judge(&trust, made, key("rotated"), &image()), Ok(()));
    // All of them in one file, too.
    let mut trust = Trust::default();
    let file: String = ["other", "rsa", "p256"]
        .map(|name| world.keys[name].as_str())
        .concat();
    trust.add_keys("rotated", file.as_bytes()).unwrap();
    assert_eq!(judge(&trust, made, key("rotated"), &image()), Ok(()));
}

#[rstest]
#[case::nothing(b"", TrustError::NoKey)]
#[case::text(b"a key", TrustError::NoKey)]
#[case::private(
    b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
    TrustError::NoKey
)]
#[case::cut(b"-----BEGIN PUBLIC KEY-----\nMFkwEwYH", TrustError::NoKey)]
#[case::no_key(
    b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    TrustError::KeyAlgorithm
)]
fn what_is_no_key_is_refused(#[case] file: &[u8], #[case] expected: TrustError) {
    assert_eq!(Trust::default().add_keys("name", file), Err(expected));
}

#[tokio::test]
async fn too_many_keys_are_refused() {
    let large = vec![b'\n'; 2 * 1024 * 1024];
    assert_eq!(
        Trust::default().add_keys("name", &large),
        Err(TrustError::TooLarge)
    );
    let world = World::make(&[]).await;
    let file = world.keys["p256"].repeat(65);
    assert_eq!(
        Trust::default().add_keys("name", file.as_bytes()),
        Err(TrustError::TooManyKeys)
    );
}

#[rstest]
#[case::nothing("")]
#[case::other_document("{}")]
#[case::bundle(r#"{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}"#)]
fn what_is_no_trusted_root_is_refused(#[case] file: &str) {
    assert_eq!(
        Trust::default().add_trusted_root("root", file.as_bytes()),
        Err(TrustError::Root)
    );
}

#[test]
fn keys_and_roots_that_are_not_there_are_an_error() {
    for signers in [
        key("absent"),
        logged_key("absent"),
        super::signer::release(),
    ] {
        let error = Rules::new(&[policy(signers)], &Trust::default()).unwrap_err();
        assert!(error.to_string().starts_with("there are no "), "{error}");
    }
}
