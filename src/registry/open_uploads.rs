//! Which uploads are open, so that a process that is told to stop can end them.
//!
//! It knows nothing of HTTP; the requests are made in `upload.rs`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;
use url::Url;

use super::auth::Scopes;

/// The open uploads of one registry.
#[derive(Default)]
pub(super) struct OpenUploads {
    table: Mutex<Table>,
    opening: TaskTracker,
}

#[derive(Default)]
struct Table {
    next: u32,
    uploads: HashMap<u32, OpenUpload>,
}

/// Where an open upload is and with which rights it was opened.
#[derive(Clone)]
pub(super) struct OpenUpload {
    /// Its location by the last answer about it.
    pub(super) location: Url,
    pub(super) scopes: Scopes,
}

impl OpenUploads {
    /// Takes note of an upload; it gets a number.
    pub(super) fn add(&self, location: Url, scopes: Scopes) -> u32 {
        let mut table = self.table();
        table.next = table.next.wrapping_add(1);
        let number = table.next;
        table
            .uploads
            .insert(number, OpenUpload { location, scopes });
        number
    }

    /// The upload is elsewhere now.
    pub(super) fn moved(&self, number: u32, location: &Url) {
        if let Some(upload) = self.table().uploads.get_mut(&number) {
            upload.location.clone_from(location);
        }
    }

    /// The upload has ended, or is kept for the next process.
    pub(super) fn remove(&self, number: u32) {
        self.table().uploads.remove(&number);
    }

    /// Carries out `request`, which opens an upload, to its end even if nobody waits for it any more:
    /// without the answer nobody knows what to end. [`None`] when the runtime ends before.
    pub(super) async fn open<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.opening.spawn(request).await.ok()
    }

    /// All that are open, once those that are being opened are. From now on they are somebody else's
    /// business.
    pub(super) async fn take(&self) -> Vec<OpenUpload> {
        self.opening.close();
        self.opening.wait().await;
        self.table()
            .uploads
            .drain()
            .map(|(_, upload)| upload)
            .collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn what_has_not_ended_is_left_where_it_went() {
        let uploads = OpenUploads::default();
        let url = |text: &str| text.parse::<Url>().unwrap();
        let scopes = Scopes::push(&"app".parse().unwrap());
        let first = uploads.add(url("http://r.test/1"), scopes.clone());
        let second = uploads.add(url("http://r.test/2"), scopes);
        uploads.moved(second, &url("http://r.test/3"));
        uploads.remove(first);
        uploads.moved(first, &url("http://r.test/4"));
        let left = uploads.take().await;
        let left: Vec<_> = left.into_iter().map(|it| it.location).collect();
        assert_eq!(left, [url("http://r.test/3")]);
        assert!(uploads.take().await.is_empty());
    }

    #[tokio::test]
    async fn an_upload_that_nobody_waits_for_any_more_is_opened_and_left() {
        let uploads = Arc::new(OpenUploads::default());
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        let opening = {
            let uploads = Arc::clone(&uploads);
            async move {
                let _ = answered.await;
                let scopes = Scopes::push(&"app".parse().unwrap());
                uploads.add("http://r.test/1".parse().unwrap(), scopes);
            }
        };
        assert!(futures::poll!(Box::pin(uploads.open(opening))).is_pending());
        let (left, ()) = futures::join!(uploads.take(), async {
            let _ = answer.send(());
        });
        assert_eq!(left.len(), 1);
    }
}
