//! What is copied of an image, and how wide.

use std::time::Duration;

use super::Selection;

/// How images are copied.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which platforms of an index are copied.
    pub platforms: Selection,
    /// Whether signatures, attestations and other referrers come along.
    pub referrers: bool,
    /// Images that are copied at once.
    pub parallel_images: usize,
    /// The wait before something is tried again that its client has given up; it doubles from there.
    pub first_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            platforms: Selection::All,
            referrers: true,
            parallel_images: 48,
            first_wait: Duration::from_millis(100),
        }
    }
}
