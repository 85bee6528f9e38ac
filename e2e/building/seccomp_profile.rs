//! Builds with the profile that the chart brings onto nodes.

use super::workshop::Workshop;
use crate::harness::Build;
use crate::seccomp_profile::DaemonSet;

#[tokio::test]
async fn a_build_has_the_profile_that_the_chart_has_brought_onto_its_node() {
    let workshop = Workshop::alone("building-profile").await;
    let _daemon_set = DaemonSet::install();
    // The step sees that there is a filter.
    let dockerfile = "ARG BASE\nFROM ${BASE}\n\
        RUN grep -q '^Seccomp:[[:space:]]*2$' /proc/self/status\n";
    let spec = workshop.spec("app", dockerfile);
    let build = Build::apply(&workshop.cluster, &workshop.namespace, "app", &spec);
    build.wait_ready().await;
}
