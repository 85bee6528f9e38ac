//! How often progress is written into a status.
//!
//! Everybody who watches an object gets each version of it, and etcd keeps them for a while. What a person or a
//! tool waits for is written at once; what only counts on is not.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two statuses of which the second says only how far a run is.
const PERIOD: Duration = Duration::from_secs(10);

/// When each object's status was last written, by its key.
#[derive(Debug, Default)]
pub(super) struct StatusPace(Mutex<HashMap<String, Instant>>);

impl StatusPace {
    /// Takes note that a status was written.
    pub(super) fn written(&self, key: &str) {
        self.lock().insert(key.to_owned(), Instant::now());
    }

    /// How long mere progress has to wait; nothing if it may be written now.
    pub(super) fn wait(&self, key: &str) -> Option<Duration> {
        let elapsed = self.lock().get(key)?.elapsed();
        PERIOD.checked_sub(elapsed).filter(|wait| !wait.is_zero())
    }

    /// The object is gone.
    pub(super) fn forget(&self, key: &str) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_waits_after_a_write_and_only_for_that_object() {
        let pace = StatusPace::default();
        assert_eq!(pace.wait("n/a"), None);
        pace.written("n/a");
        assert!(pace.wait("n/a").is_some_and(|wait| wait <= PERIOD));
        assert_eq!(pace.wait("n/b"), None);
        pace.forget("n/a");
        assert_eq!(pace.wait("n/a"), None);
    }
}
