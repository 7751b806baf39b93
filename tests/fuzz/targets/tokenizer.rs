//! A `tokenizer.json` of a stranger, and a text after a zero byte.
//!
//! Checks, besides panics and hangs: a tokenizer that is accepted keeps to the length limit.
#![no_main]

use std::{panic, process, sync::Once};

use libfuzzer_sys::fuzz_target;
use promptmix::{catches_panics, testing::tokenise};

/// libFuzzer's hook aborts for every panic; those that the program catches are no findings.
static HOOK: Once = Once::new();

fuzz_target!(|data: &[u8]| {
    HOOK.call_once(|| {
        panic::set_hook(Box::new(|info| {
            if !catches_panics() {
                eprintln!("{info}");
                process::abort();
            }
        }));
    });
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let json = parts.next().unwrap_or_default();
    let text = String::from_utf8_lossy(parts.next().unwrap_or(b"hello world"));
    if let Ok(ids) = tokenise(json, &text, 64) {
        assert!(ids.len() <= 64, "{} tokens", ids.len());
    }
});
