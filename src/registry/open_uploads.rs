//! Which uploads are open, so that a process that is told to stop can end them.
//!
//! It knows nothing of HTTP; the requests are made in `upload.rs`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

use super::auth::Scopes;

/// The open uploads of one registry.
#[derive(Default)]
pub(super) struct OpenUploads(Mutex<Table>);

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

    /// All that are open. From now on they are somebody else's business.
    pub(super) fn take(&self) -> Vec<OpenUpload> {
        self.table()
            .uploads
            .drain()
            .map(|(_, upload)| upload)
            .collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_ended_is_left_where_it_went() {
        let uploads = OpenUploads::default();
        let url = |text: &str| text.parse::<Url>().unwrap();
        let scopes = Scopes::push(&"app".parse().unwrap());
        let first = uploads.add(url("http://r.test/1"), scopes.clone());
        let second = uploads.add(url("http://r.test/2"), scopes);
        uploads.moved(second, &url("http://r.test/3"));
        uploads.remove(first);
        uploads.moved(first, &url("http://r.test/4"));
        let left: Vec<_> = uploads.take().into_iter().map(|it| it.location).collect();
        assert_eq!(left, [url("http://r.test/3")]);
        assert!(uploads.take().is_empty());
    }
}
