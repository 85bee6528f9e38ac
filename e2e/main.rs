//! End-to-end tests: the operator, installed with its chart, on a real cluster with real registries.
//!
//! `make e2e` starts what they need. Nothing is skipped: without the cluster every test fails.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "what tests share fails like a test: by panicking, and says what it saw"
)]

mod admission;
mod audit;
mod bad_input;
#[path = "bench/build.rs"]
mod bench_build;
mod builders;
mod building;
mod conflict;
mod copying;
mod crash;
mod drift;
mod form;
mod gitops;
mod harness;
mod interruption;
mod lies;
mod limits;
mod node_death;
mod operations;
mod plugin;
mod policies;
mod pruning;
mod referrers;
mod seccomp_profile;
mod selection;
mod sharing;
mod stored;
mod tags;
mod verification;
