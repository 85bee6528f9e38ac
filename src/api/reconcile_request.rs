//! The annotations by which a person or a tool asks for a scan at once.

use super::ImageMirror;

/// Any new value of one of these annotations starts one scan at once. The second is Flux's own, so
/// that `flux reconcile` style tooling works unchanged.
pub const RECONCILE_REQUEST_ANNOTATIONS: [&str; 2] = [
    "reconcile.transship.dev/requestedAt",
    "reconcile.fluxcd.io/requestedAt",
];

/// The value that counts of those that a mirror has: the greater, because tools write the time.
#[must_use]
pub fn requested_reconcile(mirror: &ImageMirror) -> Option<&str> {
    let annotations = mirror.metadata.annotations.as_ref();
    RECONCILE_REQUEST_ANNOTATIONS
        .iter()
        .filter_map(|key| annotations.and_then(|annotations| annotations.get(*key)))
        .map(String::as_str)
        .max()
}
