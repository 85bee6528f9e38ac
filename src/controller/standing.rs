//! How one mirror stands, as metrics count it, and what mirrors and builds have in common there. Pure: an object in,
//! a few numbers out. Nothing of it names the mirror or an image.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ObjectMeta;

use super::stored::StoredMirror;
use crate::api::{
    ConditionType, ImageMirror, ImageMirrorStatus, ImageState, RunStatus, find_condition,
};
use crate::reason::Reason;

/// How long after its time something is overdue: longer than any pause between two attempts.
const PATIENCE: Duration = Duration::from_mins(15);

/// Where a mirror or a build stands; each is in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Everything is in place.
    Ready,
    /// On its way, or not looked at yet.
    Progressing,
    /// Failed, and tried again.
    Failed,
    /// Failed, and nothing helps but a person.
    Stalled,
    /// Suspended.
    Suspended,
    /// Stopped by a person, who knows of it. Only builds are.
    Cancelled,
}

impl State {
    /// Every state of a mirror.
    pub(crate) const OF_MIRRORS: [Self; 5] = [
        Self::Ready,
        Self::Progressing,
        Self::Failed,
        Self::Stalled,
        Self::Suspended,
    ];
    /// Every state of a build.
    pub(crate) const OF_BUILDS: [Self; 6] = [
        Self::Ready,
        Self::Progressing,
        Self::Failed,
        Self::Stalled,
        Self::Suspended,
        Self::Cancelled,
    ];

    /// Reads it off what both kinds of objects have.
    pub(crate) fn of(
        metadata: &ObjectMeta,
        is_suspended: bool,
        observed_generation: Option<i64>,
        conditions: &[Condition],
    ) -> Self {
        let is = |type_, value| {
            find_condition(conditions, type_).is_some_and(|found| found.status == value)
        };
        let stalled = find_condition(conditions, ConditionType::Stalled);
        if is_suspended {
            Self::Suspended
        } else if observed_generation != metadata.generation {
            Self::Progressing
        } else if let Some(stalled) = stalled.filter(|stalled| stalled.status == "True") {
            match Reason::from_name(&stalled.reason) {
                Some(Reason::Cancelled) => Self::Cancelled,
                _ => Self::Stalled,
            }
        } else if is(ConditionType::Ready, "False") {
            Self::Failed
        } else if is(ConditionType::Ready, "True") {
            Self::Ready
        } else {
            Self::Progressing
        }
    }

    /// The value of the label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Progressing => "progressing",
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::Suspended => "suspended",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How one mirror stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: State,
    pub(super) images: ImageCounts,
    /// Failed images by reason; of those without one nobody knows it, or the status had no room for it.
    pub(super) failed: BTreeMap<Option<Reason>, i64>,
    /// When something has to happen: the next scan, or the end of a run.
    due: Option<Timestamp>,
}

/// Images of one mirror by state; each image has one at each destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ImageCounts {
    pub(super) present: i64,
    pub(super) pending: i64,
    pub(super) failed: i64,
    pub(super) drifted: i64,
}

impl Standing {
    /// Reads it off the object.
    pub(super) fn of(stored: &StoredMirror) -> Self {
        match stored {
            StoredMirror::Readable(mirror) => {
                let status = mirror.status.clone().unwrap_or_default();
                Self {
                    state: State::of(
                        &mirror.metadata,
                        mirror.spec.suspend,
                        status.observed_generation,
                        &status.conditions,
                    ),
                    due: due(mirror, &status),
                    ..Self::stalled(&status)
                }
            }
            StoredMirror::Unreadable(mirror) => {
                Self::stalled(&mirror.status.clone().unwrap_or_default())
            }
        }
    }

    fn stalled(status: &ImageMirrorStatus) -> Self {
        Self {
            state: State::Stalled,
            images: ImageCounts {
                present: status.present,
                // The status counts drifted images as pending as well.
                pending: (status.pending - status.drifted).max(0),
                failed: status.failed,
                drifted: status.drifted,
            },
            failed: failed(status),
            due: None,
        }
    }

    /// Whether something should have happened long ago.
    pub(super) fn is_overdue(&self, now: Timestamp) -> bool {
        is_overdue(self.due, now)
    }
}

/// Whether what is due at a time should have happened long ago.
pub(crate) fn is_overdue(due: Option<Timestamp>, now: Timestamp) -> bool {
    due.is_some_and(|due| {
        Duration::try_from(now.duration_since(due)).is_ok_and(|late| late > PATIENCE)
    })
}

/// A mirror that nobody has looked at is due since it exists.
fn due(mirror: &ImageMirror, status: &ImageMirrorStatus) -> Option<Timestamp> {
    if mirror.spec.suspend || mirror.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let created = mirror.metadata.creation_timestamp.as_ref();
    if status.conditions.is_empty() {
        return created.map(|time| time.0);
    }
    let is_open = |run: &&RunStatus| run.completion_time.is_none();
    if let Some(run) = status.run.as_ref().filter(is_open) {
        let timeout: SignedDuration = mirror.spec.timeout.parse().ok()?;
        return run.start_time.as_ref()?.0.checked_add(timeout).ok();
    }
    status.next_scan_time.as_ref().map(|next| next.0)
}

fn failed(status: &ImageMirrorStatus) -> BTreeMap<Option<Reason>, i64> {
    let mut failed = BTreeMap::new();
    let listed = status.images.iter().flat_map(|image| &image.destinations);
    for destination in listed.filter(|destination| destination.state == ImageState::Failed) {
        let reason = destination.reason.as_deref().and_then(Reason::from_name);
        *failed.entry(reason).or_insert(0) += 1;
    }
    let unlisted = status.failed - failed.values().sum::<i64>();
    if unlisted > 0 {
        *failed.entry(None).or_insert(0) += unlisted;
    }
    failed
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn standing(change: impl FnOnce(&mut Value)) -> Standing {
        let mut mirror = json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {
                "name": "web", "namespace": "team", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "timeout": "2h", "sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}],
            },
            "status": {
                "observedGeneration": 2, "nextScanTime": "2026-01-01T01:00:00Z",
                "conditions": [condition("Ready", "True")],
            },
        });
        change(&mut mirror);
        Standing::of(&serde_json::from_value(mirror).unwrap())
    }

    fn condition(type_: &str, status: &str) -> Value {
        json!({
            "type": type_, "status": status, "reason": "Succeeded", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    }

    #[rstest]
    #[case::in_place(|_: &mut Value| {}, State::Ready)]
    #[case::changed(|mirror: &mut Value| mirror["metadata"]["generation"] = json!(3), State::Progressing)]
    #[case::new(|mirror: &mut Value| mirror["status"] = json!({"observedGeneration": -1}), State::Progressing)]
    #[case::copying(|mirror: &mut Value| mirror["status"]["conditions"] = json!([condition("Ready", "Unknown")]), State::Progressing)]
    #[case::failed(|mirror: &mut Value| mirror["status"]["conditions"] = json!([condition("Ready", "False")]), State::Failed)]
    #[case::stalled(
        |mirror: &mut Value| mirror["status"]["conditions"] = json!([condition("Ready", "False"), condition("Stalled", "True")]),
        State::Stalled
    )]
    #[case::unreadable(|mirror: &mut Value| mirror["spec"]["drift"] = json!("Ignore"), State::Stalled)]
    #[case::suspended(|mirror: &mut Value| mirror["spec"]["suspend"] = json!(true), State::Suspended)]
    fn a_mirror_is_in_one_state(#[case] change: fn(&mut Value), #[case] expected: State) {
        assert_eq!(standing(change).state, expected);
    }

    #[rstest]
    #[case::scan(|_: &mut Value| {}, "2026-01-01T01:15:00Z")]
    #[case::run(
        |mirror: &mut Value| mirror["status"]["run"] = json!({"job": "j", "startTime": "2026-01-01T00:30:00Z"}),
        "2026-01-01T02:45:00Z"
    )]
    #[case::run_that_has_ended(
        |mirror: &mut Value| mirror["status"]["run"] = json!({
            "job": "j", "startTime": "2026-01-01T00:30:00Z", "completionTime": "2026-01-01T00:31:00Z",
        }),
        "2026-01-01T01:15:00Z"
    )]
    #[case::never_seen(|mirror: &mut Value| mirror["status"] = json!({"observedGeneration": -1}), "2026-01-01T00:15:00Z")]
    fn what_should_have_happened_is_overdue(#[case] change: fn(&mut Value), #[case] last: &str) {
        let standing = standing(change);
        let last: Timestamp = last.parse().unwrap();
        assert!(!standing.is_overdue(last));
        assert!(standing.is_overdue(last + SignedDuration::from_secs(1)));
    }

    #[rstest]
    #[case::suspended(|mirror: &mut Value| mirror["spec"]["suspend"] = json!(true))]
    #[case::deleted(|mirror: &mut Value| mirror["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"))]
    #[case::waits_for_a_change(|mirror: &mut Value| mirror["status"]["nextScanTime"] = json!(null))]
    fn nothing_is_expected_of_these(#[case] change: fn(&mut Value)) {
        assert!(!standing(change).is_overdue(Timestamp::MAX));
    }

    #[test]
    fn failed_images_have_their_reason_as_far_as_it_is_listed() {
        let failed = |reason: &str| json!({"source": "a", "destinations": [{"reference": "b", "state": "Failed", "reason": reason}]});
        let standing = standing(|mirror| {
            mirror["status"]["failed"] = json!(7);
            mirror["status"]["images"] = json!([
                failed("PushDenied"),
                failed("PushDenied"),
                failed("SourceNotFound"),
                failed("OfAnotherVersion"),
                {"source": "a", "destinations": [{"reference": "b", "state": "Present", "reason": "Kept"}]},
            ]);
        });
        let expected = [
            (None, 4),
            (Some(Reason::PushDenied), 2),
            (Some(Reason::SourceNotFound), 1),
        ];
        assert_eq!(standing.failed, BTreeMap::from(expected));
        assert_eq!(standing.images.failed, 7);
    }
}
