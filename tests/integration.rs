//! Integration tests: the library against real registries and against servers that misbehave.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what tests share fails like a test: by panicking"
)]

mod attestation;
mod bad_specs;
mod build;
mod cli;
mod copy;
mod definitions;
mod documents;
mod fake_registry;
mod git;
mod gitops;
mod monitoring;
mod protocol;
mod registry;
mod support;
mod transports;
mod verify;
mod worker;
