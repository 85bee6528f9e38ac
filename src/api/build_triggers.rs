//! What starts another build.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::{BOUNDED_DURATION, DURATION};

/// What starts another build, besides a change of the object and a request by annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildTriggers {
    /// A new commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<IntervalTrigger>,
    /// A base image that was replaced: `FROM` names another digest than it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_image: Option<IntervalTrigger>,
    /// A time, as cron has it: `0 3 * * 1`, in UTC, or with a zone in front: `CRON_TZ=Europe/Berlin 0 3 * * 1`. It
    /// builds although nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub schedule: Option<String>,
}

/// How often something is looked at.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntervalTrigger {
    /// How often, for example `5m`. At least `10s`.
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    #[x_kube(
        validation = Rule::new(BOUNDED_DURATION).message("interval must be between 10s and 8760h")
    )]
    pub interval: String,
}
