//! What is copied of an image, and how wide.

/// How images are copied.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether signatures, attestations and other referrers come along.
    pub referrers: bool,
    /// Images that are copied at once.
    pub parallel_images: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            referrers: true,
            parallel_images: 16,
        }
    }
}
