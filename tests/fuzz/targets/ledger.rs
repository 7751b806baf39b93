//! The ledger of a run. The first byte chooses: read the bytes as a ledger, or build a ledger from
//! them and change one of its bytes.
//!
//! Checks, besides panics: entries that were read give the same chain when they are written again,
//! and no change of a line goes unnoticed.
#![no_main]

use std::{collections::BTreeMap, path::Path};

use libfuzzer_sys::fuzz_target;
use promptmix::testing::{Entry, parse_ledger};
use serde::Serialize;
use sha2::{Digest, Sha256};

fn read(bytes: &[u8]) -> Option<(Vec<Entry>, String, usize)> {
    parse_ledger(Path::new("ledger.jsonl"), bytes).ok()
}

/// A line of the file: its number, the hash of the line before, the entry.
#[derive(Serialize)]
struct Line<'a> {
    n: usize,
    prev: String,
    #[serde(flatten)]
    entry: &'a Entry,
}

fn written(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut prev = format!("{:x}", Sha256::digest(b""));
    for (n, entry) in entries.iter().enumerate() {
        let line = serde_json::to_vec(&Line { n, prev, entry }).expect("an entry is JSON");
        prev = format!("{:x}", Sha256::digest(&line));
        bytes.extend(line);
        bytes.push(b'\n');
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    if choice & 1 == 0 {
        if let Some((entries, last, length)) = read(data) {
            assert!(length <= data.len());
            let again = written(&entries);
            let (entries_again, _, whole) = read(&again).expect("a written ledger can be read");
            assert_eq!(whole, again.len());
            // NaN is not equal to itself.
            if entries == entries {
                assert_eq!(entries, entries_again);
            }
            // The hash may only differ if the same JSON was written in another form.
            if again == data[..length] {
                assert_eq!(read(&again).map(|(_, last, _)| last), Some(last));
            }
        }
        return;
    }
    let Some((&[high, low, value], texts)) = data.split_first_chunk() else { return };
    let texts = String::from_utf8_lossy(texts);
    let entries: Vec<Entry> = texts
        .split('\u{0}')
        .map(|text| Entry::Stage {
            stage: text.to_owned(),
            counts: BTreeMap::from([(text.to_owned(), text.len())]),
            files: Default::default(),
        })
        .collect();
    let mut bytes = written(&entries);
    let (sound, last, length) = read(&bytes).expect("a written ledger can be read");
    assert_eq!((&sound, length), (&entries, bytes.len()));
    let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len();
    if bytes[at] == value {
        return;
    }
    bytes[at] = value;
    if let Some((found, found_last, _)) = read(&bytes) {
        // A change of the last line only shows in its hash, which the next line would carry.
        let kept = found.iter().zip(&sound).take_while(|(a, b)| a == b).count();
        assert!(kept + 1 >= found.len(), "a change before the last line went unnoticed");
        assert!(
            found.len() < sound.len() || found_last != last,
            "a change did not alter the hash"
        );
    }
});
