//! What the operator counts, in the text format of Prometheus.
//!
//! Labels are closed sets: never a name, a digest or the text of an error.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::api::ImageMirrorStatus;

/// The metrics of one process, in a registry of their own.
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_duration: Histogram,
    runs: IntCounterVec,
    run_bytes: IntCounter,
    images: IntGaugeVec,
    leader: IntGauge,
    /// Counts by namespace and name of the mirror, so that one that is deleted stops counting.
    image_counts: Mutex<HashMap<String, ImageCounts>>,
}

/// Images of one mirror by state.
#[derive(Clone, Copy, Debug, Default)]
struct ImageCounts {
    present: i64,
    pending: i64,
    failed: i64,
    drifted: i64,
}

/// Measures one reconcile. Dropped without [`ReconcileTimer::finish`], it counts as failed: that is
/// how a cancelled one ends.
pub(crate) struct ReconcileTimer<'a> {
    metrics: &'a Metrics,
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
            .with_label_values(&[outcome(self.succeeded)])
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
        let reconciles = IntCounterVec::new(
            Opts::new("reconcile_total", "Reconciles of mirrors by outcome."),
            &["outcome"],
        )?;
        let reconcile_duration = Histogram::with_opts(
            HistogramOpts::new(
                "reconcile_duration_seconds",
                "How long reconciles of mirrors take, scans included.",
            )
            .buckets(vec![
                0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0,
            ]),
        )?;
        let runs = IntCounterVec::new(
            Opts::new("run_total", "Runs that have ended, by outcome."),
            &["outcome"],
        )?;
        let run_bytes = IntCounter::new(
            "run_bytes_total",
            "Bytes of blobs that runs have sent to destinations.",
        )?;
        let images = IntGaugeVec::new(
            Opts::new(
                "images",
                "Images of all mirrors by state, counted once per destination.",
            ),
            &["state"],
        )?;
        let leader = IntGauge::new("leader", "Whether this replica is the leader.")?;
        let build = IntGaugeVec::new(
            Opts::new("build_info", "Always 1; the label is the version."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for outcome in ["success", "failure"] {
            reconciles.with_label_values(&[outcome]);
            runs.with_label_values(&[outcome]);
        }
        registry.register(Box::new(reconciles.clone()))?;
        registry.register(Box::new(reconcile_duration.clone()))?;
        registry.register(Box::new(runs.clone()))?;
        registry.register(Box::new(run_bytes.clone()))?;
        registry.register(Box::new(images.clone()))?;
        registry.register(Box::new(leader.clone()))?;
        registry.register(Box::new(build))?;
        let image_counts = Mutex::default();
        Ok(Self {
            registry,
            reconciles,
            reconcile_duration,
            runs,
            run_bytes,
            images,
            leader,
            image_counts,
        })
    }

    /// Starts to measure one reconcile.
    pub(crate) fn reconcile(&self) -> ReconcileTimer<'_> {
        ReconcileTimer {
            metrics: self,
            start: Instant::now(),
            succeeded: false,
        }
    }

    /// Counts a run that has ended.
    pub(crate) fn run_finished(&self, succeeded: bool, bytes: u64) {
        self.runs.with_label_values(&[outcome(succeeded)]).inc();
        self.run_bytes.inc_by(bytes);
    }

    /// Takes over the counts of one mirror's status; `mirror` is its namespace and name.
    pub(crate) fn images(&self, mirror: &str, status: &ImageMirrorStatus) {
        let counts = ImageCounts {
            present: status.present,
            // The status counts drifted images as pending as well; here each image has one state.
            pending: status.pending - status.drifted,
            failed: status.failed,
            drifted: status.drifted,
        };
        self.image_counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(mirror.to_owned(), counts);
    }

    /// Stops counting a mirror that is gone.
    pub(crate) fn forget(&self, mirror: &str) {
        self.image_counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(mirror);
    }

    /// Says whether this replica is the leader.
    pub(crate) fn leading(&self, leading: bool) {
        self.leader.set(i64::from(leading));
    }

    /// Everything in the text format.
    pub(crate) fn render(&self) -> Result<String, prometheus::Error> {
        let mut sum = ImageCounts::default();
        for counts in self
            .image_counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
        {
            sum.present += counts.present;
            sum.pending += counts.pending;
            sum.failed += counts.failed;
            sum.drifted += counts.drifted;
        }
        let states = [
            ("present", sum.present),
            ("pending", sum.pending),
            ("failed", sum.failed),
            ("drifted", sum.drifted),
        ];
        for (state, count) in states {
            self.images.with_label_values(&[state]).set(count);
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_summed_over_mirrors_until_these_are_gone() {
        let metrics = Metrics::new().unwrap();
        let status = |present, pending, drifted| ImageMirrorStatus {
            present,
            pending,
            drifted,
            ..ImageMirrorStatus::default()
        };
        metrics.images("a", &status(3, 2, 1));
        metrics.images("b", &status(4, 0, 0));
        let text = metrics.render().unwrap();
        assert!(
            text.contains(r#"transship_images{state="present"} 7"#),
            "{text}"
        );
        assert!(
            text.contains(r#"transship_images{state="pending"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"transship_images{state="drifted"} 1"#),
            "{text}"
        );
        metrics.forget("b");
        assert!(
            metrics
                .render()
                .unwrap()
                .contains(r#"transship_images{state="present"} 3"#)
        );
    }

    #[test]
    fn a_reconcile_that_is_cancelled_counts_as_failed() {
        let metrics = Metrics::new().unwrap();
        metrics.reconcile().finish(true);
        drop(metrics.reconcile());
        let text = metrics.render().unwrap();
        assert!(
            text.contains(r#"transship_reconcile_total{outcome="success"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"transship_reconcile_total{outcome="failure"} 1"#),
            "{text}"
        );
        assert!(
            text.contains("transship_reconcile_duration_seconds_count 2"),
            "{text}"
        );
    }
}
