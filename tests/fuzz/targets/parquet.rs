//! A Parquet file.
//!
//! Checks, besides panics and memory: a text that was read is not empty, and a fault names the file.
#![no_main]

use std::{panic, sync::Once};

use libfuzzer_sys::fuzz_target;
use promptmix::testing::read_rows;

/// Panics of the parser that the program catches are no findings.
static HOOK: Once = Once::new();

fuzz_target!(|data: &[u8]| {
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !promptmix::catches_panics() {
                report(info);
            }
        }));
    });
    // Many rows of the same few bytes are no fault, but take their time.
    for row in read_rows("x.parquet", data).take(100_000) {
        match row {
            Ok(text) => assert!(!text.trim().is_empty(), "an empty text was accepted"),
            Err(reason) => assert!(reason.starts_with("x.parquet"), "{reason}"),
        }
    }
});
