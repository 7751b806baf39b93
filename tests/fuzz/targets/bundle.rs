//! A bundle: its index as JSON, a zero byte, its frames. A bundle with a wrong signature or hash is
//! rejected early, so the first byte chooses how much is corrected before reading: 0 nothing (the
//! bytes are the file), 1 the signature and the frames' hashes, 2 the whole tar, so that only the
//! index's names, modes and models are hostile.
//!
//! Checks, besides panics: no accepted name leads out of a folder, and no two accepted names are
//! the same file.
#![no_main]

use std::{
    collections::HashSet,
    path::{Component, Path},
};

use ed25519_dalek::{Signer, SigningKey};
use libfuzzer_sys::fuzz_target;
use promptmix::testing::is_bundle;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zstd::zstd_safe::CParameter;

fn hash(bytes: &[u8]) -> Value {
    format!("{:x}", Sha256::digest(bytes)).into()
}

/// Adds the end of the file as `src/bundle/index.rs` defines it, signed.
fn signed(mut frames: Vec<u8>, index: &Value) -> Vec<u8> {
    let key = SigningKey::from_bytes(&[7; 32]);
    let index = serde_json::to_vec(index).expect("JSON");
    frames.extend(0x184D_2A5B_u32.to_le_bytes());
    frames.extend((index.len() as u32 + 112).to_le_bytes());
    frames.extend(&index);
    frames.extend(key.verifying_key().as_bytes());
    frames.extend(key.sign(&index).to_bytes());
    frames.extend((index.len() as u64).to_le_bytes());
    frames.extend(b"PMIXBND1");
    frames
}

/// Corrects the frames' hashes in the index.
fn correct_hashes(index: &mut Value, frames: &[u8]) {
    for segment in index["segments"].as_array_mut().into_iter().flatten() {
        let (Some(offset), Some(length)) = (segment["offset"].as_u64(), segment["length"].as_u64())
        else {
            continue;
        };
        let (Ok(from), Ok(length)) = (usize::try_from(offset), usize::try_from(length)) else {
            continue;
        };
        let part = from.checked_add(length).and_then(|to| frames.get(from..to));
        if let (Some(part), Some(segment)) = (part, segment.as_object_mut()) {
            segment.insert("sha256".into(), hash(part));
        }
    }
}

/// Builds the tar and the frame for the index's members, with their contents taken from `bytes`.
fn build_frame(index: &mut Value, bytes: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut rest = bytes;
    for member in index["members"].as_array_mut().into_iter().flatten() {
        let Some(path) = member["path"].as_str().map(str::to_owned) else { continue };
        let wanted = usize::try_from(member["size"].as_u64().unwrap_or(0)).unwrap_or(0);
        let (content, left) = rest.split_at(wanted.min(rest.len()));
        rest = left;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(if member["mode"] == "0755" { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let _ = tar.append_data(&mut header, &path, content);
        if let Some(member) = member.as_object_mut() {
            member.insert("size".into(), content.len().into());
            member.insert("sha256".into(), hash(content));
        }
    }
    let tar = tar.into_inner().unwrap_or_default();
    let mut frame = zstd::bulk::Compressor::new(1).expect("a compressor");
    let parameters = [CParameter::ChecksumFlag(true), CParameter::ContentSizeFlag(true)];
    parameters.into_iter().for_each(|set| frame.set_parameter(set).expect("a parameter"));
    let frame = frame.compress(&tar).unwrap_or_default();
    if let Some(index) = index.as_object_mut() {
        let segment =
            json!({"offset": 0, "length": frame.len(), "raw": tar.len(), "sha256": hash(&frame)});
        index.insert("segments".into(), json!([segment]));
    }
    frame
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let index = parts.next().unwrap_or_default();
    let frames = parts.next().unwrap_or_default();
    let (bytes, index) = match (choice % 3, serde_json::from_slice::<Value>(index)) {
        (0, _) | (_, Err(_)) => (data.to_vec(), Value::Null),
        (_, Ok(index)) if !index.is_object() => return,
        (1, Ok(mut index)) => {
            correct_hashes(&mut index, frames);
            (signed(frames.to_vec(), &index), index)
        }
        (_, Ok(mut index)) => {
            let frame = build_frame(&mut index, frames);
            (signed(frame, &index), index)
        }
    };
    if !is_bundle(&bytes) {
        return;
    }
    let mut seen = HashSet::new();
    for member in index["members"].as_array().into_iter().flatten() {
        let path = member["path"].as_str().expect("an accepted name");
        let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        assert!(plain && !path.is_empty() && !path.contains('\\'), "{path:?} was accepted");
        assert!(seen.insert(path.to_lowercase()), "{path:?} was accepted twice");
    }
});
