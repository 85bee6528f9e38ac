//! What is counted of builds.

use jiff::{SignedDuration, Timestamp};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::standings::{Standings, StateCounts};
use super::{OTHER, counters, gauges, registered};
use crate::api::BuildResult;
use crate::build::FailureClass;
use crate::controller::build::BuildStanding;
use crate::controller::standing::State;
use crate::controller::stored::StoredBuild;

/// The class of builds that have ended and not failed.
const NO_CLASS: &str = "None";
/// Bounds of the histogram, in seconds: from what comes out of a cache to what takes a night.
const DURATIONS: [f64; 13] = [
    10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0,
    43200.0,
];
const RESULTS: [BuildResult; 3] = [
    BuildResult::Succeeded,
    BuildResult::Failed,
    BuildResult::Cancelled,
];

/// The metrics of builds.
pub(crate) struct BuildMetrics {
    builds: IntGaugeVec,
    failed: IntGaugeVec,
    overdue: IntGauge,
    ended: IntCounterVec,
    retries: IntCounterVec,
    duration: HistogramVec,
    standings: Standings<BuildStanding>,
}

impl BuildMetrics {
    /// All of them, at zero.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            builds: gauges(registry, "builds", "Builds by state.", "state")?,
            failed: gauges(
                registry,
                "builds_failed",
                "Builds that have failed or cannot be started, by class of failure.",
                "class",
            )?,
            overdue: registered(
                registry,
                IntGauge::new(
                    "builds_overdue",
                    "Builds that should have been over, or looked at, long ago.",
                )?,
            )?,
            ended: counters(
                registry,
                "build_total",
                "Builds that have ended, by result and class of failure.",
                &["result", "class"],
            )?,
            retries: counters(
                registry,
                "build_retry_total",
                "Failed attempts that another one follows, by class of failure.",
                &["class"],
            )?,
            duration: registered(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "build_duration_seconds",
                        "How long builds took that have ended, with all attempts and the pauses between them.",
                    )
                    .buckets(DURATIONS.to_vec()),
                    &["result"],
                )?,
            )?,
            standings: Standings::default(),
        };
        metrics.begin_at_zero();
        Ok(metrics)
    }

    /// An increase can be seen only of what was there before.
    fn begin_at_zero(&self) {
        for result in RESULTS {
            self.duration.with_label_values(&[result_label(result)]);
            if result != BuildResult::Failed {
                self.ended
                    .with_label_values(&[result_label(result), NO_CLASS]);
            }
        }
        for class in FailureClass::ALL.map(|class| class.to_string()) {
            self.ended
                .with_label_values(&[result_label(BuildResult::Failed), class.as_str()]);
            self.retries.with_label_values(&[class]);
        }
    }

    /// Counts a build that has ended. `class` is that of its failure, if it has failed.
    pub(crate) fn ended(
        &self,
        result: BuildResult,
        class: Option<FailureClass>,
        taken: Option<SignedDuration>,
    ) {
        let class = class.map_or_else(|| NO_CLASS.to_owned(), |class| class.to_string());
        let result = result_label(result);
        self.ended.with_label_values(&[result, &class]).inc();
        if let Some(taken) = taken {
            self.duration
                .with_label_values(&[result])
                .observe(taken.as_secs_f64());
        }
    }

    /// Counts an attempt that has failed and that another one follows.
    pub(crate) fn retried(&self, class: FailureClass) {
        self.retries.with_label_values(&[class.to_string()]).inc();
    }

    /// Takes note of how a build stands; `key` is its namespace and name.
    pub(crate) fn observe(&self, key: &str, build: &StoredBuild) {
        self.standings.observe(key, BuildStanding::of(build));
    }

    /// Stops counting a build that is gone.
    pub(crate) fn forget(&self, key: &str) {
        self.standings.forget(key);
    }

    /// Sums up how all builds stand.
    pub(super) fn count(&self, now: Timestamp) {
        let mut states = StateCounts::new(State::OF_BUILDS);
        let mut classes = FailureClass::ALL.map(|class| (class, 0));
        let (mut others, mut overdue) = (0, 0);
        self.standings.for_each(|standing| {
            states.add(standing.state);
            if matches!(standing.state, State::Failed | State::Stalled) {
                for (class, count) in &mut classes {
                    *count += i64::from(standing.class == Some(*class));
                }
                others += i64::from(standing.class.is_none());
            }
            overdue += i64::from(standing.is_overdue(now));
        });
        states.show(&self.builds);
        for (class, count) in classes {
            self.failed
                .with_label_values(&[class.to_string()])
                .set(count);
        }
        self.failed.with_label_values(&[OTHER]).set(others);
        self.overdue.set(overdue);
    }
}

/// The value of the label: the word that the status has for it.
const fn result_label(result: BuildResult) -> &'static str {
    match result {
        BuildResult::Succeeded => "Succeeded",
        BuildResult::Failed => "Failed",
        BuildResult::Cancelled => "Cancelled",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{assert_has, assert_has_no};
    use super::super::{Kind, Metrics};
    use super::*;

    fn build(status: &Value) -> StoredBuild {
        serde_json::from_value(json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageBuild",
            "metadata": {"name": "app", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "source": {"inline": {"dockerfile": "FROM scratch"}}, "output": {"repository": "corp.test/app"},
            },
            "status": status,
        }))
        .unwrap()
    }

    fn stalled(class: &str) -> StoredBuild {
        let condition = |type_: &str, status: &str| {
            json!({
                "type": type_, "status": status, "reason": "RunCommandFailed", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        build(&json!({
            "observedGeneration": 2, "conditions": [condition("Ready", "False"), condition("Stalled", "True")],
            "lastFailure": {"number": 1, "class": class, "reason": "RunCommandFailed", "message": ""},
        }))
    }

    #[test]
    fn builds_are_summed_until_they_are_gone() {
        let metrics = Metrics::new().unwrap();
        let builds = &metrics.builds;
        assert_has(
            &metrics,
            &[r#"builds{state="stalled"} 0"#, "builds_overdue 0"],
        );
        builds.observe("a", &build(&json!({})));
        builds.observe("b", &stalled("Dockerfile"));
        builds.observe("c", &stalled("OfAnotherVersion"));
        // The same object once more is the same object.
        builds.observe("b", &stalled("Dockerfile"));
        assert_has(
            &metrics,
            &[
                r#"builds{state="progressing"} 1"#,
                r#"builds{state="stalled"} 2"#,
                r#"builds_failed{class="Dockerfile"} 1"#,
                r#"builds_failed{class="Other"} 1"#,
                "builds_overdue 1",
            ],
        );
        for key in ["a", "b", "c"] {
            builds.forget(key);
        }
        assert_has(
            &metrics,
            &[
                r#"builds{state="progressing"} 0"#,
                r#"builds{state="stalled"} 0"#,
                r#"builds_failed{class="Dockerfile"} 0"#,
                r#"builds_failed{class="Other"} 0"#,
                "builds_overdue 0",
            ],
        );
    }

    #[test]
    fn what_has_ended_is_counted_by_how_it_ended_and_how_long_it_took() {
        let metrics = Metrics::new().unwrap();
        let taken = |seconds| Some(SignedDuration::from_secs(seconds));
        let builds = &metrics.builds;
        builds.ended(BuildResult::Succeeded, None, taken(182));
        builds.ended(BuildResult::Cancelled, None, None);
        builds.ended(
            BuildResult::Failed,
            Some(FailureClass::Timeout),
            taken(3600),
        );
        builds.retried(FailureClass::Evicted);
        assert_has(
            &metrics,
            &[
                r#"build_total{class="None",result="Succeeded"} 1"#,
                r#"build_total{class="None",result="Cancelled"} 1"#,
                r#"build_total{class="Timeout",result="Failed"} 1"#,
                r#"build_total{class="Dockerfile",result="Failed"} 0"#,
                r#"build_retry_total{class="Evicted"} 1"#,
                r#"build_duration_seconds_bucket{result="Succeeded",le="120"} 0"#,
                r#"build_duration_seconds_bucket{result="Succeeded",le="300"} 1"#,
                r#"build_duration_seconds_bucket{result="Failed",le="3600"} 1"#,
                r#"build_duration_seconds_count{result="Cancelled"} 0"#,
            ],
        );
    }

    #[test]
    fn builds_and_mirrors_of_one_name_are_counted_apart() {
        let metrics = Metrics::new().unwrap();
        metrics.builds.observe("team/app", &stalled("Dockerfile"));
        metrics.forget("team/app");
        metrics.reconcile(Kind::ImageBuild).finish(true);
        assert_has(
            &metrics,
            &[
                r#"builds{state="stalled"} 1"#,
                r#"mirrors{state="stalled"} 0"#,
                r#"reconcile_total{kind="ImageBuild",outcome="success"} 1"#,
                r#"reconcile_total{kind="ImageMirror",outcome="success"} 0"#,
            ],
        );
        // A mirror is stopped by nobody.
        assert_has_no(&metrics, r#"mirrors{state="cancelled"}"#);
    }
}
