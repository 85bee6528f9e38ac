//! What the operator counts, in the text format of Prometheus.
//!
//! Labels are closed sets: never a name, a digest or the text of an error.

mod builds;
mod standings;

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use self::builds::BuildMetrics;
use self::standings::{Standings, StateCounts};
use super::standing::{ImageCounts, Standing, State};
use super::stored::StoredMirror;
use crate::reason::Reason;

/// What failures count as of which the status does not say more.
const OTHER: &str = "Other";

/// Bounds of a histogram, in seconds.
const RECONCILE_DURATIONS: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The kinds that are reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ImageMirror,
    ImageBuild,
}

impl Kind {
    const ALL: [Self; 2] = [Self::ImageMirror, Self::ImageBuild];

    /// The value of the label.
    const fn label(self) -> &'static str {
        match self {
            Self::ImageMirror => "ImageMirror",
            Self::ImageBuild => "ImageBuild",
        }
    }
}

/// The metrics of one process, in a registry of their own.
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_duration: Histogram,
    runs: IntCounterVec,
    run_bytes: IntCounter,
    mirrors: IntGaugeVec,
    mirrors_overdue: IntGauge,
    images: IntGaugeVec,
    images_failed: IntGaugeVec,
    leader: IntGauge,
    /// Those of builds.
    pub(crate) builds: BuildMetrics,
    standings: Standings<Standing>,
}

/// Measures one reconcile. Dropped without [`ReconcileTimer::finish`], it counts as failed: that is
/// how a cancelled one ends.
pub(crate) struct ReconcileTimer<'a> {
    metrics: &'a Metrics,
    kind: Kind,
    start: Instant,
    succeeded: bool,
}

impl ReconcileTimer<'_> {
    /// Ends the measurement.
    pub(crate) fn finish(mut self, succeeded: bool) {
        self.succeeded = succeeded;
    }
}

impl Drop for ReconcileTimer<'_> {
    fn drop(&mut self) {
        self.metrics
            .reconciles
            .with_label_values(&[self.kind.label(), outcome(self.succeeded)])
            .inc();
        self.metrics
            .reconcile_duration
            .observe(self.start.elapsed().as_secs_f64());
    }
}

const fn outcome(succeeded: bool) -> &'static str {
    if succeeded { "success" } else { "failure" }
}

impl Metrics {
    /// All metrics, at zero. The error is a name that is registered twice.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("transship".to_owned()), None)?;
        let reconciles = counters(
            &registry,
            "reconcile_total",
            "Reconciles by kind and outcome.",
            &["kind", "outcome"],
        )?;
        let durations = HistogramOpts::new(
            "reconcile_duration_seconds",
            "How long reconciles take, scans included.",
        )
        .buckets(RECONCILE_DURATIONS.to_vec());
        let runs = counters(
            &registry,
            "run_total",
            "Runs that have ended, by outcome.",
            &["outcome"],
        )?;
        let run_bytes = IntCounter::new(
            "run_bytes_total",
            "Bytes of blobs that runs have sent to destinations.",
        )?;
        let mirrors_overdue = IntGauge::new(
            "mirrors_overdue",
            "Mirrors whose scan or run should have been over long ago.",
        )?;
        let leader = IntGauge::new("leader", "Whether this replica is the leader.")?;
        let build = gauges(
            &registry,
            "build_info",
            "Always 1; the label is the version.",
            "version",
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for outcome in ["success", "failure"] {
            for kind in Kind::ALL {
                reconciles.with_label_values(&[kind.label(), outcome]);
            }
            runs.with_label_values(&[outcome]);
        }
        Ok(Self {
            reconciles,
            reconcile_duration: registered(&registry, Histogram::with_opts(durations)?)?,
            runs,
            run_bytes: registered(&registry, run_bytes)?,
            mirrors: gauges(&registry, "mirrors", "Mirrors by state.", "state")?,
            mirrors_overdue: registered(&registry, mirrors_overdue)?,
            images: gauges(
                &registry,
                "images",
                "Images of all mirrors by state, counted once per destination.",
                "state",
            )?,
            images_failed: gauges(
                &registry,
                "images_failed",
                "Images that could not be copied by reason, counted once per destination.",
                "reason",
            )?,
            leader: registered(&registry, leader)?,
            builds: BuildMetrics::new(&registry)?,
            registry,
            standings: Standings::default(),
        })
    }

    /// Starts to measure one reconcile.
    pub(crate) fn reconcile(&self, kind: Kind) -> ReconcileTimer<'_> {
        ReconcileTimer {
            metrics: self,
            kind,
            start: Instant::now(),
            succeeded: false,
        }
    }

    /// Counts a run that has ended.
    pub(crate) fn run_finished(&self, succeeded: bool, bytes: u64) {
        self.runs.with_label_values(&[outcome(succeeded)]).inc();
        self.run_bytes.inc_by(bytes);
    }

    /// Takes note of how a mirror stands; `key` is its namespace and name.
    pub(crate) fn observe(&self, key: &str, mirror: &StoredMirror) {
        self.standings.observe(key, Standing::of(mirror));
    }

    /// Stops counting a mirror that is gone.
    pub(crate) fn forget(&self, key: &str) {
        self.standings.forget(key);
    }

    /// Says whether this replica is the leader.
    pub(crate) fn leading(&self, leading: bool) {
        self.leader.set(i64::from(leading));
    }

    /// Everything in the text format.
    pub(crate) fn render(&self) -> Result<String, prometheus::Error> {
        let now = Timestamp::now();
        self.count(now);
        self.builds.count(now);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Sums up how all mirrors stand.
    fn count(&self, now: Timestamp) {
        let mut mirrors = StateCounts::new(State::OF_MIRRORS);
        let mut images = ImageCounts::default();
        // An alert on it must tell none from nothing known.
        let mut failed = BTreeMap::from([(label(Some(Reason::VerificationFailed)), 0)]);
        let mut overdue = 0;
        self.standings.for_each(|standing| {
            mirrors.add(standing.state);
            images.present += standing.images.present;
            images.pending += standing.images.pending;
            images.failed += standing.images.failed;
            images.drifted += standing.images.drifted;
            for (reason, count) in &standing.failed {
                *failed.entry(label(*reason)).or_insert(0) += count;
            }
            overdue += i64::from(standing.is_overdue(now));
        });
        mirrors.show(&self.mirrors);
        self.mirrors_overdue.set(overdue);
        for (state, count) in [
            ("present", images.present),
            ("pending", images.pending),
            ("failed", images.failed),
            ("drifted", images.drifted),
        ] {
            self.images.with_label_values(&[state]).set(count);
        }
        self.images_failed.reset();
        for (reason, count) in failed {
            self.images_failed.with_label_values(&[&reason]).set(count);
        }
    }
}

/// Gauges with one label.
fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntGaugeVec, prometheus::Error> {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), &[label])?)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// The value of the label.
fn label(reason: Option<Reason>) -> String {
    reason.map_or_else(|| OTHER.to_owned(), |reason| reason.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn mirror(status: &Value) -> StoredMirror {
        serde_json::from_value(json!({
            "apiVersion": "transship.dev/v1alpha1", "kind": "ImageMirror",
            "metadata": {"name": "web", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"sources": [{"image": "alpine:3"}], "destinations": [{"prefix": "one.test"}]},
            "status": status,
        }))
        .unwrap()
    }

    /// Every line of `series`, without the prefix of all, is in the text.
    pub(super) fn assert_has(metrics: &Metrics, series: &[&str]) {
        let text = metrics.render().unwrap();
        for line in series {
            let line = format!("transship_{line}");
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    pub(super) fn assert_has_no(metrics: &Metrics, words: &str) {
        let text = metrics.render().unwrap();
        assert!(!text.contains(words), "{text}");
    }

    #[test]
    fn mirrors_and_images_are_summed_until_they_are_gone() {
        let metrics = Metrics::new().unwrap();
        let has = |series: &[&str]| assert_has(&metrics, series);
        has(&[
            r#"mirrors{state="stalled"} 0"#,
            r#"images_failed{reason="VerificationFailed"} 0"#,
        ]);
        let failed = json!([{"source": "a", "destinations": [
            {"reference": "b", "state": "Failed", "reason": "PushDenied"},
        ]}]);
        metrics.observe(
            "a",
            &mirror(&json!({"present": 3, "pending": 2, "drifted": 1})),
        );
        metrics.observe(
            "b",
            &mirror(&json!({"present": 4, "failed": 1, "images": failed})),
        );
        has(&[
            r#"mirrors{state="progressing"} 2"#,
            "mirrors_overdue 2",
            r#"images{state="present"} 7"#,
            r#"images{state="pending"} 1"#,
            r#"images{state="drifted"} 1"#,
            r#"images_failed{reason="PushDenied"} 1"#,
        ]);
        metrics.forget("b");
        has(&[r#"images{state="present"} 3"#, "mirrors_overdue 1"]);
        assert_has_no(&metrics, "PushDenied");
    }

    #[test]
    fn a_reconcile_that_is_cancelled_counts_as_failed() {
        let metrics = Metrics::new().unwrap();
        metrics.reconcile(Kind::ImageMirror).finish(true);
        drop(metrics.reconcile(Kind::ImageMirror));
        assert_has(
            &metrics,
            &[
                r#"reconcile_total{kind="ImageMirror",outcome="success"} 1"#,
                r#"reconcile_total{kind="ImageMirror",outcome="failure"} 1"#,
                "reconcile_duration_seconds_count 2",
            ],
        );
    }
}
