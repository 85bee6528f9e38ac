//! Publishes Kubernetes events. An event that cannot be published is logged and lost: it is news,
//! not state.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::reason::Reason;

/// Most bytes of a note that the API server accepts.
const MAX_NOTE_BYTES: usize = 1024;
/// How long publishing one event may take.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a notice asks for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// For information.
    Normal,
    /// Something to look at.
    Warning,
}

/// One thing that a person would want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    severity: Severity,
    reason: Reason,
    message: String,
}

impl Notice {
    /// A notice; the message holds no secret and no remote text.
    pub(crate) const fn new(severity: Severity, reason: Reason, message: String) -> Self {
        Self {
            severity,
            reason,
            message,
        }
    }
}

/// Publishes notices about objects.
#[derive(Clone)]
pub(crate) struct Events {
    client: Client,
    reporter: Reporter,
}

impl Events {
    /// `instance` is the name of this replica.
    pub(crate) fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter {
            controller: "transship.dev/controller".to_owned(),
            instance: Some(instance),
        };
        Self { client, reporter }
    }

    /// Publishes one notice about `object`, which is logged as well.
    pub(crate) async fn publish(&self, object: &ObjectReference, notice: &Notice) {
        tracing::info!(
            namespace = object.namespace,
            name = object.name,
            reason = %notice.reason,
            "{}", notice.message
        );
        let event = Event {
            type_: match notice.severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: notice.reason.to_string(),
            note: Some(bounded(&notice.message).to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // A recorder folds events of the same reason into one and keeps the first note, which would
        // hide the second image that fails. Notices are made on changes only, so that a recorder
        // without a past is no flood.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        match tokio::time::timeout(PUBLISH_TIMEOUT, recorder.publish(&event, object)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "event not published"),
            Err(_elapsed) => tracing::warn!("event not published in time"),
        }
    }
}

/// The longest beginning of `text` that the API server accepts as a note.
fn bounded(text: &str) -> &str {
    let mut end = text.len().min(MAX_NOTE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_at_a_character() {
        let text = "é".repeat(600);
        assert_eq!(bounded(&text).len(), 1024);
        assert_eq!(bounded("short"), "short");
        let odd = format!("x{}", "é".repeat(600));
        assert_eq!(bounded(&odd).len(), 1023);
    }
}
