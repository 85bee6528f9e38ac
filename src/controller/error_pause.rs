//! How long an object rests after a failed reconcile: longer after each failure in a row.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_mins(5);

/// Failures in a row by namespace and name of the object. An object that succeeds, or is gone, takes no room.
#[derive(Debug, Default)]
pub(crate) struct ErrorPauses(Mutex<HashMap<String, u32>>);

impl ErrorPauses {
    /// Counts a failure and says how long to rest: 1 s, 2 s, 4 s, up to 5 min.
    pub(crate) fn failed(&self, object: &str) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        let pause = MIN_PAUSE
            .saturating_mul(2u32.saturating_pow(*count))
            .min(MAX_PAUSE);
        *count = count.saturating_add(1);
        pause
    }

    /// Forgets the failures of an object.
    pub(crate) fn succeeded(&self, object: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_success() {
        let pauses = ErrorPauses::default();
        let seconds: Vec<u64> = (0..12).map(|_| pauses.failed("a").as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(pauses.failed("b").as_secs(), 1);
        pauses.succeeded("a");
        assert_eq!(pauses.failed("a").as_secs(), 1);
    }
}
