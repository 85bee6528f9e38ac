//! The registry of the tests itself: with the client, and with a plain HTTP client for its faults.

mod faults;
mod protocol;
mod service;
