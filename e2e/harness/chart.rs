//! The chart that the operator is installed with.

use super::cluster::OPERATOR_NAMESPACE;
use super::tool::run;

/// Its directory.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/transship");

/// Changes some of its values.
pub(crate) fn upgrade_chart(settings: &[&str]) {
    let command = [
        "helm",
        "upgrade",
        "transship",
        CHART,
        "--namespace",
        OPERATOR_NAMESPACE,
        "--reset-then-reuse-values",
    ];
    run(&[&command[..], settings].concat());
}
