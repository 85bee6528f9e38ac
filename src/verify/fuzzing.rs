//! What must hold for any signature whatsoever; see `crate::fuzzing`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;

use super::{Identity, Matcher, Policy, Provider, Rules, Signature, Signers, Trust};
use crate::oci::Digest;

/// A key whose private half was thrown away.
const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAESNXxzdZ5REJAeaUGhdpBkpPbNBzN
Ce1ASN0prK7vtcvSCyy5ALZvVjNnoAQtBVygRgwohhTxYDimaJ4mqnkOkw==
-----END PUBLIC KEY-----
";

/// A signature in cosign's older form, as inputs have it.
#[derive(Deserialize)]
struct Layer {
    document: String,
    annotations: BTreeMap<String, String>,
}

/// Rules that nobody can satisfy: with a key that nobody has, and with an identity that nobody vouches for.
static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let mut trust = Trust::default();
    let known = trust.add_keys("key", KEY.as_bytes()).is_ok()
        && trust
            .add_trusted_root("root", SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
            .is_ok();
    let anything = || Matcher::Regex(".*".to_owned());
    let signers = [
        Signers::Keys {
            keys: "key".to_owned(),
            trusted_root: None,
        },
        Signers::Identities {
            identities: vec![Identity {
                issuer: Matcher::Exact("https://issuer.unlikely".to_owned()),
                subject: anything(),
            }],
            trusted_root: "root".to_owned(),
        },
    ];
    let policies = signers.map(|signers| Policy {
        r#match: "**".to_owned(),
        provider: Provider::Cosign,
        signers,
    });
    let rules = Rules::new(&policies, &trust).unwrap_or_default();
    assert!(known && rules.of("registry.test/app").count() == 2);
    rules
});

/// A signature of any content is judged, and nothing satisfies a rule that nobody can satisfy.
pub(crate) fn signature(input: &[u8]) {
    let signature = match serde_json::from_slice::<Layer>(input) {
        Ok(layer) => Signature::from_layer(layer.document.into_bytes(), &layer.annotations),
        Err(_) => Signature::from_bundle(input),
    };
    let Ok(signature) = signature else {
        return;
    };
    // What the corpus is about.
    let image = Digest::sha256(b"an image");
    for rule in RULES.of("registry.test/app") {
        let refusal = rule.check(&signature, &image).err();
        assert!(refusal.is_some_and(|refusal| refusal.to_string().len() < 2048));
    }
}
