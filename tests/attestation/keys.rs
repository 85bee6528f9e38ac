//! Which files are keys, and what is said of others.

use std::process::Command;

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rstest::rstest;
use transship::attestation::{KeyError, SigningKey};

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn a_key_of_openssl_signs() {
    let arguments = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ];
    SigningKey::from_pem(&openssl(&arguments)).unwrap();
}

#[test]
fn a_key_of_the_older_form_is_refused() {
    let key = openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"]);
    assert_eq!(SigningKey::from_pem(&key).unwrap_err(), KeyError::Form);
}

#[rstest]
#[case::p384(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap())]
#[case::ed25519(KeyPair::generate_for(&PKCS_ED25519).unwrap())]
fn a_key_of_another_kind_is_refused(#[case] pair: KeyPair) {
    let refused = SigningKey::from_pem(pair.serialize_pem().as_bytes());
    assert_eq!(refused.unwrap_err(), KeyError::Algorithm);
}

#[rstest]
#[case::sigstore("ENCRYPTED SIGSTORE PRIVATE KEY")]
#[case::cosign("ENCRYPTED COSIGN PRIVATE KEY")]
#[case::pkcs8("ENCRYPTED PRIVATE KEY")]
fn an_encrypted_key_is_refused_as_such(#[case] label: &str) {
    let pem = format!("-----BEGIN {label}-----\nc2VjcmV0\n-----END {label}-----\n");
    let refused = SigningKey::from_pem(pem.as_bytes()).unwrap_err();
    assert_eq!(refused, KeyError::Encrypted);
}

#[rstest]
#[case::nothing(b"".to_vec())]
#[case::text(b"hunter2".to_vec())]
#[case::public_key(KeyPair::generate().unwrap().public_key_pem().into_bytes())]
#[case::flood(vec![b'-'; 1 << 20])]
fn what_is_no_key_is_refused_without_repeating_it(#[case] pem: Vec<u8>) {
    let refused = SigningKey::from_pem(&pem).unwrap_err();
    assert_eq!(refused, KeyError::Form);
    assert!(!refused.to_string().contains("hunter2"));
}

#[test]
fn a_key_does_not_print() {
    let pair = KeyPair::generate().unwrap();
    let pem = pair.serialize_pem();
    let printed = format!("{:?}", SigningKey::from_pem(pem.as_bytes()).unwrap());
    let secret = pem.lines().nth(1).unwrap();
    assert!(!printed.contains(secret), "{printed}");
    // Nor as the numbers of its bytes.
    assert!(
        !printed.contains(&format!("{:?}", pair.serialized_der())),
        "{printed}"
    );
}
