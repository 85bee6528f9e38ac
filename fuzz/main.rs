//! The fuzzer: libFuzzer with the target that `FUZZ_TARGET` names. `fuzz/run` builds and runs it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use transship::fuzzing::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    assert!(
        found.is_some(),
        "FUZZ_TARGET must be one of {:?}",
        TARGETS.map(|(name, _)| name)
    );
    found.map_or(|_| {}, |(_, target)| *target)
});

fuzz_target!(|input: &[u8]| TARGET(input));
