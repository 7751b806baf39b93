//! A `config.json` of a stranger: the first byte is the number of rows of its classifier.
//!
//! Checks, besides panics: the classes of an accepted file are as many as the rows, and differ.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use promptmix::testing::classes;

fuzz_target!(|data: &[u8]| {
    let Some((&rows, json)) = data.split_first() else { return };
    match classes(json, usize::from(rows)) {
        Ok(labels) => {
            assert_eq!(labels.len(), usize::from(rows));
            assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), labels.len());
        }
        Err(message) => assert!(!message.is_empty()),
    }
});
