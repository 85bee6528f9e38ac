//! Who keeps an object as Git has it, by the marks that GitOps tools leave. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::cli::output::harmless;

/// Argo CD's mark in its newer modes, `APPLICATION:GROUP/KIND:NAMESPACE/NAME`.
const ARGO_TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
/// Argo CD's mark in its older mode, and Helm's name of a release.
const INSTANCE: &str = "app.kubernetes.io/instance";
/// Says `Helm` on what Helm installed without a GitOps tool.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The marks of Flux and what kind of object they name.
const FLUX: [(&str, &str); 2] = [
    ("kustomize.toolkit.fluxcd.io/name", "Kustomization"),
    ("helm.toolkit.fluxcd.io/name", "HelmRelease"),
];

/// The tool that manages an object from Git, and the object that tells it to.
pub(super) fn owner(metadata: &ObjectMeta) -> Option<String> {
    let label = |key: &str| metadata.labels.as_ref()?.get(key);
    let annotation = |key: &str| metadata.annotations.as_ref()?.get(key);
    let owner = if let Some(id) = annotation(ARGO_TRACKING_ID).or_else(|| label(ARGO_TRACKING_ID)) {
        let application = id.split(':').next().unwrap_or_default();
        format!("Argo CD (Application {application})")
    } else if let Some((name, kind)) = FLUX
        .iter()
        .find_map(|(key, kind)| Some((label(key)?, kind)))
    {
        format!("Flux ({kind} {name})")
    } else {
        let instance = label(INSTANCE)?;
        if label(MANAGED_BY).is_some_and(|tool| tool == "Helm") {
            return None;
        }
        format!("Argo CD (Application {instance})")
    };
    Some(harmless(&owner))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::nobody(json!({"labels": {"app": "x"}}), None)]
    #[case::argo_annotation(
        json!({"annotations": {ARGO_TRACKING_ID: "shop:transship.dev/ImageMirror:shop/base"}}),
        Some("Argo CD (Application shop)")
    )]
    #[case::argo_label(json!({"labels": {ARGO_TRACKING_ID: "shop:x:y"}}), Some("Argo CD (Application shop)"))]
    #[case::argo_instance(json!({"labels": {INSTANCE: "shop"}}), Some("Argo CD (Application shop)"))]
    #[case::helm_alone(json!({"labels": {INSTANCE: "shop", MANAGED_BY: "Helm"}}), None)]
    #[case::helm_by_argo(
        json!({"labels": {INSTANCE: "shop", MANAGED_BY: "Helm"}, "annotations": {ARGO_TRACKING_ID: "shop:x:y"}}),
        Some("Argo CD (Application shop)")
    )]
    #[case::flux(
        json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps", INSTANCE: "shop"}}),
        Some("Flux (Kustomization apps)")
    )]
    #[case::flux_helm(
        json!({"labels": {"helm.toolkit.fluxcd.io/name": "shop", MANAGED_BY: "Helm"}}),
        Some("Flux (HelmRelease shop)")
    )]
    fn the_marks_of_tools_name_the_owner(#[case] metadata: Value, #[case] expected: Option<&str>) {
        let metadata = serde_json::from_value(metadata).unwrap();
        assert_eq!(owner(&metadata).as_deref(), expected);
    }
}
