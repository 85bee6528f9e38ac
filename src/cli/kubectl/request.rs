//! The value of the annotation by which something is asked for. Pure.

use anyhow::bail;
use jiff::Timestamp;
use kube::api::ObjectMeta;

use crate::api::{RECONCILE_REQUEST_ANNOTATIONS, requested_reconcile};

/// Most characters of a request that a status can say was handled.
const MAX_REQUEST_LENGTH: usize = 512;

/// The value for a new request about the object that is called `full_name`, whose status says that `handled` was the
/// last.
pub(super) fn ask(
    full_name: &str,
    metadata: &ObjectMeta,
    handled: Option<&str>,
) -> anyhow::Result<String> {
    let value = new_request(metadata, handled, Timestamp::now());
    if value.len() > MAX_REQUEST_LENGTH {
        bail!(
            "an annotation of {full_name} that asks for a scan is longer than the operator can \
             answer; remove {}",
            RECONCILE_REQUEST_ANNOTATIONS.join(" and ")
        );
    }
    Ok(value)
}

/// It is greater than what is there, whatever wrote that: of two annotations the greater counts.
pub(super) fn new_request(metadata: &ObjectMeta, handled: Option<&str>, now: Timestamp) -> String {
    let now = now.to_string();
    match requested_reconcile(metadata).max(handled) {
        Some(last) if last >= now.as_str() => format!("{last}+"),
        _ => now,
    }
}
