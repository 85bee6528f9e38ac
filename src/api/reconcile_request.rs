//! The annotations by which a person or a tool asks for a scan at once.

use super::ImageMirror;

/// Any new value of one of these annotations starts one scan at once. The second is Flux's own, so
/// that `flux reconcile` style tooling works unchanged.
pub const RECONCILE_REQUEST_ANNOTATIONS: [&str; 2] = [
    "reconcile.transship.dev/requestedAt",
    "reconcile.fluxcd.io/requestedAt",
];

/// Most characters of a value that count: as many as `status.lastHandledReconcileAt` takes. Of a longer one
/// nothing else is seen, because a status that cannot be written would tell nothing at all.
const MAX_CHARACTERS: usize = 512;

/// The value that counts of those that a mirror has: the greater, because tools write the time.
#[must_use]
pub fn requested_reconcile(mirror: &ImageMirror) -> Option<&str> {
    let annotations = mirror.metadata.annotations.as_ref();
    RECONCILE_REQUEST_ANNOTATIONS
        .iter()
        .filter_map(|key| annotations.and_then(|annotations| annotations.get(*key)))
        .map(|value| beginning(value))
        .max()
}

fn beginning(value: &str) -> &str {
    let end = value.char_indices().nth(MAX_CHARACTERS);
    end.and_then(|(end, _)| value.get(..end)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_that_no_status_can_hold_is_cut() {
        let mirror: ImageMirror = serde_json::from_value(json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {"name": "m", "annotations": {
                RECONCILE_REQUEST_ANNOTATIONS[0]: "1".repeat(100),
                RECONCILE_REQUEST_ANNOTATIONS[1]: "é".repeat(600),
            }},
            "spec": {"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]},
        }))
        .unwrap();
        assert_eq!(requested_reconcile(&mirror), Some("é".repeat(512).as_str()));
    }
}
