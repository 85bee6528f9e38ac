//! Tells a slow body from one that stands still.
//!
//! Pure: it is told how long was waited and how many bytes came.

use std::time::Duration;

/// Bytes that must come within one window of waiting. A server that sends single bytes to keep a
/// connection open falls below it, a modem of the last century does not.
pub(super) const LEAST_PROGRESS: u64 = 8 * 1024;

/// How a body keeps up. Only waiting counts, so that a reader who takes his time is not blamed on
/// the sender.
#[derive(Debug)]
pub(super) struct Pace {
    window: Duration,
    waited: Duration,
    received: u64,
}

impl Pace {
    /// A pace that wants [`LEAST_PROGRESS`] bytes, or the end, within each `window`.
    pub(super) const fn new(window: Duration) -> Self {
        Self {
            window,
            waited: Duration::ZERO,
            received: 0,
        }
    }

    /// How long the next bytes may take.
    pub(super) const fn allowance(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    /// Takes note of `bytes` that came after `waited`.
    pub(super) const fn received(&mut self, bytes: u64, waited: Duration) {
        self.waited = self.waited.saturating_add(waited);
        self.received = self.received.saturating_add(bytes);
        if self.received >= LEAST_PROGRESS {
            self.waited = Duration::ZERO;
            self.received = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn single_bytes_use_up_the_window() {
        let mut pace = Pace::new(10 * SECOND);
        for _ in 0..9 {
            pace.received(1, SECOND);
        }
        assert_eq!(pace.allowance(), SECOND);
        pace.received(1, 5 * SECOND);
        assert_eq!(pace.allowance(), Duration::ZERO);
    }

    #[test]
    fn enough_bytes_open_a_new_window() {
        let mut pace = Pace::new(10 * SECOND);
        pace.received(LEAST_PROGRESS - 1, 9 * SECOND);
        assert_eq!(pace.allowance(), SECOND);
        pace.received(1, SECOND);
        assert_eq!(pace.allowance(), 10 * SECOND);
    }
}
