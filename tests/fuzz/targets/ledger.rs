//! The ledger of a run. The first byte chooses: read the bytes as they are, or change the ledger that
//! is made of them at one place.
//!
//! Beside panics: what is read leads to the same chain when it is written again; a changed line
//! never passes for the old one.
#![no_main]

use std::{collections::BTreeMap, path::Path};

use libfuzzer_sys::fuzz_target;
use promptmix::testing::{Entry, parse_ledger};
use serde::Serialize;
use sha2::{Digest, Sha256};

fn read(bytes: &[u8]) -> Option<(Vec<Entry>, String, usize)> {
    parse_ledger(Path::new("ledger.jsonl"), bytes).ok()
}

/// A line as the format says: its number, the hash of the line before, the entry.
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
        let line = serde_json::to_vec(&Line { n, prev, entry }).expect("it is JSON");
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
            let (entries_again, _, whole) = read(&again).expect("what was written can be read");
            assert_eq!(whole, again.len());
            // Numbers that are no numbers are not equal to themselves.
            if entries == entries {
                assert_eq!(entries, entries_again);
            }
            // Only another way to write the same JSON leads to another hash.
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
    let (sound, last, length) = read(&bytes).expect("what was written can be read");
    assert_eq!((&sound, length), (&entries, bytes.len()));
    let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len();
    if bytes[at] == value {
        return;
    }
    bytes[at] = value;
    if let Some((found, found_last, _)) = read(&bytes) {
        // In the last line a change shows only by the hash, which the next line would carry.
        let kept = found.iter().zip(&sound).take_while(|(a, b)| a == b).count();
        assert!(kept + 1 >= found.len(), "a change before the last line passed");
        assert!(
            found.len() < sound.len() || found_last != last,
            "a change left the hash as it was"
        );
    }
});
