//! The executable that libFuzzer drives: `FUZZ_TARGET` says with which target.
#![no_main]

use std::sync::LazyLock;

use fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    match TARGETS.iter().find(|(name, _)| *name == wanted) {
        Some((_, target)) => *target,
        None => {
            let names = TARGETS.map(|(name, _)| name).join(", ");
            // There is nobody to return an error to: the fuzzer has `main`.
            #[allow(clippy::panic)]
            {
                panic!("FUZZ_TARGET={wanted:?} is none of {names}")
            }
        }
    }
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
