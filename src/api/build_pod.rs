//! What the pods of a build say of themselves.

use k8s_openapi::api::core::v1::Pod;

/// Label with the UID of the build, by which its pods are found.
pub const BUILD_UID_LABEL: &str = "transship.dev/build-uid";
/// Label with the number of the build.
pub const BUILD_NUMBER_LABEL: &str = "transship.dev/build-number";
/// Label with the number of the attempt at it.
pub const BUILD_ATTEMPT_LABEL: &str = "transship.dev/build-attempt";
/// Annotation with the platform that a pod builds for, for example `linux/arm64`.
pub const BUILD_PLATFORM_ANNOTATION: &str = "transship.dev/platform";

/// The phase of a pod, for example `Running`; nothing before it has one.
#[must_use]
pub fn pod_phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// Whether the containers of a pod are done, successfully or not.
#[must_use]
pub fn has_ended(pod: &Pod) -> bool {
    matches!(pod_phase(pod), "Succeeded" | "Failed")
}
