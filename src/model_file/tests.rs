use std::{fs, path::Path};

use super::*;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pocket(name: &str) -> Vec<u8> {
    fs::read(repository().join("models/pocket").join(name)).unwrap()
}

#[test]
fn the_models_of_this_repository_pass() {
    let teacher = check(&repository().join("models/pocket/teacher/pocket-teacher.gguf")).unwrap();
    let teacher = teacher.gguf().unwrap();
    assert_eq!(teacher.architecture.as_deref(), Some("llama"));
    assert_eq!((teacher.tensors, teacher.context_length), (38, Some(1024)));
    assert_eq!(teacher.vocabulary.bos(), "<|begin|>");
    assert!(teacher.vocabulary.control().contains(&"<|end|>".to_owned()));
    assert!(teacher.chat_template.as_deref().unwrap().contains("<|assistant|>"));
    for student in
        ["models/pocket/student", "tests/data/student/bert", "tests/data/student/distilbert"]
    {
        let path = repository().join(student).join("model.safetensors");
        assert!(matches!(check(&path).unwrap(), Header::Safetensors(found) if found.tensors > 10));
    }
}

/// Bytes all over a header are changed, and the file is cut there: the check returns.
#[test]
fn flipped_and_cut_headers_do_not_panic() {
    for (name, header) in
        [("teacher/pocket-teacher.gguf", 107_000), ("student/model.safetensors", 9_000)]
    {
        let whole = pocket(name);
        assert!(check_bytes(&whole).is_ok());
        let mut bytes = whole.clone();
        // Fewer positions in the middle of the vocabulary, where all bytes are alike.
        let places = (0..1_500).step_by(11).chain((1_500..header).step_by(1_777));
        let places = places.chain((header - 2_500..header).step_by(19));
        for at in places {
            bytes[at] ^= 1 << (at % 8);
            let _ = check_bytes(&bytes);
            bytes[at] = 0xff;
            let _ = check_bytes(&bytes);
            bytes[at] = whole[at];
            if at % 3 == 0 {
                assert!(check_bytes(&whole[..at]).is_err(), "{name} cut at {at} passed");
            }
        }
        assert!(check_bytes(&whole[..whole.len() - 1]).is_err());
        assert!(check_bytes(&[&whole[..], &[0; 40]].concat()).is_err());
    }
}

fn refused(header: &str, data: usize, why: &str) {
    let message = check_bytes(&packed(header, data)).expect_err(why).message;
    assert!(message.contains(why), "wanted {why:?}, got {message:?}");
}

fn packed(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 1);
    bytes
}

fn one(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
}

#[test]
fn invalid_safetensors_are_refused() {
    assert!(check_bytes(&packed(&one("F32", "[2,1]", "[0,8]"), 8)).is_ok());
    assert!(check_bytes(&packed(&one("F32", "[]", "[0,4]"), 4)).is_ok());
    assert!(check_bytes(&packed(&(one("F4", "[2]", "[0,1]") + "  "), 1)).is_ok());
    assert!(check_bytes(&packed(r#"{"__metadata__":{"format":"pt"}}"#, 0)).is_ok());
    refused(&one("F32", "[2]", "[0,8]"), 9, "its tensors have 8 bytes, but 9 are there");
    refused(&one("F32", "[2]", "[0,8]"), 7, "does not lie inside");
    refused(&one("F32", "[2]", "[0,4]"), 4, "does not match its shape");
    refused(&one("F32", "[2]", "[8,0]"), 8, "leaves a hole");
    refused(&one("F32", "[2]", "[1,9]"), 9, "leaves a hole");
    refused(&one("F33", "[2]", "[0,8]"), 8, "unknown type");
    refused(&one("F4", "[1]", "[0,0]"), 0, "does not match its shape");
    refused(&one("U8", "[4294967296,4294967296]", "[0,0]"), 0, "can be counted");
    refused(&one("F64", "[2305843009213693952]", "[0,0]"), 0, "can be counted");
    refused(&one("U8", "[-1]", "[0,1]"), 1, "its header: ");
    refused(&one("U8", "[1e30]", "[0,1]"), 1, "its header: ");
    refused(&one("U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, "too many dimensions");
    refused(&one("U8", &("[".repeat(9_999) + &"]".repeat(9_999)), "[0,1]"), 1, "its header: ");
    refused(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}}"#, 1, "more");
    refused(r#"{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1, "dtype");
    refused(r#"{"__metadata__":{},"__metadata__":{}}"#, 0, "occurs twice");
    let pair = |first: &str, offsets: &str| {
        let other = r#""dtype":"U8","shape":[4],"data_offsets""#;
        format!(r#"{{"{first}":{{{other}:[0,4]}},"b":{{{other}:{offsets}}}}}"#)
    };
    assert!(check_bytes(&packed(&pair("a", "[4,8]"), 8)).is_ok());
    refused(&pair("b", "[4,8]"), 8, "occurs twice");
    refused(&pair("a", "[2,6]"), 6, "overlaps another");
    refused(&pair("a", "[0,4]"), 4, "overlaps another");
    refused(&pair("a", "[5,9]"), 9, "leaves a hole");
    refused(&pair(&"a".repeat(5_000), "[4,8]"), 8, "too long a name");
    for length in [u64::MAX, 1 << 40, 100_000_001, 20] {
        let mut bytes = packed("{}       ", 0);
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        assert!(check_bytes(&bytes).unwrap_err().message.contains("its header claims"), "{length}");
    }
}

#[test]
fn other_files_are_recognised() {
    let message = |bytes: &[u8]| check_bytes(bytes).unwrap_err().message;
    assert!(message(b"version https://git-lfs.github.com/spec/v1\n").contains("git-lfs"));
    assert!(message(b"<!DOCTYPE html>").contains("web page"));
    assert!(message(b"PK\x03\x04 and so on").contains("pickle"));
    assert!(message(b"tjgg and so on").contains("before GGUF"));
    assert!(message(b"").contains("empty"));
    assert!(message(b"GGU").contains("neither"));
    let folder = tempfile::tempdir().unwrap();
    assert!(check(folder.path()).unwrap_err().hint().is_some());
    let error = check(&folder.path().join("nothing.gguf")).unwrap_err();
    assert!(error.to_string().contains("nothing.gguf") && error.hint().is_some(), "{error}");
}

/// llama.cpp opens the other parts by itself, so they are checked with the first one.
#[test]
fn the_other_parts_of_a_split_model_are_checked_too() {
    let part = |number: u16| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(2u64.to_le_bytes());
        for (key, value) in [("split.no", number), ("split.count", 2)] {
            bytes.extend((key.len() as u64).to_le_bytes());
            bytes.extend(key.as_bytes());
            bytes.extend(2u32.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |number| folder.path().join(format!("m-{number:05}-of-00002.gguf"));
    fs::write(path(1), part(0)).unwrap();
    let missing = check(&path(1)).unwrap_err().to_string();
    assert!(missing.contains("m-00002-of-00002.gguf"), "{missing}");
    fs::write(path(2), part(0)).unwrap();
    assert!(check(&path(1)).unwrap_err().to_string().contains("not part 2 of 2"));
    fs::write(path(2), b"GGUF\x01\0\0\0").unwrap();
    assert!(check(&path(1)).unwrap_err().to_string().contains("m-00002-of-00002.gguf"));
    fs::write(path(2), part(1)).unwrap();
    assert!(check(&path(1)).is_ok());
    let error = check(&path(2)).unwrap_err();
    assert!(error.to_string().contains("it is part 2 of a model of 2 files"), "{error}");
    assert!(error.hint().unwrap().contains("give the first part"));
}

#[test]
fn names_in_a_file_cannot_control_or_flood_a_terminal() {
    for name in ["\\u001b[2J".to_owned(), "\u{9b}2J\u{202e}".to_owned(), "x".repeat(4000)] {
        let json = format!(r#"{{"{name}":{{"dtype":"F99","shape":[],"data_offsets":[0,0]}}}}"#);
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        let fault = check_bytes(&bytes).unwrap_err();
        assert!(fault.message.contains("unknown type"), "{fault}");
        let is_control = |c: char| c.is_control() || c == '\u{202e}';
        assert!(fault.message.len() < 400 && !fault.message.contains(is_control), "{fault:?}");
    }
}

#[test]
fn a_shape_is_bounded_while_it_is_read() {
    // After the shape it is not JSON: a parser that reads on reports that instead.
    let json = format!(r#"{{"a":{{"dtype":"F32","shape":[{}!"#, "1,".repeat(1000));
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    let fault = check_bytes(&bytes).unwrap_err();
    assert!(fault.message.contains("too many dimensions"), "{fault}");
}
