//! What the pods of a build say of themselves.

/// Label with the UID of the build, by which its pods are found.
pub const BUILD_UID_LABEL: &str = "transship.dev/build-uid";
/// Label with the number of the build.
pub const BUILD_NUMBER_LABEL: &str = "transship.dev/build-number";
/// Label with the number of the attempt at it.
pub const BUILD_ATTEMPT_LABEL: &str = "transship.dev/build-attempt";
/// Annotation with the platform that a pod builds for, for example `linux/arm64`.
pub const BUILD_PLATFORM_ANNOTATION: &str = "transship.dev/platform";
