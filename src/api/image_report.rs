//! The `ConfigMap`s with all images of a mirror, which `status.imageReports` names.

use k8s_openapi::api::core::v1::ConfigMap;

use super::{ImageMirror, ImageStatus, is_controlled_by};
use crate::packed;

/// The key of the one entry of such an object: a list of [`ImageStatus`], as JSON that is compressed with zstd.
pub const IMAGE_REPORT_KEY: &str = "images.json.zst";
/// Most bytes of it when it is unpacked.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Whether an object is a report of this mirror: owned by it, and by no other of its name.
#[must_use]
pub fn is_report_of(object: &ConfigMap, mirror: &ImageMirror) -> bool {
    let uid = mirror.metadata.uid.as_deref();
    uid.is_some_and(|uid| is_controlled_by(object, uid))
}

/// The images of a report; [`None`] when it is not one that the controller has written.
#[must_use]
pub fn reported_images(report: &ConfigMap) -> Option<Vec<ImageStatus>> {
    let packed = report.binary_data.as_ref()?.get(IMAGE_REPORT_KEY)?;
    packed::unpack(&packed.0, MAX_BYTES).ok()
}
