//! Upload sessions that nobody ended, because the work was broken off in the middle of them.
//!
//! A future that is dropped can send nothing any more. It leaves its session here, and whoever broke
//! the work off has them ended before the process is.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tokio_util::task::TaskTracker;
use url::Url;

use super::auth::Scopes;

/// Most sessions that are remembered; more are never open at once.
const MAX_LEFT: usize = 1024;

/// A session with all that is needed to end it.
pub(super) struct LeftUpload {
    /// Where it is. Its query can be all that is needed to write there.
    pub(super) location: Url,
    pub(super) scopes: Scopes,
}

/// The sessions that were left open.
#[derive(Default)]
pub(super) struct LeftUploads {
    left: Mutex<Vec<LeftUpload>>,
    opening: TaskTracker,
}

impl fmt::Debug for LeftUploads {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LeftUploads")
    }
}

impl LeftUploads {
    pub(super) fn add(&self, upload: LeftUpload) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() < MAX_LEFT {
            left.push(upload);
        }
    }

    /// Carries out `request`, which opens a session, to its end even if nobody waits for it any more:
    /// without the answer nobody knows what to end. [`None`] when the process ends.
    pub(super) async fn open<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.opening.spawn(request).await.ok()
    }

    /// Takes them all, once those that are being opened are open; each is ended once.
    pub(super) async fn take(&self) -> Vec<LeftUpload> {
        self.opening.close();
        self.opening.wait().await;
        std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
