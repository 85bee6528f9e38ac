//! Looks for the signatures of an image at its source, and has them judged before anything of it is written.
//!
//! Where they are kept is known here, what makes one valid only in [`crate::verify`]. That a signature was not
//! found is said only when the source has answered; when it does not, the failure is the source's.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::{Failure, Side};
use crate::oci::{Content, Descriptor, Digest, Manifest, MediaType, Tag};
use crate::reason::Reason;
use crate::registry::{ErrorKind, ManifestReference};
use crate::transport::{Error, Source, VerifiedBlob};
use crate::verify::{
    COSIGN_SIGNATURE, MAX_BUNDLE_BYTES, MAX_PAYLOAD_BYTES, Refusal, Rule, Rules, SIGN_PREDICATE,
    SIGSTORE_BUNDLE, SIMPLE_SIGNING, Signature,
};

/// Most signatures of one image that are looked at. Whoever may sign may leave many; more than these are a flood.
const MAX_SIGNATURES: usize = 100;
/// Most bytes of the manifest of a referrer that is a signature.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;
/// Most kinds of refusals that a message names.
const MAX_NAMED: usize = 4;
/// Most characters of a message that say why signatures were refused.
const MAX_CAUSES_CHARACTERS: usize = 400;
/// The annotation in which cosign repeats what a bundle states. It saves a request, and is not trusted.
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";

/// Decides whether images may be copied, by their signatures.
#[derive(Debug)]
pub struct SignatureCheck {
    rules: Rules,
    /// Images that were found to be signed, with where: an image with many tags is looked at once.
    signed: Mutex<HashSet<(String, Digest)>>,
}

impl SignatureCheck {
    /// A check by `rules`. An image that none of them is for may be copied.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            signed: Mutex::default(),
        }
    }

    /// Whether the image `digest` of `source` may be copied: it is an error when it may not, or when the
    /// source does not say what signatures there are.
    ///
    /// The digest is that of what the source has, an index with all its platforms: what an index names is
    /// covered by the signature of the index.
    pub async fn check(&self, source: &Arc<dyn Source>, digest: &Digest) -> Result<(), Failure> {
        let image = (source.name(), digest.clone());
        let rules: Vec<&Rule> = self.rules.of(&image.0).collect();
        if rules.is_empty() || self.lock_signed().contains(&image) {
            return Ok(());
        }
        let mut search = Search {
            source,
            digest,
            seen: 0,
            unsatisfied: rules
                .into_iter()
                .map(|rule| (rule, Refusals::default()))
                .collect(),
        };
        search.run().await?;
        match search.unsatisfied.as_slice() {
            [] => {
                self.lock_signed().insert(image);
                Ok(())
            }
            [(rule, refusals), ..] => Err(Failure {
                reason: Reason::VerificationFailed,
                message: refusals.message(&image.0, digest, rule, search.seen),
            }),
        }
    }

    fn lock_signed(&self) -> std::sync::MutexGuard<'_, HashSet<(String, Digest)>> {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why signatures do not satisfy a rule, and how many for each cause.
#[derive(Debug, Default)]
struct Refusals(BTreeMap<Refusal, usize>);

impl Refusals {
    fn add(&mut self, refusal: Refusal) {
        *self.0.entry(refusal).or_default() += 1;
    }

    /// What people are told. It is bounded, and has nothing of what the source wrote but names of signers whom
    /// a trusted authority knows.
    fn message(&self, source: &str, digest: &Digest, rule: &Rule, seen: usize) -> String {
        let image = format!("{source}@{digest}");
        let rule = format!("the policy for {}", rule.pattern());
        if self.0.is_empty() {
            return format!(
                "{image} has no signature, and {rule} wants one: sign it with cosign, or change the policy"
            );
        }
        let flood = if seen >= MAX_SIGNATURES {
            format!("; more than {MAX_SIGNATURES} are not looked at")
        } else {
            String::new()
        };
        format!(
            "no signature of {image} satisfies {rule}: {}{flood}; sign it with the key or identity of the policy, \
             or change the policy",
            self.causes()
        )
    }

    /// The most frequent causes, cut where they are long.
    fn causes(&self) -> String {
        let mut causes: Vec<(&Refusal, &usize)> = self.0.iter().collect();
        causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let named = causes.iter().take(MAX_NAMED);
        let mut named: Vec<String> = named
            .map(|(refusal, count)| match count {
                1 => refusal.to_string(),
                _ => format!("{count} times: {refusal}"),
            })
            .collect();
        if causes.len() > MAX_NAMED {
            named.push("and other causes".to_owned());
        }
        let named = named.join("; ");
        match named.char_indices().nth(MAX_CAUSES_CHARACTERS) {
            Some((end, _)) => format!("{}…", named.get(..end).unwrap_or_default()),
            None => named,
        }
    }
}

/// The search for the signatures of one image.
struct Search<'a> {
    source: &'a Arc<dyn Source>,
    digest: &'a Digest,
    /// Signatures so far.
    seen: usize,
    /// The rules that no signature has satisfied yet.
    unsatisfied: Vec<(&'a Rule, Refusals)>,
}

impl Search<'_> {
    /// Looks at one signature after the other until every rule is satisfied.
    async fn run(&mut self) -> Result<(), Failure> {
        self.look_under_tag().await?;
        if self.is_over() {
            return Ok(());
        }
        let referrers = self.source.referrers(self.digest, None).await;
        let referrers = referrers.map_err(|error| of_source(&error))?;
        for referrer in &referrers {
            if self.is_over() {
                break;
            }
            self.look_at_referrer(referrer).await?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.unsatisfied.is_empty() || self.seen >= MAX_SIGNATURES
    }

    /// The tag under which cosign kept signatures until version 3, and still does where it is told to.
    async fn look_under_tag(&mut self) -> Result<(), Failure> {
        let name = format!("{}.sig", self.digest.as_str().replacen(':', "-", 1));
        // Of a longer digest there is no such tag.
        let Ok(tag) = name.parse::<Tag>() else {
            return Ok(());
        };
        let found = self
            .source
            .find_manifest(ManifestReference::Tag(&tag))
            .await;
        match found.map_err(|error| of_source(&error))? {
            Some(manifest) => self.look_at_manifest(&manifest).await,
            None => Ok(()),
        }
    }

    async fn look_at_referrer(&mut self, referrer: &Descriptor) -> Result<(), Failure> {
        let kind = referrer.artifact_type.as_ref().map(MediaType::as_str);
        if !matches!(kind, Some(SIGSTORE_BUNDLE | COSIGN_SIGNATURE)) {
            return Ok(());
        }
        let predicate = referrer.annotations.get(PREDICATE);
        if predicate.is_some_and(|predicate| predicate != SIGN_PREDICATE) {
            // It cost nothing, and an image may gather attestations for years: they must not hide a signature.
            self.add(&Refusal::Attestation);
            return Ok(());
        }
        if referrer.size > MAX_MANIFEST_BYTES {
            self.refuse(&Refusal::TooLarge);
            return Ok(());
        }
        self.look_at_manifest(&referrer.digest).await
    }

    /// Judges all signatures of a manifest.
    async fn look_at_manifest(&mut self, manifest: &Digest) -> Result<(), Failure> {
        let read = self
            .source
            .manifest(ManifestReference::Digest(manifest))
            .await;
        let Some(manifest) = self.unless_unreadable(read)? else {
            return Ok(());
        };
        let Some(layers) = layers(&manifest) else {
            self.refuse(&Refusal::Malformed("its manifest"));
            return Ok(());
        };
        for layer in layers {
            if self.is_over() {
                break;
            }
            self.look_at_layer(&layer).await?;
        }
        Ok(())
    }

    async fn look_at_layer(&mut self, layer: &Descriptor) -> Result<(), Failure> {
        let limit = match layer.media_type.as_str() {
            SIMPLE_SIGNING => MAX_PAYLOAD_BYTES,
            SIGSTORE_BUNDLE => MAX_BUNDLE_BYTES,
            _ => {
                self.refuse(&Refusal::Unsupported);
                return Ok(());
            }
        };
        if layer.size > limit as u64 {
            self.refuse(&Refusal::TooLarge);
            return Ok(());
        }
        let content = read_blob(self.source, layer).await;
        let Some(content) = self.unless_unreadable(content)? else {
            return Ok(());
        };
        let signature = if layer.media_type.as_str() == SIMPLE_SIGNING {
            Signature::from_layer(content, &layer.annotations)
        } else {
            Signature::from_bundle(&content)
        };
        match signature {
            Ok(signature) => self.judge(&signature),
            Err(refusal) => self.refuse(&refusal),
        }
        Ok(())
    }

    fn judge(&mut self, signature: &Signature) {
        self.seen += 1;
        let digest = self.digest;
        self.unsatisfied
            .retain_mut(|(rule, refusals)| match rule.check(signature, digest) {
                Ok(()) => false,
                Err(refusal) => {
                    refusals.add(refusal);
                    true
                }
            });
    }

    /// Counts something that is no signature for any rule.
    fn refuse(&mut self, refusal: &Refusal) {
        self.seen += 1;
        self.add(refusal);
    }

    fn add(&mut self, refusal: &Refusal) {
        for (_, refusals) in &mut self.unsatisfied {
            refusals.add(refusal.clone());
        }
    }

    /// What was read, or nothing when one signature is gone or malformed, which says nothing of the others.
    fn unless_unreadable<T>(&mut self, read: Result<T, Error>) -> Result<Option<T>, Failure> {
        let error = match read {
            Ok(read) => return Ok(Some(read)),
            Err(error) => error,
        };
        let refusal = match &error {
            Error::NotFound { .. } => Refusal::Missing,
            Error::Registry(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ContentMissing
                ) =>
            {
                Refusal::Missing
            }
            Error::Malformed { .. } => Refusal::Malformed("its manifest"),
            _ => return Err(of_source(&error)),
        };
        self.refuse(&refusal);
        Ok(None)
    }
}

fn of_source(error: &Error) -> Failure {
    Failure::of_place(Side::Source, error)
}

/// The layers of a signature, [`None`] when it is not an image manifest as cosign writes one.
fn layers(manifest: &Manifest) -> Option<Vec<Descriptor>> {
    match manifest.content() {
        Ok(Content::Image { layers, .. }) => Some(layers),
        Ok(Content::Artifact { blobs, .. }) => Some(blobs),
        Ok(Content::Index { .. }) | Err(_) => None,
    }
}

/// Reads a small blob, whose size the caller has bounded.
async fn read_blob(source: &Arc<dyn Source>, blob: &Descriptor) -> Result<Vec<u8>, Error> {
    if let Some(content) = &blob.data {
        return Ok(content.to_vec());
    }
    let content = VerifiedBlob::new(blob.clone(), Arc::new(Arc::clone(source)));
    let pieces: Vec<Bytes> = content.read_from(0).try_collect().await?;
    Ok(pieces.concat())
}
