//! When tags that are not wanted any more are removed from destinations.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of tags that this mirror wrote and that its sources do not select any more.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prune {
    /// Whether they are removed.
    #[serde(default)]
    pub mode: PruneMode,

    /// How long a tag must have been unwanted before it is removed, for example `336h`.
    #[serde(default = "two_weeks")]
    #[schemars(length(max = 32), regex(pattern = super::duration::DURATION))]
    #[x_kube(
        validation = Rule::new("!self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') || duration(self) <= duration('87600h')").message("grace must be at most 87600h")
    )]
    pub grace: String,

    /// Most of the tags that this mirror wrote that may be removed at once, in percent, for example `10`. When
    /// more are due, none is removed: a source that lost its tags must not empty the destination. One tag may
    /// always be removed, unless this is 0.
    #[serde(default = "ten_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub max_percent: i32,
}

impl Default for Prune {
    fn default() -> Self {
        Self {
            mode: PruneMode::default(),
            grace: two_weeks(),
            max_percent: ten_percent(),
        }
    }
}

/// Whether tags are removed that are not wanted any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum PruneMode {
    /// Nothing is removed, and nothing remembered.
    #[default]
    None,
    /// `status.prune` says what `Delete` would remove, and when; nothing is removed.
    Plan,
    /// They are removed when `grace` is over, as `status.prune` says before.
    Delete,
}

/// What becomes of the images at the destinations when the mirror is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Orphan,
    /// The tags that this mirror wrote since it has this policy are removed, unless somebody else has moved
    /// them. The mirror is gone when they are, or after ten minutes, with an event that names what is left.
    Delete,
}

fn two_weeks() -> String {
    "336h".to_owned()
}

const fn ten_percent() -> i32 {
    10
}
