//! A signature as it was found, in either of the two forms that cosign writes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};
use sigstore_verify::types::{Bundle, Sha256Hash, SignatureBytes};

use super::Refusal;

/// The type of an artifact, and of its layer, that is a Sigstore bundle: cosign's form since version 3.
pub const SIGSTORE_BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The type of an artifact whose layers are in cosign's older form.
pub const COSIGN_SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// The type of a layer in cosign's older form: the signed document; its annotations are the signature.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// What a statement in a bundle is called that signs an image, other than one that attests something.
pub const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
/// Most bytes of a document in cosign's older form; usually it has 250.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Most bytes of a bundle; usually it has 10,000.
pub const MAX_BUNDLE_BYTES: usize = 512 * 1024;

/// Annotations of a layer in cosign's older form.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";
/// Most bytes of all annotations of a layer.
const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;
/// Most certificates between a signer and the authority.
const MAX_CERTIFICATES: usize = 10;

/// A signature that was found beside an image. Nothing of it has been verified.
#[derive(Debug)]
pub struct Signature(pub(super) Form);

/// The two forms.
#[derive(Debug)]
pub(super) enum Form {
    Simple(Box<SimpleSignature>),
    Bundle(Box<Bundle>),
}

/// cosign's older form.
#[derive(Debug)]
pub(super) struct SimpleSignature {
    pub(super) document: Vec<u8>,
    pub(super) signature: SignatureBytes,
    /// The signer's first; none when a key signed that others know.
    certificates: Vec<CertificateDer<'static>>,
    log_entry: Option<LogEntry>,
}

/// What cosign keeps of the transparency log: the log's promise to hold an entry.
#[derive(Debug, Deserialize)]
struct LogEntry {
    #[serde(rename = "SignedEntryTimestamp")]
    signed_entry_timestamp: String,
    #[serde(rename = "Payload")]
    payload: LogPayload,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogPayload {
    body: String,
    integrated_time: i64,
    log_index: u64,
    #[serde(rename = "logID")]
    log_id: String,
}

/// What the entry itself says that it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryKind {
    kind: String,
    api_version: String,
}

impl Signature {
    /// Reads a layer in cosign's older form: its content, and the annotations of its descriptor.
    pub fn from_layer(
        document: Vec<u8>,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, Refusal> {
        let length: usize = annotations.values().map(String::len).sum();
        if document.len() > MAX_PAYLOAD_BYTES || length > MAX_ANNOTATIONS_BYTES {
            return Err(Refusal::TooLarge);
        }
        let signature = annotations
            .get(SIGNATURE)
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or(Refusal::Malformed("its annotation with the signature"))?;
        let log_entry = annotations
            .get(LOG_ENTRY)
            .map(|text| serde_json::from_str(text).map_err(|_| MALFORMED_ENTRY))
            .transpose()?;
        Ok(Self(Form::Simple(Box::new(SimpleSignature {
            document,
            signature: SignatureBytes::new(signature),
            certificates: read_certificates(annotations)?,
            log_entry,
        }))))
    }

    /// Reads a Sigstore bundle.
    pub fn from_bundle(document: &[u8]) -> Result<Self, Refusal> {
        if document.len() > MAX_BUNDLE_BYTES {
            return Err(Refusal::TooLarge);
        }
        let malformed = Refusal::Malformed("the bundle");
        let text = std::str::from_utf8(document).map_err(|_| malformed.clone())?;
        let bundle = Bundle::from_json(text).map_err(|_| malformed)?;
        Ok(Self(Form::Bundle(Box::new(bundle))))
    }
}

const MALFORMED_ENTRY: Refusal = Refusal::Malformed("its entry of the transparency log");

fn read_certificates(
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let malformed = || Refusal::Malformed("its certificate");
    let mut certificates = Vec::new();
    let Some(own) = annotations.get(CERTIFICATE).filter(|text| !text.is_empty()) else {
        return Ok(certificates);
    };
    let chain = annotations.get(CHAIN).map_or("", String::as_str);
    for text in [own.as_str(), chain] {
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            certificates.push(certificate.map_err(|_| malformed())?);
        }
        if certificates.is_empty() || certificates.len() > MAX_CERTIFICATES {
            return Err(malformed());
        }
    }
    Ok(certificates)
}

impl SimpleSignature {
    /// Whether a certificate says who signed.
    pub(super) fn has_certificate(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// The same as a bundle, whose version 0.1 holds what cosign kept at the time.
    pub(super) fn to_bundle(&self) -> Result<Bundle, Refusal> {
        let entry = self.log_entry.as_ref().ok_or(Refusal::NoLogEntry)?;
        let mut material = if self.has_certificate() {
            let certificates = self.certificates.iter();
            let certificates: Vec<_> = certificates
                .map(|certificate| json!({"rawBytes": STANDARD.encode(certificate)}))
                .collect();
            json!({"x509CertificateChain": {"certificates": certificates}})
        } else {
            json!({"publicKey": {"hint": ""}})
        };
        if let Some(material) = material.as_object_mut() {
            material.insert("tlogEntries".to_owned(), json!([entry.to_bundle()?]));
        }
        let digest = sigstore_verify::crypto::sha256(&self.document);
        serde_json::from_value(json!({
            "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
            "verificationMaterial": material,
            "messageSignature": {
                "messageDigest": {
                    "algorithm": "SHA2_256",
                    "digest": STANDARD.encode(digest.as_bytes()),
                },
                "signature": STANDARD.encode(self.signature.as_bytes()),
            },
        }))
        .map_err(|_| MALFORMED_ENTRY)
    }
}

impl LogEntry {
    fn to_bundle(&self) -> Result<Value, Refusal> {
        let payload = &self.payload;
        let body = STANDARD
            .decode(&payload.body)
            .map_err(|_| MALFORMED_ENTRY)?;
        let EntryKind { kind, api_version } =
            serde_json::from_slice(&body).map_err(|_| MALFORMED_ENTRY)?;
        let log = Sha256Hash::from_hex(&payload.log_id).map_err(|_| MALFORMED_ENTRY)?;
        Ok(json!({
            "logIndex": payload.log_index.to_string(),
            "logId": {"keyId": STANDARD.encode(log.as_bytes())},
            "kindVersion": {"kind": kind, "version": api_version},
            "integratedTime": payload.integrated_time.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": self.signed_entry_timestamp},
            "canonicalizedBody": payload.body,
        }))
    }
}
