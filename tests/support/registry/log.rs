//! What the registry was asked and what it answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, Method, Version};

use super::route::Endpoint;

/// One request and the answer to it.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) endpoint: Endpoint,
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Without the question mark; empty if there is none.
    pub(crate) query: String,
    pub(crate) version: Version,
    /// Every header with every byte of its value.
    pub(crate) headers: HeaderMap,
    /// How many bytes of its body arrived.
    pub(crate) body_bytes: u64,
    /// 0 for a request that was cut off.
    pub(crate) status: u16,
    pub(super) sent: Arc<AtomicU64>,
}

impl Recorded {
    /// How many bytes of the response's body were handed to the connection so far.
    pub(crate) fn response_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// A header as text, if there is one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The values of a query parameter, decoded.
    pub(crate) fn query_values(&self, name: &str) -> Vec<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }

    /// The first value of a query parameter.
    pub(super) fn query_value(&self, name: &str) -> Option<String> {
        self.query_values(name).into_iter().next()
    }
}
