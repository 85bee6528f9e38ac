//! The registry of the tests itself: with the client, and with a plain HTTP client for its faults.

mod faults;
mod service;

use crate::support::install_tls_provider;

/// A client that does what it is told and nothing else, each time over a new connection.
fn http() -> reqwest::Client {
    install_tls_provider();
    reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}
