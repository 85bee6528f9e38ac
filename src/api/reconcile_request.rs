//! The annotations by which a person or a tool asks for a scan at once.

use kube::api::ObjectMeta;

/// Any new value of one of these annotations starts one scan at once. The second is Flux's own, so
/// that `flux reconcile` style tooling works unchanged.
pub const RECONCILE_REQUEST_ANNOTATIONS: [&str; 2] = [
    "reconcile.transship.dev/requestedAt",
    "reconcile.fluxcd.io/requestedAt",
];

/// Most characters of a value that count: as many as `status.lastHandledReconcileAt` takes. Of a longer one
/// nothing else is seen, because a status that cannot be written would tell nothing at all.
const MAX_CHARACTERS: usize = 512;

/// The value that counts of those that an object has: the greater, because tools write the time.
#[must_use]
pub fn requested_reconcile(metadata: &ObjectMeta) -> Option<&str> {
    let annotations = metadata.annotations.as_ref();
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
        let metadata: ObjectMeta = serde_json::from_value(json!({"annotations": {
            RECONCILE_REQUEST_ANNOTATIONS[0]: "1".repeat(100),
            RECONCILE_REQUEST_ANNOTATIONS[1]: "é".repeat(600),
        }}))
        .unwrap();
        assert_eq!(
            requested_reconcile(&metadata),
            Some("é".repeat(512).as_str())
        );
    }
}
