//! Whether a signature says that an image may be copied: documents and keys in, a verdict out.
//!
//! A [`Policy`] says which images have to be signed and by whom; it names keys and trusted roots, whose
//! content comes with [`Trust`]. [`Rules`] are both together. A [`Signature`] is what was found beside an
//! image; [`Rule::check`] tells whether it satisfies a rule, or why not.
//!
//! Nothing here performs I/O: where signatures are looked for is the business of `copy`. What a signature
//! has to prove, and which forms are read, is in `docs/adr/0016-signatures.md`.

mod claim;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod policy;
mod refusal;
mod rule;
mod signature;
mod trust;

pub use policy::{Identity, Matcher, Policy, PolicyError, Provider, Signers};
pub use refusal::Refusal;
pub use rule::{Rule, Rules};
pub use signature::{
    COSIGN_SIGNATURE, MAX_BUNDLE_BYTES, MAX_PAYLOAD_BYTES, SIGN_PREDICATE, SIGSTORE_BUNDLE,
    SIMPLE_SIGNING, Signature,
};
pub use trust::{Trust, TrustError};
